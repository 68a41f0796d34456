"""`token_mask`: a token is allowed where a text of the grammar goes on with it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import UsageError
from orrery.inference.grammars import token_mask
from orrery.inference.grammars.grammar import matching
from orrery.inference.grammars.json_grammar import grammar
from orrery.inference.grammars.token_mask import TokenMasks
from orrery.inference.grammars.token_trie import TokenTrie
from tests.inference.grammars.constrained import END, TOKENS, TRIE, drawn

THING = {
    "type": "object",
    "properties": {"the": {"type": "array", "items": {"type": "integer"}}, "b": {"type": "string"}},
    "required": ["the"],
}


def masks(of):
    return TokenMasks(of, TRIE, [END])


def allowed(constraint):
    return set(constraint.mask().numpy().nonzero()[0].tolist())


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 9))
def test_the_mask_is_each_token_tried_alone(seed, cut):
    found = grammar(THING)
    text = drawn(found, seed, 12).encode()[:cut]
    constraint, here = masks(found).begin(200), found.start
    for byte in text:
        constraint.advance(byte)
        here = found.step(here, byte)
    expected = {END} if found.complete(here) else set()
    for number, token in {**TOKENS, 321: b"the"}.items():
        after = here
        for byte in token:
            after = found.step(after, byte)
        if after:
            expected.add(number)
    assert allowed(constraint) == expected


def test_a_text_that_is_complete_ends_and_stays_ended():
    constraint = masks(matching("ab")).begin(9)
    assert allowed(constraint) == {ord("a"), TOKENS_BY_BYTES[b"ab"]}
    constraint.advance(TOKENS_BY_BYTES[b"ab"])
    assert constraint.complete
    assert not constraint.ended
    assert allowed(constraint) == {END}
    constraint.advance(END)
    assert constraint.ended
    assert allowed(constraint) == {END}
    with pytest.raises(ValueError, match="token 97 does not fit"):
        constraint.advance(ord("a"))


TOKENS_BY_BYTES = {token: number for number, token in TOKENS.items()}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 6))
def test_a_text_ends_with_the_tokens_that_are_left(seed, spare):
    drawn(GRAMMAR, seed, spare, MASKS)  # checks that it is complete
    drawn(NUMBERS, seed, spare)


GRAMMAR, NUMBERS = grammar(THING), matching("(aab|[0-9]{3},)+abc(12|x{9})")
MASKS = masks(GRAMMAR)


def test_too_few_tokens_are_refused_and_the_fewest_do():
    found = masks(matching("the the(abc){2}"))
    assert [TOKENS[token] for token in found.way(found.grammar.start)] == [
        b"the",
        b" the",
        b"abc",
        b"abc",
    ]
    with pytest.raises(
        UsageError, match="a text that fits takes at least 4 tokens, and 3 are allowed"
    ):
        found.begin(3)
    with pytest.raises(UsageError, match="takes at least 4 tokens, and 1 are allowed"):
        found.begin(1)
    constraint = found.begin(4)
    for token in found.way(found.grammar.start):
        assert token in allowed(constraint)
        assert ord("t") not in allowed(constraint)
        constraint.advance(token)
    assert constraint.complete


def test_masks_are_made_once_and_forgotten_in_good_time(monkeypatch):
    found = masks(grammar(THING))
    first = found.begin(99).mask()
    assert found.begin(99).mask() is first
    monkeypatch.setattr(token_mask, "ROWS", 3)
    monkeypatch.setattr(token_mask, "MASKS", 2)
    for seed in range(5):
        drawn(found.grammar, seed, 20, found)
        assert len(found._places) <= 2


def test_a_byte_without_a_token_is_never_needed():
    tokens = {number: token for number, token in TOKENS.items() if token != b"\\"}
    found = TokenMasks(matching("\\\\?a|b"), TokenTrie(tokens, 324), [END])
    assert allowed(found.begin(3)) == {ord("a"), ord("b")}
    with pytest.raises(UsageError, match="no text fits"):
        TokenMasks(matching("\\\\+"), TokenTrie(tokens, 324), [END])


def test_a_constraint_needs_an_end_and_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="a token that ends a text"):
        TokenMasks(matching("a"), TRIE, [])
    constraint = masks(matching("a+")).begin(9)
    for token in (ord("b"), END, 323, 999, -1):
        with pytest.raises(ValueError, match="does not fit"):
            constraint.advance(token)
