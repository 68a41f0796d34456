"""The tokens of a vocabulary as a tree of their bytes, in flat arrays that loops can walk.

Nodes stand in the order in which a walk meets them, so that its next node is the next number, or,
where no token below can follow, the first number after all of these.

Source: Willard and Louf 2023, arXiv:2307.09702, section 3: an index from the states of an automaton
to the tokens that it can read; Dong et al. 2024 (XGrammar), arXiv:2411.15100, section 3.1, for one
walk that reads the beginnings that tokens share once.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orrery.train.compiled import compiled

Ints = NDArray[np.int32]


class Tree(NamedTuple):
    """One row a node; the root is none, since no token is empty."""

    byte: NDArray[np.uint8]
    depth: Ints
    """Bytes up to here."""
    skip: Ints
    """The next node that is not below."""
    low: Ints
    """The tokens that end here: `order[low:high]`."""
    high: Ints
    order: Ints
    """Tokens, by their bytes."""


@compiled
def plant(data: NDArray[np.uint8], ends: Ints, tree: Tree, path: Ints) -> int:
    """Fill in the nodes of tokens which are sorted by their bytes; returns how many there are."""
    count, depth, begin, before = 0, 0, 0, 0
    for i in range(len(ends)):
        size, same = ends[i] - begin, 0
        while same < min(size, depth) and data[before + same] == data[begin + same]:
            same += 1
        for place in range(same, depth):
            tree.skip[path[place]] = count
        for place in range(same, size):
            path[place] = count
            tree.byte[count], tree.depth[count] = data[begin + place], place + 1
            tree.low[count], tree.high[count] = i, i
            count += 1
        tree.high[path[size - 1]] = i + 1
        before, begin, depth = begin, ends[i], size
    for place in range(depth):
        tree.skip[path[place]] = count
    return count


@compiled
def walk(
    tree: Tree, node: int, table: Ints, ready: NDArray[np.bool_], path: Ints, after: Ints
) -> int:
    """Note for each token what follows it; stops at a node whose row of the table is not ready.

    Args:
        tree: of tokens.
        node: where to go on.
        table: [states 256], the next state, -1 where there is none.
        ready: [states] whether a row is filled in.
        path: the state before the first byte, then the one after each byte.
        after: [tokens] filled with the state after each token that can follow.
    """
    while node < len(tree.byte):
        state = path[tree.depth[node] - 1]
        if not ready[state]:
            break
        reached = table[state, tree.byte[node]]
        if reached < 0:
            node = tree.skip[node]
            continue
        path[tree.depth[node]] = reached
        for i in range(tree.low[node], tree.high[node]):
            after[tree.order[i]] = reached
        node += 1
    return node


@compiled
def cover(tree: Tree, text: NDArray[np.uint8], fewest: Ints, token: Ints, end: Ints) -> None:
    """Write a text with few tokens.

    Args:
        tree: of tokens, every byte of the text among them.
        text: its bytes.
        fewest: filled with how many tokens the text needs from each place on; its last one is 0.
        token: filled with the first of these.
        end: filled with the place after that.
    """
    for begin in range(len(text) - 1, -1, -1):
        fewest[begin], place, node = len(text) + 1, begin, 0
        while node < len(tree.byte) and place < len(text):
            if tree.depth[node] != place - begin + 1:
                break  # nothing below goes on
            if tree.byte[node] != text[place]:
                node = tree.skip[node]
                continue
            place += 1
            if tree.low[node] < tree.high[node] and fewest[place] + 1 < fewest[begin]:
                fewest[begin], end[begin] = fewest[place] + 1, place
                token[begin] = tree.order[tree.low[node]]
            node += 1


class TokenTrie:
    """The tokens that may be written, and how many there are in all."""

    def __init__(self, tokens: Mapping[int, bytes], size: int) -> None:
        """Plant the tree.

        Args:
            tokens: bytes by number; special tokens are not among them.
            size: numbers that a model scores.

        Raises:
            ValueError: there are none, or a number is not below size.
        """
        if not tokens or not 0 <= min(tokens) <= max(tokens) < size:
            raise ValueError(f"tokens must be there, and their numbers in [0, {size})")
        self.size = size
        self.missing = frozenset(range(256)) - {x[0] for x in tokens.values() if len(x) == 1}
        """Bytes that have no token of their own."""
        order = sorted((one, number) for number, one in tokens.items() if one)
        self.longest = max(len(one) for one, _ in order)
        """Bytes of a token."""
        data = np.frombuffer(b"".join(one for one, _ in order), np.uint8)
        ends = np.cumsum([len(one) for one, _ in order], dtype=np.int32)
        depth, skip, low, high = np.empty((4, len(data)), np.int32)
        numbers = np.array([number for _, number in order], np.int32)
        tree = Tree(np.empty(len(data), np.uint8), depth, skip, low, high, numbers)
        count = plant(data, ends, tree, np.empty(self.longest, np.int32))
        depth, skip, low, high = np.stack([depth, skip, low, high])[:, :count].copy()
        self.tree = Tree(tree.byte[:count].copy(), depth, skip, low, high, numbers)

    def shortest(self, text: bytes) -> list[int]:
        """The fewest tokens that write a text."""
        fewest, token, end = np.zeros((3, len(text) + 1), np.int32)
        cover(self.tree, np.frombuffer(text, np.uint8), fewest, token, end)
        place, tokens = 0, list[int]()
        while place < len(text):
            tokens.append(int(token[place]))
            place = int(end[place])
        return tokens
