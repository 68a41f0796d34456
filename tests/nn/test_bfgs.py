import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from orrery.nn.bfgs import minimise


def banana(x, rows):
    return np.array([rosen(point) for point in x]), np.array([rosen_der(point) for point in x])


def test_finds_the_end_of_the_curved_valley_from_anywhere():
    starts = np.random.default_rng(0).uniform(-2, 2, (6, 2))
    arrived, values = minimise(banana, starts, 300)
    np.testing.assert_allclose(arrived, 1.0, atol=1e-4)
    np.testing.assert_allclose(values, 0.0, atol=1e-8)


@pytest.mark.parity
def test_arrives_where_scipy_does():
    rng = np.random.default_rng(1)
    slopes = rng.normal(size=(4, 3))

    def bowl(x, rows):  # sum of softplus, strictly convex with the quadratic
        z = x @ slopes.T
        gradient = (1 / (1 + np.exp(-z))) @ slopes + 0.1 * x
        return np.logaddexp(0, z).sum(axis=1) + 0.05 * (x * x).sum(axis=1), gradient

    starts = rng.normal(size=(5, 3)) * 5
    arrived, values = minimise(bowl, starts, 200)
    for start, point, value in zip(starts, arrived, values, strict=True):
        theirs = minimize(
            lambda p: tuple(part[0] for part in bowl(p[None], None)), start, jac=True,
            method="BFGS", options={"gtol": 1e-9},
        )  # fmt: skip
        np.testing.assert_allclose(point, theirs.x, atol=1e-4)
        assert value == pytest.approx(theirs.fun, rel=1e-8)


def test_rows_do_not_know_of_each_other():
    starts = np.random.default_rng(2).uniform(-2, 2, (5, 2))
    together, _ = minimise(banana, starts, 60)
    for i in range(5):
        alone, _ = minimise(banana, starts[i : i + 1], 60)
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-9)


def test_a_function_is_asked_for_the_rows_that_are_left():
    asked = []

    def bowl(x, rows):
        asked.append(len(rows))
        return (x * x).sum(axis=1), 2 * x

    minimise(bowl, np.array([[1e-9, 0.0], [30.0, -40.0]]), 50)
    assert asked[0] == 2
    assert asked[-1] == 1
