"""`orrery.inference.grammars.finite_automaton`: products, repeats and what cannot be reached."""

from itertools import product

import pytest

from orrery.inference.grammars.finite_automaton import TooLarge, chain, determinise, intersection
from orrery.inference.grammars.regular_expression import automaton
from orrery.inference.grammars.thompson import Choice, OneOf, Repeat, Sequence

TEXTS = ["".join(letters).encode() for n in range(6) for letters in product("ab", repeat=n)]


def one(letter):
    return OneOf(((ord(letter), ord(letter)),))


def accepted(dfa):
    return {text for text in TEXTS if dfa.accepts(text)}


def test_an_intersection_accepts_what_both_accept():
    left, right = automaton("(a|bb)*"), automaton("(ab?)*b*")
    assert accepted(intersection(left, right)) == accepted(left) & accepted(right) != set()


@pytest.mark.parametrize(("least", "most"), [(0, None), (2, None), (0, 0), (0, 3), (2, 2), (1, 4)])
def test_a_chain_is_the_part_repeated(least, most):
    part = Choice((one("a"), Sequence((one("b"), one("a")))))
    expected = determinise(Repeat(part, least, most))
    assert accepted(chain(determinise(part), least, most)) == accepted(expected) != set()


def test_states_that_lead_nowhere_are_left_out():
    assert len(intersection(automaton("a*b"), automaton("a{3}b|c*")).table) == 5
    assert len(automaton("^a$", search=True).table) == 2
    nothing = intersection(automaton("a+"), automaton("b+"))
    assert len(nothing.table) == 1
    assert not nothing.accepting.any()
    assert (nothing.table == -1).all()


def test_what_grows_too_large_is_refused():
    some = automaton("[ab]{150}")
    with pytest.raises(TooLarge, match="more than"):
        intersection(automaton("(a{101})*"), automaton("(a{103})*"))
    with pytest.raises(TooLarge, match="more than"):
        chain(some, 0, 400)
    with pytest.raises(TooLarge, match="more than"):
        determinise(Repeat(one("a"), 10**9))
