import math

import pytest

from orrery.systems.language.phrase_table import consistent, join, phrase_table


def test_pairs_are_those_that_no_link_leaves():
    """Koehn et al. 2003: brute force over all pairs of runs."""
    source, target = (1, 2, 3, 4), (11, 12, 13, 14, 15)
    links = frozenset({(0, 0), (1, 2), (2, 1), (3, 4)})  # 14 has no link
    expected = set()
    for a in range(4):
        for b in range(a, 4):
            for c in range(5):
                for d in range(c, 5):
                    inside = [(i, j) for i, j in links if a <= i <= b and c <= j <= d]
                    touching = [(i, j) for i, j in links if a <= i <= b or c <= j <= d]
                    if inside and inside == touching:
                        expected.add((source[a : b + 1], target[c : d + 1]))
    found = list(consistent(source, target, links, longest=5))
    assert set(found) == expected
    assert len(found) == len(expected)
    assert ((2, 3), (12, 13)) in expected
    assert ((1, 2), (11, 12)) not in expected
    short = {pair for pair in expected if max(map(len, pair)) <= 2}
    assert set(consistent(source, target, links, longest=2)) == short


def test_joining_keeps_what_both_have_and_grows_along_it():
    both = {(0, 0), (1, 1)}
    forward, backward = frozenset(both | {(2, 2)}), frozenset(both | {(5, 9)})
    assert join(forward, backward) == both | {(2, 2)}  # (5, 9) touches nothing
    assert join(backward, forward) == both | {(2, 2)}
    assert join(frozenset(both), frozenset(both)) == both


def test_chances_are_shares_of_counts_in_both_directions():
    sources, targets = [(1, 2)] * 3, [(11, 12), (11, 12), (13, 12)]
    table = phrase_table(sources, targets, [frozenset({(0, 0), (1, 1)})] * 3)
    forward = {option.target: option.forward for option in table[1,]}
    assert forward == {(11,): pytest.approx(math.log(2 / 3)), (13,): pytest.approx(math.log(1 / 3))}
    assert [option.backward for option in table[2,]] == [0.0]
    assert table[1,][0].target == (11,)
    assert {option.target for option in table[1, 2]} == {(11, 12), (13, 12)}


def test_bad_limits_are_refused():
    with pytest.raises(ValueError, match="longest and keep must be at least 1, got 0 and 10"):
        phrase_table([], [], [], longest=0)
