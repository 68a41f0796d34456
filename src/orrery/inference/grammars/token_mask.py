"""Which tokens may come next, so that a text fits a grammar: masks, each made once for its place.

A configuration of the grammar gets a number and, when it is first read from, a row of a table: what
comes after each byte. One walk over the tree of tokens then finds the mask of a configuration.

Source: Willard and Louf 2023, "Efficient Guided Generation for Large Language Models",
arXiv:2307.09702, section 3, for masks by the state of an automaton.
Differs from the paper: rows and masks are made when they are needed and forgotten when there are
too many; near the end of what may be written, only tokens are left after which it can be finished;
a byte that has no token of its own is not written at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from orrery.errors import UsageError
from orrery.inference.grammars.grammar import FAR, Configuration, Grammar
from orrery.inference.grammars.token_trie import TokenTrie, walk

Mask = Bool[Tensor, " v"]
ROWS = 16_384  # with more of them all is forgotten, between two tokens
MASKS = 128  # kept; the one not asked for longest is given up


@dataclass(frozen=True, slots=True)
class Place:
    """What may follow a configuration."""

    allowed: Mask
    """The tokens that end a text are among them where it is complete."""
    after: NDArray[np.int32]
    """The number of the configuration after each token."""
    reached: list[int]
    """The different ones of these."""
    farthest: int
    """Most bytes that any of them needs to be finished."""


class TokenMasks:
    """The masks of one grammar for one vocabulary, shared by all texts."""

    def __init__(self, grammar: Grammar, trie: TokenTrie, ends: Sequence[int]) -> None:
        """Begin with none.

        Args:
            grammar: what the texts must be.
            trie: the tokens.
            ends: the tokens that end a text.

        Raises:
            ValueError: no token ends a text.
            UsageError: no text that fits can be written with the tokens.
        """
        if not ends:
            raise ValueError("a constraint needs a token that ends a text")
        self.grammar = grammar.without(trie.missing) if trie.missing else grammar
        self.trie, self.ends = trie, tuple(ends)
        self._forget()

    def _forget(self) -> None:
        self._numbers, self._places = dict[Configuration, int](), dict[int, Place]()
        self._known, self._fewest = list[Configuration](), dict[int, int]()
        self._table = np.empty((256, 256), np.int32)
        self._ready = np.zeros(256, np.bool_)

    def begin(self, most: int) -> "GrammarConstraint":
        """The constraint of a text of so many tokens at most.

        Raises:
            UsageError: no text that fits is so short.
        """
        return GrammarConstraint(self, most)

    def number(self, configuration: Configuration) -> int:
        """The number of a configuration."""
        number = self._numbers.setdefault(configuration, len(self._known))
        if number == len(self._known):
            self._known.append(configuration)
            if number == len(self._ready):
                self._table = np.concatenate([self._table, np.empty_like(self._table)])
                self._ready = np.concatenate([self._ready, np.zeros_like(self._ready)])
        return number

    def place(self, configuration: Configuration) -> Place:
        """What may follow it."""
        number = self.number(configuration)
        found = self._places.pop(number, None)
        if found is None:
            if len(self._known) > ROWS:
                self._forget()
            while len(self._places) >= MASKS:
                del self._places[next(iter(self._places))]
            number = self.number(configuration)
            found = self._made(number)
        self._places[number] = found
        return found

    def configuration(self, number: int) -> Configuration:
        """The configuration of a number."""
        return self._known[number]

    def _made(self, number: int) -> Place:
        tree, node = self.trie.tree, 0
        after = np.full(self.trie.size, -1, np.int32)
        path = np.full(self.trie.longest + 1, number, np.int32)
        while node < len(tree.byte):
            node = walk(tree, node, self._table, self._ready, path, after)
            if node < len(tree.byte):
                self._fill(int(path[tree.depth[node] - 1]))
        met = np.zeros(len(self._known) + 1, np.bool_)
        met[after] = True  # -1 is the last
        reached: list[int] = met[:-1].nonzero()[0].tolist()
        allowed = torch.from_numpy(after >= 0)
        if self.grammar.complete(self._known[number]):
            allowed[list(self.ends)] = True
        distances = (self.grammar.distance(self._known[one]) for one in reached)
        return Place(allowed, after, reached, max(distances, default=0))

    def _fill(self, number: int) -> None:
        row = np.full(256, -1, np.int32)
        for low, high, after in self.grammar.row(self._known[number]):
            row[low : high + 1] = self.number(after)
        self._table[number], self._ready[number] = row, True

    def fewest(self, number: int, most: int) -> int:
        """Tokens that finish a configuration in the shortest way; many if they are above most."""
        distance = self.grammar.distance(self._known[number])
        if distance <= most:
            return distance
        if number not in self._fewest:
            if distance > most * self.trie.longest:
                return FAR
            self._fewest[number] = len(self.way(self._known[number]))
        return self._fewest[number]

    def way(self, configuration: Configuration) -> list[int]:
        """The fewest tokens that write the shortest text which finishes a configuration."""
        return self.trie.shortest(self.grammar.shortest(configuration))


class GrammarConstraint:
    """Of one text: what was written, and what may come next."""

    def __init__(self, masks: TokenMasks, most: int) -> None:
        """Begin a text.

        Args:
            masks: of its grammar.
            most: tokens that may be written.

        Raises:
            UsageError: no text that fits is so short.
        """
        self.masks, self.left = masks, most
        self.ended = False
        self._here = masks.grammar.start
        self._way: list[int] | None = None
        if masks.fewest(masks.number(self._here), most) > most:
            needed = len(masks.way(self._here))
            raise UsageError(
                f"a text that fits takes at least {needed} tokens, and {most} are allowed"
            )

    @property
    def complete(self) -> bool:
        """Whether what was written fits as it is."""
        return self.masks.grammar.complete(self._here)

    def mask(self) -> Mask:
        """The tokens that may come next; after the end, those that end a text."""
        if self.ended:
            return self._only(self.masks.ends)
        place = self.masks.place(self._here)
        if place.farthest < self.left:
            return place.allowed
        if self._way is None:
            self._way = self.masks.way(self._here)
        room = np.zeros(max(place.reached, default=0) + 2, np.bool_)
        for number in place.reached:
            room[number] = self.masks.fewest(number, self.left - 1) < self.left
        mask = torch.from_numpy(room[place.after])  # -1 is the last, which has no room
        if self.complete:
            mask[list(self.masks.ends)] = True
        if self._way:
            mask[self._way[0]] = True
        return mask

    def advance(self, token: int) -> None:
        """Go on with a token.

        Raises:
            ValueError: it may not come next.
        """
        if token in self.masks.ends and (self.ended or self.complete):
            self.ended = True
            return
        place = None if self.ended else self.masks.place(self._here)
        if place is None or not 0 <= token < len(place.after) or place.after[token] < 0:
            raise ValueError(f"token {token} does not fit")
        follows = self._way is not None and self._way[:1] == [token]
        self._way = self._way[1:] if follows and self._way is not None else None
        self._here = self.masks.configuration(int(place.after[token]))
        self.left -= 1

    def _only(self, tokens: Sequence[int]) -> Mask:
        mask = torch.zeros(self.masks.trie.size, dtype=torch.bool)
        mask[list(tokens)] = True
        return mask
