import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.selection import smallest

RNG = np.random.default_rng


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 400), st.booleans(), st.data())
def test_picks_what_a_sort_would(seed, columns, repeats, data):
    scores = RNG(seed).normal(size=(3, columns)).astype(np.float32)
    scores = np.round(scores, 1) if repeats else scores
    own = np.array([-1, 0, columns - 1])
    wanted = data.draw(st.integers(1, max(1, columns - 1)))
    if columns == 1:
        own[:] = -1
    who, limits = smallest(scores, own, wanted)
    for row, mine, chosen, limit in zip(scores, own, who, limits, strict=True):
        assert len(set(chosen)) == wanted
        assert mine not in chosen
        others = np.delete(row, mine) if mine >= 0 else row
        np.testing.assert_array_equal(np.sort(row[chosen]), np.sort(others)[:wanted])
        assert limit == row[chosen].max()


def test_falling_scores_fill_the_bag_over_and_over():
    scores = np.arange(5_000.0)[None, ::-1].astype(np.float32).copy()
    who, limit = smallest(scores, np.array([-1]), 9)
    assert sorted(who[0]) == list(range(4_991, 5_000))
    assert limit[0] == 8
