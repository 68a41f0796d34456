"""Verdict statistics: intervals, Holm, and at most 5 % of null data sets called `holds`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orrery.errors import NonFiniteError, OrreryError
from orrery.lab import Claim, Control, Finding
from orrery.lab.statistics import estimate, holm
from orrery.lab.verdict import judge

NULL_SETS = 1_000


def test_estimate_is_the_two_sided_t_test():
    values = np.random.default_rng(0).normal(0.4, 1.0, 7)
    found = estimate(values.tolist(), 0.1)
    peer = stats.ttest_1samp(values, 0.1)
    low, high = peer.confidence_interval(0.95)
    assert found.p == pytest.approx(peer.pvalue, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_equals_the_textbook(p_values):
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    expected = {}
    for rank, i in enumerate(order):
        steps = [(len(p_values) - r) * p_values[order[r]] for r in range(rank + 1)]
        expected[i] = min(1.0, max(steps))
    assert holm(p_values) == pytest.approx([expected[i] for i in range(len(p_values))])


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("draw", ["normal", "laplace", "uniform", "gumbel"])
@pytest.mark.parametrize("claims", [1, 4])
def test_at_most_five_percent_of_null_data_sets_are_called_holds(seeds, draw, claims):
    rng = np.random.default_rng(seeds * 100 + claims)
    centre = np.euler_gamma if draw == "gumbel" else 0.0
    half_width = {"low": -1.0, "high": 1.0} if draw == "uniform" else {}
    questions = [Finding(str(c), lambda m, c=c: m[str(c)]) for c in range(claims)]
    wrong = 0
    for _ in range(NULL_SETS):
        values = getattr(rng, draw)(size=(seeds, claims), **half_width) - centre
        results = [{str(c): float(v) for c, v in enumerate(row)} for row in values]
        judged = judge(questions, results, sentence=str)
        wrong += any(j.verdict == "holds" for j in judged)
    assert wrong <= 0.05 * NULL_SETS


def test_power_at_a_clear_effect():
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(300):
        results = [{"x": float(v)} for v in rng.normal(2.0, 1.0, 5)]
        found += (
            judge([Finding("f", lambda m: m["x"])], results, sentence=str)[0].verdict == "holds"
        )
    assert found >= 0.8 * 300


def results(*values):
    return [{"x": v} for v in values]


def test_both_directions_and_the_margin():
    high, low = results(1.0, 1.1, 0.9), results(-1.0, -1.1, -0.9)
    claim = Claim("some-id", lambda m: m["x"])
    assert judge([claim], high, sentence=lambda i: f"about {i}")[0].verdict == "holds"
    judged = judge([claim], low, sentence=lambda i: f"about {i}")[0]
    assert (judged.verdict, judged.id, judged.text) == ("fails", "some-id", "about some-id")
    near = Finding("near", lambda m: m["x"], margin=1.0)
    assert judge([near], high, sentence=str)[0].verdict == "undecided"


def test_one_seed_is_never_a_verdict():
    judged = judge([Finding("f", lambda m: m["x"])], results(5.0), sentence=str)[0]
    assert (judged.verdict, judged.low, judged.p) == ("undecided", None, None)


def test_a_broken_control_stops_judging_unless_ablated():
    questions = [Finding("f", lambda m: m["x"]), Control("c", lambda m: -m["x"])]
    high = results(1.0, 1.1, 0.9)
    judged = judge(questions, high, sentence=str)
    assert [j.verdict for j in judged] == ["undecided", "fails"]
    assert "control does not hold: c" in judged[0].reason
    assert judge(questions, high, sentence=str, gated=False)[0].verdict == "holds"


def test_quantities_that_do_not_vary():
    assert judge([Finding("f", lambda m: m["x"])], results(1.0, 1.0), sentence=str)[0].p == 0.0
    equal = judge([Finding("f", lambda m: m["x"], 1.0)], results(1.0, 1.0), sentence=str)[0]
    assert equal.verdict == "undecided"


def test_missing_and_non_finite_effects_are_errors_not_verdicts():
    with pytest.raises(OrreryError, match="'y'"):
        judge([Finding("f", lambda m: m["y"])], results(1.0), sentence=str)
    with pytest.raises(NonFiniteError, match="result 0: inf"):
        judge([Finding("f", lambda m: 1 / m["x"])], results(0.0), sentence=str)
