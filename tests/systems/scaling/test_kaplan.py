import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, least_squares

from orrery.systems.scaling.kaplan import (
    KaplanLaw,
    Runs,
    _joint,
    fit_kaplan,
    law_of_compute,
    law_of_data,
    law_of_parameters,
)

SIZES, TOKENS = np.geomspace(1e3, 1e5, 6), np.geomspace(3e4, 3e6, 7)
N, D = np.repeat(SIZES, len(TOKENS)), np.tile(TOKENS, len(SIZES))
PLANTED = KaplanLaw(n_c=3e7, alpha_n=0.09, d_c=8e6, alpha_d=0.18)


def planted_runs(noise: float = 0.0, seed: int = 0) -> Runs:
    errors = np.random.default_rng(seed).normal(0, noise, len(N))
    return Runs(N, D, PLANTED.loss(N, D) * np.exp(errors))


def test_finds_a_planted_law():
    found = fit_kaplan(planted_runs())
    assert found.alpha_n == pytest.approx(PLANTED.alpha_n, rel=1e-3)
    assert found.alpha_d == pytest.approx(PLANTED.alpha_d, rel=1e-3)
    far = np.array([1e6]), np.array([3e7])
    np.testing.assert_allclose(found.loss(*far), PLANTED.loss(*far), rtol=1e-4)


@pytest.mark.parity
def test_agrees_with_scipy_on_noisy_runs():
    runs = planted_runs(noise=0.01)
    law = fit_kaplan(runs)

    def residual(q):
        n_c, alpha_n, d_c, alpha_d = np.exp(q)
        return np.log(KaplanLaw(n_c=n_c, alpha_n=alpha_n, d_c=d_c, alpha_d=alpha_d).loss(N, D)
                      / runs.loss)  # fmt: skip

    start = np.log([PLANTED.n_c, PLANTED.alpha_n, PLANTED.d_c, PLANTED.alpha_d])
    theirs = least_squares(
        residual, start, loss="huber", f_scale=1e-3, x_scale=(10, 1, 10, 1),
        xtol=1e-14, ftol=1e-14, gtol=1e-12, max_nfev=10_000,
    )  # fmt: skip
    ours = np.log([law.n_c, law.alpha_n, law.d_c, law.alpha_d])
    huber = np.abs(residual(ours)).clip(max=1e-3)
    cost = (huber * (np.abs(residual(ours)) - huber / 2)).sum()
    assert cost <= theirs.cost + 1e-8
    np.testing.assert_allclose(np.exp(ours[[1, 3]]), np.exp(theirs.x[[1, 3]]), rtol=0.02)


def test_the_joint_curve_pulls_its_gradient_back():
    rng = np.random.default_rng(0)
    curve = _joint(rng.normal(size=5), rng.normal(size=5))
    parameters = rng.normal(size=(2, 4)) - np.array([0, 1, 0, 1])
    outer = rng.normal(size=(2, 5))
    pulled = curve(parameters)[1](outer)
    for row in range(2):
        slope = approx_fprime(
            parameters[row], lambda q, row=row: float(outer[row] @ curve(q[None])[0][0]), 1e-7
        )
        np.testing.assert_allclose(pulled[row], slope, rtol=1e-4, atol=1e-5)


def test_the_limits_are_plain_powers():
    law, n = KaplanLaw.published(), np.geomspace(1e6, 1e11, 5)
    np.testing.assert_allclose(law.loss(n, np.full(5, 1e40)), law.of_parameters()(n), rtol=1e-3)
    np.testing.assert_allclose(law.loss(np.full(5, 1e40), n), law.of_data()(n), rtol=1e-3)


def test_what_the_paper_says_of_over_fitting():
    """D > 5e3 N^0.74 keeps it under 0.02; an 8 times larger model needs 5 times the data."""
    law, n = KaplanLaw.published(), np.array([1e8, 8e8])
    needed = law.tokens_needed(n, 0.02)
    np.testing.assert_allclose(law.overfitting(n, needed), 0.02, rtol=1e-9)
    np.testing.assert_allclose(needed, 5e3 * n**0.74, rtol=0.1)
    assert needed[1] / needed[0] == pytest.approx(5, rel=0.1)


def test_one_quantity_at_a_time():
    runs = planted_runs()
    plenty = law_of_parameters(runs, TOKENS[-1])
    np.testing.assert_allclose(
        plenty(SIZES), PLANTED.loss(SIZES, np.full(6, TOKENS[-1])), rtol=0.02
    )
    assert 0 < plenty.exponent < PLANTED.alpha_n
    assert 0 < law_of_data(runs).exponent < PLANTED.alpha_d
    front = runs.frontier()
    np.testing.assert_allclose(law_of_compute(runs)(front.compute), front.loss, rtol=0.05)


@given(st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_the_frontier_is_what_a_loop_finds(seed):
    rng = np.random.default_rng(seed)
    runs = Runs(*rng.integers(1, 5, (3, 12)).astype(float))
    pairs = set(zip(6 * runs.parameters * runs.tokens, runs.loss, strict=True))
    kept = {
        (c, loss) for c, loss in pairs
        if not any(other <= c and better <= loss for other, better in pairs - {(c, loss)})
    }  # fmt: skip
    front = runs.frontier()
    assert sorted(zip(front.compute, front.loss, strict=True)) == sorted(kept)


def test_budgets_are_read_between_a_sizes_runs_and_not_beyond():
    runs = planted_runs()
    table = runs.at_budgets(6 * SIZES[2] * np.array([TOKENS[3], 1.0]))
    assert table.shape == (6, 2)
    assert table[2, 0] == pytest.approx(PLANTED.loss(SIZES[2:3], TOKENS[3:4])[0], rel=1e-9)
    assert np.isnan(table[:, 1]).all()


def test_what_is_no_run_is_refused():
    with pytest.raises(ValueError, match="loss must be finite and above 0"):
        Runs(N, D, np.where(N[0] == N, np.nan, 2.0))
    with pytest.raises(ValueError, match="length above 0"):
        Runs(*np.empty((3, 0)))
    with pytest.raises(ValueError, match="two sizes"):
        fit_kaplan(planted_runs().where(SIZES[0] == N))
    with pytest.raises(ValueError, match="overfitting must be above 0"):
        PLANTED.tokens_needed(SIZES, 0.0)
