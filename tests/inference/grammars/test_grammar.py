"""`grammar`: rules that call one another, and the shortest way to an end."""

from itertools import product

import pytest

from orrery.errors import UsageError
from orrery.inference.grammars import grammar as module
from orrery.inference.grammars import grammar_nodes
from orrery.inference.grammars.finite_automaton import TooLarge
from orrery.inference.grammars.grammar import Grammar, matching
from orrery.inference.grammars.grammar_nodes import END, Nodes


def brackets():
    """Pairs of ( ) and [ ], inside and beside one another; at least one."""
    nodes = Nodes()
    many = nodes.node()
    after = nodes.node(END, many)
    for begin, end in (b"()", b"[]"):
        close = nodes.literal(bytes([end]), after)
        inside = nodes.node(close, nodes.call(many, close))
        nodes.silent[many].append(nodes.literal(bytes([begin]), inside))
    return Grammar(nodes, many)


def balanced(text):
    before = None
    while before != text:
        before, text = text, text.replace("()", "").replace("[]", "")
    return not text


def test_nested_texts_are_told_from_others():
    grammar = brackets()
    for letters in (x for n in range(6) for x in product("()[]", repeat=n)):
        text = "".join(letters)
        assert grammar.accepts(text.encode()) == bool(text and balanced(text))


def test_the_shortest_end_is_found_and_is_as_long_as_said():
    grammar = brackets()
    here, written = grammar.start, b""
    for byte in b"([()[(":
        assert grammar.accepts(written + grammar.shortest(here))
        assert grammar.distance(here) == len(grammar.shortest(here))
        here, written = grammar.step(here, byte), written + bytes([byte])
    assert grammar.shortest(here) == b")]])"
    assert grammar.step(here, ord("]")) == ()


def test_nesting_is_bounded_and_what_is_begun_can_be_ended(monkeypatch):
    monkeypatch.setattr(module, "DEEPEST", 5)
    grammar = brackets()
    here, depth = grammar.start, 0
    while after := grammar.step(here, ord("(")):
        here, depth = after, depth + 1
    assert depth == 6
    for _ in range(depth):
        here = grammar.step(here, ord(")"))
    assert grammar.complete(here)


def test_a_text_read_in_several_ways_goes_on_in_all_of_them():
    nodes = Nodes()
    ways = [nodes.literal(text, END) for text in (b"abc", b"abx", b"a")]
    grammar = Grammar(nodes, nodes.node(*ways))
    assert [grammar.accepts(x) for x in (b"abc", b"abx", b"a", b"ab", b"")] == [1, 1, 1, 0, 0]
    here = grammar.step(grammar.start, ord("a"))
    assert len(here) == 3
    assert grammar.distance(here) == 0


def test_ways_are_bounded_to_those_that_end_soonest(monkeypatch):
    monkeypatch.setattr(module, "WAYS", 4)
    nodes = Nodes()
    ways = [nodes.literal(b"a" * size, END) for size in range(9, 0, -1)]
    grammar = Grammar(nodes, nodes.node(*ways))
    assert [grammar.accepts(b"a" * size) for size in range(7)] == [0, 1, 1, 1, 1, 0, 0]


def test_words_share_their_beginnings():
    nodes = Nodes()
    start = nodes.words([b"ab", b"abc", b"b"], END)
    assert len(nodes.edges) == 1 + 5
    grammar = Grammar(nodes, start)
    assert [grammar.accepts(x) for x in (b"ab", b"abc", b"b", b"a", b"")] == [1, 1, 1, 0, 0]


def test_a_byte_that_cannot_be_written_is_gone_round():
    grammar = matching("[a-e]|x+y|z").without(b"cz")
    assert [grammar.accepts(bytes([x])) for x in b"abcdez"] == [1, 1, 0, 1, 1, 0]
    assert not grammar.without(b"y").step(grammar.start, ord("x"))
    with pytest.raises(UsageError, match="no text fits"):
        grammar.without(b"abdey")


def test_a_grammar_without_an_end_or_with_too_much_is_refused(monkeypatch):
    nodes = Nodes()
    loop = nodes.node()
    nodes.silent[loop].append(nodes.literal(b"a", loop))
    with pytest.raises(UsageError, match="no text fits"):
        Grammar(nodes, loop)
    monkeypatch.setattr(grammar_nodes, "NODES", 100)
    with pytest.raises(TooLarge, match="the grammar needs more than 100 nodes"):
        Nodes().literal(b"a" * 101, END)
