"""`regular_expression`: the texts of a pattern are those that `re` matches."""

import re
import time

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from orrery.errors import UsageError
from orrery.inference.grammars.finite_automaton import TooLarge
from orrery.inference.grammars.grammar import matching
from orrery.inference.grammars.regular_expression import automaton
from tests.inference.grammars.constrained import drawn

ATOMS = (
    "a",
    "b",
    "€",
    "→",
    "[abc]",
    "[^a]",
    "[a-z←-↓]",
    "[^\\d\\s]",
    "[\\w.-]",
    "\\d",
    "\\w",
    "\\s",
    "\\D",
    "\\W",
    "\\S",
    ".",
    "\\.",
    "\\n",
    "\\x41",
    "\\u20ac",
    "(?:ab|c)",
    "[\\]\\-]",
    "-",
    "[+*?]",
    "😀",
)
LETTERS = st.sampled_from([*map(chr, range(32, 127)), *"\n\t€→😀"])
"""Those that all dialects read alike; none that is not ASCII is of a word, a digit or space."""


def patterns():
    def more(inner):
        repeated = st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"]))
        return st.one_of(
            repeated.map(lambda both: f"({both[0]}){both[1]}"),
            st.lists(inner, min_size=1, max_size=3).map("".join),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        )

    return st.recursive(st.sampled_from(ATOMS), more, max_leaves=5)


def made(make, pattern):
    """Of a pattern that is not too large: the sets of other characters have many parts."""
    try:
        return make(pattern)
    except TooLarge:
        reject()


@settings(max_examples=25, deadline=None)
@given(patterns(), st.integers(0, 2**32), st.integers(0, 12))
def test_what_is_written_matches(pattern, seed, spare):
    text = drawn(made(matching, pattern), seed, spare)
    assert re.fullmatch(pattern, text)


@settings(max_examples=25, deadline=None)
@given(patterns(), st.data())
def test_what_matches_can_be_written(pattern, data):
    text = data.draw(st.from_regex(re.compile(pattern), fullmatch=True, alphabet=LETTERS))
    assert made(automaton, pattern).accepts(text.encode())


@settings(max_examples=25, deadline=None)
@given(patterns(), st.text("abc€A1.-→ \n", max_size=6))
def test_any_text_is_judged_as_by_re(pattern, text):
    found = re.fullmatch(pattern, text) is not None
    assert made(automaton, pattern).accepts(text.encode()) == found


@pytest.mark.parametrize(
    "pattern", ["^ab", "ab$", "^ab$", "a|^b", "b$|a", "^", "$", "(^a)?b", "x*$"]
)
@pytest.mark.parametrize("text", ["", "ab", "xab", "abx", "b", "a", "xb", "bx"])
def test_edges_of_a_search(pattern, text):
    found = re.search(pattern, text) is not None
    assert automaton(pattern, search=True).accepts(text.encode()) == found


def test_where_dialects_differ_only_what_both_match_is_matched():
    digit = "\u0663"  # of Python's \d, not of ECMA-262's
    for pattern in ("\\d", "\\D", "[^\\d]", "[\\D]"):
        assert not automaton(pattern).accepts(digit.encode())
    assert automaton("[^\\D]").accepts(b"3")
    assert not automaton(".").accepts("\u2028".encode())


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("(", "a ( without its )"),
        (")", "a ) without its ("),
        ("[a", "the end"),
        ("[]", "an empty set"),
        ("[z-a]", "a range"),
        ("[a-\\d]", "a range"),
        ("a**", "a repeat of a repeat"),
        ("*", "a * after nothing"),
        ("a{", "a { that counts nothing"),
        ("a{3,1}", "a count that ends"),
        ("^*", "an edge that repeats"),
        ("(?=a)", "look-around"),
        ("(?i)a", "look-around, or a flag"),
        ("\\b", "\\b at"),
        ("(a)\\1", "\\1 at"),
        ("\\01", "an octal number"),
        ("\\ud800", "half a char"),
        ("\\xg0", "\\x without"),
        ("\\", "the end"),
        ("(" * 99 + ")" * 99, "a group inside 50"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(pattern, what):
    with pytest.raises(UsageError, match="is not supported") as error:
        automaton(pattern)
    assert what in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "pattern",
    [
        "a{1000000}",
        "((a{99}){99}){99}",
        "(a|b)*a(a|b){40}",
        ".{0,900}" * 9,
        "(" * 10**5,
        "a" * 10**5,
    ],
)
def test_hostile_patterns_are_refused_soon(pattern):
    start = time.perf_counter()
    with pytest.raises(UsageError):
        automaton(pattern)
    assert time.perf_counter() - start < 20  # slow machines, and checks of every call in tests


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|aa)*c", "(x+x+)+y", "(a?){20}a{20}"])
def test_patterns_that_make_others_backtrack_are_small(pattern):
    assert len(automaton(pattern).table) < 50


def test_a_pattern_that_nothing_matches_is_refused():
    for pattern in ("a^b", "a$b"):
        with pytest.raises(UsageError, match="no text fits"):
            matching(pattern)
