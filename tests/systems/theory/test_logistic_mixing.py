import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.theory.logistic_mixing import (
    CERTAIN,
    EDGE,
    GAP,
    SQUASH,
    STRETCH,
    bend,
    correct,
    learn_bend,
    learn_chance,
    mix,
    squash,
    straight_curves,
)

odds = st.integers(-EDGE, EDGE)
inputs = st.lists(odds, min_size=3, max_size=3).map(lambda x: np.array(x, dtype=np.int32))


def logistic(s):
    return 1 / (1 + math.exp(-s / 256))


def test_the_tables_are_the_functions_and_no_entry_hangs_on_a_last_digit():
    """Another machine's exp may differ in the last place: no entry is so near to a tie."""
    exact = np.array([CERTAIN * logistic(s) for s in range(-EDGE, EDGE + 1)])
    np.testing.assert_allclose(SQUASH, np.clip(exact, 1, CERTAIN - 1), atol=0.5)
    chances = (np.arange(4096) + 0.5) / 4096
    stretched = 256 * np.log(chances / (1 - chances))
    np.testing.assert_allclose(STRETCH, stretched, atol=0.5)
    for table in (exact, stretched):
        assert np.abs(np.abs(table - np.floor(table)) - 0.5).min() > 1e-6


def test_stretch_undoes_squash():
    for s in range(-1500, 1501, 50):
        assert abs(STRETCH[squash(s) >> 4] - s) <= 256 * 16 / CERTAIN / (logistic(s) * logistic(-s))
    assert squash(10**6) == SQUASH[-1]
    assert squash(-(10**6)) == SQUASH[0]


@settings(max_examples=60, deadline=None)
@given(inputs, inputs)
def test_the_mixture_is_the_weighted_sum(x, w):
    weights = np.stack([np.zeros_like(w), 20 * w])
    exact = float(x.astype(float) @ weights[1].astype(float)) / CERTAIN
    assert abs(mix(weights, 1, x) - np.clip(exact, -EDGE, EDGE)) <= 1
    assert mix(weights, 0, x) == 0


def cost(w, x, bit):
    s = float(w @ x) / 256
    return math.log1p(math.exp(-s if bit else s))


@settings(max_examples=60, deadline=None)
@given(inputs, st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3), st.integers(0, 1))
def test_a_correction_is_a_step_down_the_gradient_of_the_cost(x, start, bit):
    weights = np.array([[round(w * CERTAIN) for w in start]], dtype=np.int32)
    before = weights[0] / CERTAIN
    error = (bit << 16) - squash(mix(weights, 0, x))
    correct(weights, 0, x, error, 18)
    step = weights[0] / CERTAIN - before
    nudge = 1e-5
    slope = [
        (cost(before + nudge * e, x, bit) - cost(before - nudge * e, x, bit)) / (2 * nudge)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(step, -(2**-10) * np.array(slope), atol=3e-5, rtol=0.02)


def test_a_chance_is_first_a_mean_and_then_follows():
    cells = np.full(2, 2**31, dtype=np.uint32)
    bits = [1, 1, 0, 1, 0, 0, 1, 1]
    exact = 0.5
    for n, bit in enumerate(bits):
        learn_chance(cells, 1, bit, 4)
        exact += (bit - exact) / (min(n, 4) + 1.5)
        assert abs((int(cells[1]) >> 10) / 2**22 - exact) < 1e-3
    assert int(cells[1]) & 1023 == 4
    assert cells[0] == 2**31


def test_a_fresh_curve_changes_nothing_and_learns_where_it_was_wrong():
    curves = straight_curves(2)
    for s in range(-2500, 2500, 77):
        assert abs(bend(curves, 0, s) - squash(s)) < 0.012 * CERTAIN
    for _ in range(400):
        learn_bend(curves, 1, 200, 0, 6)
    assert bend(curves, 1, GAP) < 0.02 * CERTAIN
    assert abs(bend(curves, 1, -800) - bend(curves, 0, -800)) == 0
