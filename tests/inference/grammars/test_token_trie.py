"""`orrery.inference.grammars.token_trie`: one walk finds what each token leads to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.inference.grammars.token_trie import TokenTrie, walk

WORDS = st.lists(st.text("ab", min_size=1, max_size=5).map(str.encode), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(WORDS, st.lists(st.integers(-1, 4), min_size=10, max_size=10))
def test_the_walk_is_each_token_read_alone(words, row):
    """Five states over two letters; rows are filled in when they are asked for."""
    trie = TokenTrie(dict(enumerate(words)), len(words) + 2)
    table, ready = np.full((5, 256), 7, np.int32), np.zeros(5, np.bool_)
    rows = np.full((5, 256), -1, np.int32)
    rows[:, list(b"ab")] = np.array(row).reshape(5, 2)
    after, path, node = np.full(trie.size, -1, np.int32), np.zeros(6, np.int32), 0
    while (node := walk(trie.tree, node, table, ready, path, after)) < len(trie.tree.byte):
        state = path[trie.tree.depth[node] - 1]
        assert not ready[state]
        table[state], ready[state] = rows[state], True
    for number, word in enumerate(words):
        state = 0
        for byte in word:
            state = rows[state, byte] if state >= 0 else -1
        assert after[number] == state
    assert (after[len(words) :] == -1).all()


def fewest(text, words):
    """As many as needed, by trying all."""
    needed = [0] + [10**9] * len(text)
    for end in range(1, len(text) + 1):
        for word in words:
            if text[:end].endswith(word):
                needed[end] = min(needed[end], needed[end - len(word)] + 1)
    return needed[-1]


@settings(max_examples=60, deadline=None)
@given(WORDS, st.text("ab", max_size=12).map(str.encode))
def test_a_text_is_written_with_the_fewest_tokens(words, text):
    words = [b"a", b"b", *words]
    trie = TokenTrie(dict(enumerate(words)), len(words))
    tokens = trie.shortest(text)
    assert b"".join(words[token] for token in tokens) == text
    assert len(tokens) == fewest(text, words)


def test_bytes_without_a_token_are_known_and_bad_numbers_refused():
    assert TokenTrie({0: b"a", 3: b"bc"}, 4).missing == frozenset(range(256)) - {ord("a")}
    for tokens in ({}, {4: b"a"}, {-1: b"a"}):
        with pytest.raises(ValueError, match=r"numbers in \[0, 4\)"):
            TokenTrie(tokens, 4)
