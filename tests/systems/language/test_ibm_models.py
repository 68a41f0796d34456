import itertools
import math

import numpy as np
import pytest

from orrery.systems.language.ibm_models import EMPTY, align

# das haus, das buch, ein buch: the textbook's corpus (Koehn 2010, figure 4.4), numbered
SOURCES, TARGETS = ((0, 1), (0, 2), (3, 2)), ((0, 1), (0, 2), (3, 2))


def corpus(count=40, seed=0):
    """Sentences whose words are translated one by one, in reverse order."""
    rng = np.random.default_rng(seed)
    sources = [rng.choice(8, rng.integers(2, 6), replace=False).tolist() for _ in range(count)]
    return sources, [[100 + word for word in reversed(source)] for source in sources]


@pytest.mark.parity
def test_model_1_is_the_textbooks_loop():
    sources, targets = corpus(12)
    found, t = align(sources, targets, steps=4).table, {}
    for source, target in zip(sources, targets, strict=True):
        t |= dict.fromkeys(itertools.product([EMPTY, *source], target), 1.0)
    seen = {e: [pair for pair in t if pair[0] == e] for e, _ in t}
    t = {(e, f): 1 / len(seen[e]) for e, f in t}
    for _ in range(4):
        count = dict.fromkeys(t, 0.0)
        for source, target in zip(sources, targets, strict=True):
            for f in target:
                total = sum(t[e, f] for e in [EMPTY, *source])
                for e in [EMPTY, *source]:
                    count[e, f] += t[e, f] / total
        t = {(e, f): c / sum(count[pair] for pair in seen[e]) for (e, f), c in count.items()}
    assert found.keys() == t.keys()
    np.testing.assert_allclose([found[pair] for pair in t], list(t.values()), rtol=1e-12)


def test_the_words_of_the_textbook_find_each_other():
    table = align(SOURCES, TARGETS, steps=30).table
    for word in range(4):
        assert max((f for e, f in table if e == word), key=lambda f: table[word, f]) == word


@pytest.mark.parametrize("steps2", [0, 6])
def test_no_step_makes_the_corpus_less_likely_and_chances_sum_to_one(steps2):
    found = align(*corpus(), steps=6, steps2=steps2)
    assert (np.diff(found.log_likelihood) >= -1e-9).all()
    total = {}
    for (e, _), chance in found.table.items():
        total[e] = total.get(e, 0) + chance
    np.testing.assert_allclose(list(total.values()), 1)


def test_model_2_learns_where_words_go():
    """Sentences of two words of one kind: only the place can tell which is which."""
    sources = [(0, 1)] * 5 + [(2, 3)] * 5
    targets = [(11, 10)] * 5 + [(13, 12)] * 5
    ordered = ([(4, 5, 6)] * 8, [(16, 15, 14)] * 8)
    help_ = [((4,), (14,)), ((6,), (16,))]
    sources, targets = sources + ordered[0], targets + ordered[1]
    sources, targets = [*sources, *(s for s, _ in help_)], [*targets, *(t for _, t in help_)]
    sources, targets = [*sources, (0,), (2,)], [*targets, (10,), (12,)]
    found = align(sources, targets, steps=5, steps2=10)
    assert found.links[0] == {(0, 1), (1, 0)}
    assert found.links[10] == {(0, 2), (1, 1), (2, 0)}
    assert found.log_likelihood[-1] > align(sources, targets, steps=15).log_likelihood[-1]


def test_at_first_every_link_is_as_likely():
    sources, targets = corpus(5)
    first = align(sources, targets, steps=1).log_likelihood[0]
    seen = {}
    for source, target in zip(sources, targets, strict=True):
        for e in [EMPTY, *source]:
            seen.setdefault(e, set()).update(target)
    expected = sum(
        math.log(sum(1 / len(seen[e]) for e in [EMPTY, *source]) / (len(source) + 1))
        for source, target in zip(sources, targets, strict=True) for _ in target
    )  # fmt: skip
    assert first == pytest.approx(expected)


def test_bad_corpora_are_refused():
    with pytest.raises(ValueError, match="targets must be 1 sentences with words"):
        align([(1,)], [()], steps=1)
    with pytest.raises(ValueError, match="targets must be 2 sentences with words"):
        align([(1,), (2,)], [(1,)], steps=1)
