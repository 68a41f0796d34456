import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares, minimize_scalar

from orrery.nn.curve_fit import bayesian_bootstrap, fit_curve
from orrery.systems.scaling.chinchilla import (
    ChinchillaLaw,
    _curve,
    envelope,
    frontier,
    isoflop,
    parametric,
    three_approaches,
    vertex,
)
from orrery.systems.scaling.kaplan import Runs

PLANTED = ChinchillaLaw(floor=1.2, a=8.0, alpha=0.35, b=120.0, beta=0.45)
GOPHER = 5.76e23  # operations that Gopher and Chinchilla were trained with


def planted_runs(
    sizes: int = 8, tokens: int = 8, noise: float = 0.0, rng: np.random.Generator | None = None
) -> Runs:
    """A grid of runs; noise is of a whole training curve and of each of its points, alike."""
    n = np.repeat(np.geomspace(1.5e3, 1e5, sizes), tokens)
    d = np.tile(np.geomspace(3e4, 3e6, tokens), sizes)
    rng = rng or np.random.default_rng(0)
    errors = np.repeat(rng.normal(size=sizes), tokens) + rng.normal(size=len(n))
    return Runs(n, d, PLANTED.loss(n, d) * np.exp(noise * errors))


@given(
    st.floats(0.5, 2.0),
    st.floats(5, 500),
    st.floats(0.2, 0.6),
    st.floats(5, 500),
    st.floats(0.2, 0.6),
    st.floats(1e10, 1e24),
)
@settings(max_examples=15, deadline=None)
def test_the_closed_form_is_the_numerical_optimum(floor, a, alpha, b, beta, compute):
    law = ChinchillaLaw(floor=floor, a=a, alpha=alpha, b=b, beta=beta)
    parameters, tokens = law.optimum(np.array([compute]))
    assert 6 * parameters * tokens == pytest.approx(compute, rel=1e-12)

    def excess(log_n: float) -> float:
        n = np.exp(np.array([log_n]))
        return float(law.loss(n, compute / 6 / n)[0] - floor)

    numerical = minimize_scalar(excess, bounds=(-20, 80), method="bounded", options={"xatol": 1e-9})
    assert np.log(parameters[0]) == pytest.approx(numerical.x, abs=1e-5)
    # the condition it comes from: one more percent of either gains the same
    gain_n, gain_d = alpha * a * parameters**-alpha, beta * b * tokens**-beta
    np.testing.assert_allclose(gain_n, gain_d, rtol=1e-9)


def test_published_exponents():
    """Hoffmann et al., table 2, approach 3: 0.46 and 0.54; Besiroglu et al.: 0.513."""
    assert ChinchillaLaw.hoffmann().parameter_exponent == pytest.approx(0.46, abs=5e-3)
    assert ChinchillaLaw.besiroglu().parameter_exponent == pytest.approx(0.513, abs=5e-4)
    rounded = ChinchillaLaw(floor=1.69, a=406.4, alpha=0.34, b=410.7, beta=0.28)
    assert rounded.parameter_exponent == pytest.approx(0.45, abs=5e-3)
    for law in (ChinchillaLaw.hoffmann(), ChinchillaLaw.besiroglu()):
        assert max(law.alpha, law.beta) < 0.4  # the exponents of the loss are not about a half


def test_twenty_tokens_a_parameter_does_not_follow_from_the_exponents():
    gopher = np.array([GOPHER])
    rounded = ChinchillaLaw(floor=1.69, a=406.4, alpha=0.34, b=410.7, beta=0.28)
    assert rounded.tokens_per_parameter(gopher) == pytest.approx(93, rel=0.01)
    assert ChinchillaLaw.besiroglu().tokens_per_parameter(gopher) == pytest.approx(18, rel=0.03)
    # it drifts with compute, by the exponents, and its level is free
    drift = rounded.tokens_per_parameter(100 * gopher) / rounded.tokens_per_parameter(gopher)
    assert drift == pytest.approx(100 ** ((0.34 - 0.28) / (0.34 + 0.28)), rel=1e-9)
    steeper = ChinchillaLaw(floor=1.69, a=406.4, alpha=0.34, b=821.4, beta=0.28)
    assert steeper.tokens_per_parameter(gopher) / rounded.tokens_per_parameter(gopher) > 5


def test_three_approaches_find_a_planted_law():
    runs = planted_runs(sizes=12, tokens=12)
    law = parametric(runs)
    for name in ("floor", "a", "alpha", "b", "beta"):
        assert getattr(law, name) == pytest.approx(getattr(PLANTED, name), rel=1e-3)
    truth = PLANTED.parameter_exponent
    assert frontier(runs).exponent[0] == pytest.approx(truth, abs=1e-4)
    budgets = np.geomspace(1e10, 2e11, 6)
    assert isoflop(runs, budgets).exponent[0] == pytest.approx(truth, abs=0.02)
    assert envelope(runs).exponent[0] == pytest.approx(truth, abs=0.03)
    for found in (frontier(runs), isoflop(runs, budgets), envelope(runs)):
        np.testing.assert_allclose(
            found.parameters(budgets)[0], PLANTED.optimum(budgets)[0], rtol=0.1
        )


@pytest.mark.parity
def test_the_parametric_fit_agrees_with_scipy():
    runs = planted_runs(noise=0.005)
    law = parametric(runs)
    centre = np.log(runs.parameters).mean(), np.log(runs.tokens).mean()

    def predicted(q):
        e, a, alpha, b, beta = q
        n, d = np.log(runs.parameters) - centre[0], np.log(runs.tokens) - centre[1]
        return np.log(np.exp(e) + np.exp(a - alpha * n) + np.exp(b - beta * d))

    start = [0.2, -0.8, 0.35, -1.0, 0.45]
    theirs = least_squares(
        lambda q: predicted(q) - np.log(runs.loss), start, loss="huber", f_scale=1e-3,
        xtol=1e-15, ftol=1e-15, gtol=1e-13, max_nfev=20_000,
    )  # fmt: skip
    mine = np.log(law.loss(runs.parameters, runs.tokens)) - np.log(runs.loss)
    huber = np.abs(mine).clip(max=1e-3)
    assert (huber * (np.abs(mine) - huber / 2)).sum() <= theirs.cost + 1e-8
    assert (law.alpha, law.beta) == pytest.approx(tuple(theirs.x[[2, 4]]), rel=0.02)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Resampling sizes with weights of concentration a half, eight sizes, 60 studies."""
    rng, studies, resamples = np.random.default_rng(1), 60, 40
    study = [planted_runs(sizes=8, tokens=5, noise=0.004, rng=rng) for _ in range(studies)]
    loss = np.repeat([runs.loss for runs in study], resamples, axis=0)
    weights = np.repeat(bayesian_bootstrap(8, len(loss), rng), 5, axis=1)
    start = np.tile([0.2, -0.8, PLANTED.alpha, -1.0, PLANTED.beta], (len(loss), 1))
    fitted = fit_curve(_curve(study[0]), loss, start, weights=weights, rounds=150).parameters
    exponent = (fitted[:, 4] / (fitted[:, 2] + fitted[:, 4])).reshape(studies, resamples)
    low, high = np.quantile(exponent, (0.025, 0.975), axis=1)
    covered = (low <= PLANTED.parameter_exponent) & (PLANTED.parameter_exponent <= high)
    assert 0.88 <= covered.mean() <= 1.0


def test_the_three_approaches_resample_together():
    runs, budgets = planted_runs(noise=0.003), np.geomspace(1e10, 1e11, 4)
    weights = bayesian_bootstrap(8, 20, np.random.default_rng(0))
    found = three_approaches(runs, budgets, weights)
    for allocation in found.values():
        assert allocation.exponent.shape == (20,)
        assert np.isfinite(allocation.exponent).all()
        assert np.ptp(allocation.exponent) > 0
    even = three_approaches(runs, budgets, np.ones((1, 8)))
    for name, allocation in three_approaches(runs, budgets).items():
        np.testing.assert_allclose(even[name].exponent, allocation.exponent, rtol=1e-6)


def test_the_vertex_is_that_of_the_weighted_parabola():
    sizes = np.exp(np.arange(5.0))
    loss = 2 + 0.1 * (np.arange(5) - 1.7) ** 2
    weights = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 1, 0.0]])
    np.testing.assert_allclose(vertex(sizes, loss, weights), 1.7, rtol=1e-9)
    kinked = loss + np.array([0.3, 0, 0, 0, 0])
    assert vertex(sizes, kinked, weights)[1] == pytest.approx(1.7, rel=1e-9)
    slope, bend = np.polyfit(np.log(sizes), kinked, 2)[1::-1]
    near = vertex(sizes, kinked, weights)[0]
    assert near == pytest.approx(-slope / bend / 2, rel=1e-9)


def test_an_edge_is_no_optimum_unless_asked_for():
    runs, budgets = planted_runs(), 6 * 1.5e3 * np.array([3e4, 4e4])
    with pytest.raises(ValueError, match="between others, 0 have"):
        isoflop(runs, budgets)
    assert isoflop(runs, budgets, edges=True).exponent[0] == pytest.approx(0.0, abs=1e-9)


def test_what_cannot_be_fitted_is_refused():
    runs = planted_runs()
    with pytest.raises(ValueError, match="two sizes"):
        parametric(runs.where(runs.parameters == runs.sizes[0]))
    with pytest.raises(ValueError, match="alpha must be above 0"):
        ChinchillaLaw(floor=1.0, a=1.0, alpha=0.0, b=1.0, beta=0.3)
