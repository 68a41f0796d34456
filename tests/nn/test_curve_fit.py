import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, least_squares

from orrery.nn.curve_fit import bayesian_bootstrap, fit_curve, log_sum


def two_powers(n: int = 12):
    """log(e^p + e^(q - r x)) on x from -1 to 1, the parameters planted, and the data they give."""
    x = np.linspace(-1, 1, n)
    one, zero = np.ones(n), np.zeros(n)
    features = np.stack([np.stack([one, zero, zero], 1), np.stack([zero, one, -x], 1)])
    planted = np.array([0.3, -0.5, 0.8])
    curve = log_sum(features)
    return curve, planted, np.exp(curve(planted[None])[0][0])


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_log_sum_is_the_sum_and_pulls_its_gradient_back(k, n, p, seed):
    rng = np.random.default_rng(seed)
    features, offsets = rng.normal(size=(k, n, p)), rng.normal(size=(k, n))
    parameters, outer = rng.normal(size=(2, p)), rng.normal(size=(2, n))
    curve = log_sum(features, offsets)
    values, pull = curve(parameters)
    for row in range(2):
        naive = np.log(np.exp(features @ parameters[row] + offsets).sum(axis=0))
        np.testing.assert_allclose(values[row], naive, rtol=1e-12, atol=1e-12)
        slope = approx_fprime(
            parameters[row], lambda q, row=row: float(outer[row] @ curve(q[None])[0][0]), 1e-7
        )
        np.testing.assert_allclose(pull(outer)[row], slope, rtol=1e-4, atol=1e-5)


def test_finds_what_was_planted_from_far_away():
    curve, planted, y = two_powers()
    fit = fit_curve(curve, y, planted + np.array([[2.0, -1.0, 1.0], [-1.0, 1.0, -0.7]]))
    np.testing.assert_allclose(fit.best(), planted, rtol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("delta", [1e-3, 0.05])
def test_agrees_with_scipys_huber_fit(delta):
    curve, planted, y = two_powers(30)
    y = y * np.exp(np.random.default_rng(1).normal(0, 0.02, 30))
    ours = fit_curve(curve, y, planted[None], delta=delta)
    theirs = least_squares(
        lambda q: curve(q[None])[0][0] - np.log(y), planted, loss="huber", f_scale=delta,
        xtol=1e-14, ftol=1e-14, gtol=1e-12, max_nfev=5_000,
    )  # fmt: skip
    assert ours.objective[0] <= theirs.cost / len(y) / delta + 1e-10
    np.testing.assert_allclose(ours.best(), theirs.x, rtol=2e-3)


def test_many_fits_at_once_are_as_many_fits_alone():
    curve, planted, y = two_powers()
    rng = np.random.default_rng(0)
    data = y * np.exp(rng.normal(0, 0.005, (6, len(y))))
    weights = bayesian_bootstrap(len(y), 6, rng)
    starts = planted + rng.normal(0, 0.3, (6, 3))
    together = fit_curve(curve, data, starts, weights=weights, delta=0.01)
    for i in range(6):
        alone = fit_curve(curve, data[i], starts[i : i + 1], weights=weights[i : i + 1], delta=0.01)
        np.testing.assert_allclose(together.parameters[i], alone.parameters[0], rtol=1e-6)


def test_a_weight_of_two_is_the_same_point_twice():
    x = np.linspace(-1, 1, 8)
    features = np.stack([np.ones(8), -x], axis=1)[None]
    y = np.exp(0.2 - 0.5 * x + np.random.default_rng(3).normal(0, 0.1, 8))
    weights = np.ones((1, 8))
    weights[0, 2] = 2
    twice = np.r_[np.arange(8), 2]
    start = np.zeros((1, 2))
    weighed = fit_curve(log_sum(features), y, start, weights=weights, delta=1.0)
    repeated = fit_curve(log_sum(features[:, twice]), y[twice], start, delta=1.0)
    np.testing.assert_allclose(weighed.best(), repeated.best(), rtol=1e-6)


def test_one_wild_point_is_shrugged_off():
    curve, planted, y = two_powers(40)
    y[7] *= 3
    robust = fit_curve(curve, y, planted[None]).best()
    squares = fit_curve(curve, y, planted[None], delta=100.0).best()
    assert np.abs(robust - planted).max() < 1e-2 < np.abs(squares - planted).max()


def test_bootstrap_weights_are_shares():
    weights = bayesian_bootstrap(5, 400, np.random.default_rng(0))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.mean(axis=0), 0.2, atol=0.03)
