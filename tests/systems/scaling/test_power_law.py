import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from orrery.systems.scaling.power_law import (
    FORMS,
    Exponential,
    Logarithm,
    PowerLaw,
    bootstrap_power_law,
    extrapolation_error,
    fit_form,
    fit_power_law,
)

X = np.geomspace(1e3, 1e6, 12)


@given(st.floats(0.08, 0.9), st.floats(0.3, 3.0), st.floats(0.3, 3.0))
@settings(max_examples=6, deadline=None)
def test_finds_a_planted_law_with_its_floor(exponent, floor, part):
    planted = PowerLaw(scale=part * 1e3**exponent, exponent=exponent, floor=floor)
    found = fit_power_law(X, planted(X))
    np.testing.assert_allclose(found(X), planted(X), rtol=1e-6)
    assert found.exponent == pytest.approx(exponent, rel=1e-3)
    assert found.floor == pytest.approx(floor, rel=1e-2)


def test_without_a_floor_it_is_a_line_in_logarithms():
    planted = PowerLaw(scale=7.0, exponent=0.076)
    found = fit_power_law(X, planted(X), floor=False)
    slope, level = np.polyfit(np.log(X), np.log(planted(X)), 1)
    assert found.exponent == pytest.approx(-slope, rel=1e-7)
    assert found.scale == pytest.approx(np.exp(level), rel=1e-6)


@pytest.mark.parity
def test_agrees_with_scipy_on_noisy_data():
    noise = np.random.default_rng(0).normal(0, 0.01, len(X))
    loss = PowerLaw(scale=30.0, exponent=0.4, floor=1.5)(X) * np.exp(noise)
    law = fit_power_law(X, loss)
    theirs = least_squares(
        lambda q: np.log(np.exp(q[0]) + np.exp(q[1] - q[2] * np.log(X / 3e4))) - np.log(loss),
        (0.4, -0.7, 0.4), loss="huber", f_scale=1e-3, xtol=1e-14, ftol=1e-14, gtol=1e-12,
        max_nfev=10_000,
    )  # fmt: skip
    assert law.floor == pytest.approx(np.exp(theirs.x[0]), rel=1e-3)
    assert law.exponent == pytest.approx(theirs.x[2], rel=1e-3)


def test_doubling_gains_less_each_time():
    law = PowerLaw(scale=30.0, exponent=0.4, floor=1.5)
    gain = law.gain_of_doubling(X)
    np.testing.assert_allclose(gain, law(X) - law(2 * X), rtol=1e-10)
    assert (np.diff(gain) < 0).all()
    # Kaplan's exponent of parameters: a doubling lowers the loss by a twentieth
    kaplan = PowerLaw(scale=1.0, exponent=0.076)
    assert kaplan.gain_of_doubling(X) / kaplan(X) == pytest.approx(0.051, abs=5e-4)


@pytest.mark.parametrize(
    ("form", "curve"),
    [
        ("power", PowerLaw(scale=30.0, exponent=0.4, floor=1.5)),
        ("exponential", Exponential(scale=2.0, rate=1e-5, floor=1.5)),
        ("logarithm", Logarithm(scale=5.0, rate=0.25)),
    ],
)
def test_the_true_form_extrapolates_best(form, curve):
    errors = {other: extrapolation_error(other, X, curve(X), 3) for other in FORMS}
    assert errors[form] == min(errors.values())
    assert errors[form] < 1e-4 < sorted(errors.values())[1]
    np.testing.assert_allclose(fit_form(form, X, curve(X))(X), curve(X), rtol=1e-5)


def test_the_order_of_the_points_does_not_matter():
    loss = PowerLaw(scale=30.0, exponent=0.4, floor=1.5)(X) * (1 + 0.01 * np.sin(np.arange(12)))
    mixed = np.random.default_rng(0).permutation(12)
    a, b = fit_power_law(X, loss), fit_power_law(X[mixed], loss[mixed])
    assert (a.scale, a.exponent, a.floor) == pytest.approx((b.scale, b.exponent, b.floor), rel=1e-4)
    assert extrapolation_error("power", X, loss, 2) == pytest.approx(
        extrapolation_error("power", X[mixed], loss[mixed], 2), rel=1e-4
    )


def test_an_interval_holds_the_planted_exponent():
    rng = np.random.default_rng(4)
    loss = PowerLaw(scale=30.0, exponent=0.4, floor=1.5)(X) * np.exp(rng.normal(0, 0.003, len(X)))
    low, high = np.quantile(bootstrap_power_law(X, loss, 300, rng)[:, 1], (0.025, 0.975))
    assert low < 0.4 < high < low + 0.4


@pytest.mark.parametrize(
    ("x", "loss", "word"),
    [
        (X[[0, 0, 1]], X[:3], "different values"),
        (X, -X, "loss must be finite"),
        (np.r_[X[:-1], np.nan], X, "x must be finite"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(x, loss, word):
    with pytest.raises(ValueError, match=word):
        fit_power_law(x, loss)


def test_bad_choices_are_refused():
    with pytest.raises(ValueError, match="hold must be from 1 to 9"):
        extrapolation_error("power", X, X, 10)
