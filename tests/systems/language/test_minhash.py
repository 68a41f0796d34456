import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.language.minhash import (
    NOTHING,
    PRIME,
    MinHash,
    MinHashConfig,
    chance_of_meeting,
    jaccard,
    near_duplicates,
    shingles,
)

WORDS = [f"word{i}" for i in range(400)]


def hasher(seed=0, **changes):
    return MinHash(MinHashConfig(**changes), np.random.default_rng(seed))


def pair_of_sets(both, only_a, only_b, seed=1):
    drawn = np.random.default_rng(seed).choice(PRIME, both + only_a + only_b, replace=False)
    return np.sort(drawn[: both + only_a]), np.sort(np.r_[drawn[:both], drawn[both + only_a :]])


@pytest.mark.parametrize("sizes", [(10, 10, 20), (30, 5, 5), (4, 30, 6), (40, 0, 0), (0, 20, 20)])
def test_sketches_agree_as_often_as_the_sets_overlap(sizes):
    a, b = pair_of_sets(*sizes)
    many = hasher(bands=500, rows=10)
    agree = (many.sketch(a) == many.sketch(b)).mean()
    similarity = sizes[0] / sum(sizes)
    assert jaccard(a, b) == pytest.approx(similarity)
    # 5,000 independent rows: four standard errors.
    assert agree == pytest.approx(similarity, abs=4 * np.sqrt(0.25 / 5_000))


@pytest.mark.parametrize(("bands", "rows"), [(16, 4), (4, 8), (8, 1)])
def test_the_chance_that_a_band_agrees_is_the_s_curve(bands, rows):
    config = MinHashConfig(bands=bands, rows=rows)
    for both in (8, 20, 32):
        a, b = pair_of_sets(both, (40 - both) // 2, (40 - both) // 2)
        met = []
        for seed in range(400):
            one = MinHash(config, np.random.default_rng(seed))
            met.append(bool(list(one.candidates(np.stack([one.sketch(a), one.sketch(b)])))))
        expected = chance_of_meeting(both / 40, config)
        assert np.mean(met) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 400))


def test_the_s_curve_rises_from_0_to_1_and_is_half_up_near_its_threshold():
    config = MinHashConfig(bands=20, rows=5)
    curve = [chance_of_meeting(x, config) for x in np.linspace(0, 1, 50)]
    assert curve[0] == 0
    assert curve[-1] == 1
    assert (np.diff(curve) >= 0).all()
    assert 0.4 < chance_of_meeting((1 / 20) ** (1 / 5), config) < 0.7


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, PRIME - 1), max_size=40), st.lists(st.integers(0, PRIME - 1)))
def test_the_sketch_of_a_union_is_the_least_of_both(a, b):
    one = hasher(seed=3)
    a, b = (np.unique(np.array(x, np.int64)) for x in (a, b))
    both = np.minimum(one.sketch(a), one.sketch(b))
    assert np.array_equal(one.sketch(np.union1d(a, b)), both)
    assert (one.sketch(np.empty(0, np.int64)) == NOTHING).all()


def corpus():
    """Forty texts; ten more are copies with one word of eighty changed."""
    random = np.random.default_rng(5)
    texts = [" ".join(random.choice(WORDS, 80)) for _ in range(40)]
    copies = []
    for i in range(10):
        words = texts[i].split()
        words[40] = "changed"
        copies.append(" ".join(words))
    return texts, copies


def test_near_copies_are_found_and_nothing_else():
    texts, copies = corpus()
    groups = hasher(bands=32).groups(texts + copies)
    pairs = [tuple(group) for group in groups if len(group) > 1]
    assert pairs == [(i, 40 + i) for i in range(10)]
    assert near_duplicates(texts + copies, MinHashConfig()) == pairs
    assert hasher(bands=32).kept(texts + copies) == list(range(40))


def test_order_decides_which_copy_is_kept():
    texts, copies = corpus()
    assert hasher(bands=32).kept(copies + texts) == [*range(10), *range(20, 50)]


def test_without_rows_agreeing_by_similarity_nothing_would_be_told_apart():
    texts, _ = corpus()
    sets = [shingles(text, 5) for text in texts[:2]]
    one = hasher(bands=64)
    assert (one.sketch(sets[0]) == one.sketch(sets[0])).all()
    assert (one.sketch(sets[0]) == one.sketch(sets[1])).mean() < 0.05


def test_shingles_are_sets_of_words_in_a_row():
    assert len(shingles("a b c a b c a", 3)) == 3
    assert len(shingles("A b", 5)) == 1
    assert np.array_equal(shingles("A  b\nC", 2), shingles("a b c", 2))
    assert len(shingles(" ", 2)) == 0
    assert jaccard(shingles("", 2), shingles("", 2)) == 1.0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"bands": 0}, "bands must be at least 1, got 0"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"words": 0}, "words must be at least 1"),
        ({"threshold": 0.0}, r"threshold must be in \(0, 1\], got 0.0"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        MinHashConfig(**bad)
