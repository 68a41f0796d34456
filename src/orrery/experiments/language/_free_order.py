"""A small translation with many right answers: into a language whose word order is free.

A source is a subject of one to three nouns, a verb and an object of one to three nouns, in this
order. Each word has one translation, a noun two, by its case; so subject, verb and object can
stand in any order and the sentence says the same. Which order is written is up to chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Generator, Tensor

PADDING, MASK, START, END = range(4)
LONGEST = 7  # words of a sentence
ORDERS = tuple(permutations(range(3)))
Phrases = tuple[list[int], list[int], list[int]]


@dataclass(frozen=True, slots=True)
class FreeOrder:
    """Two languages, their words all in one table."""

    nouns: int
    verbs: int
    fixed: bool = False
    """The order of the source is kept."""

    @property
    def vocab(self) -> int:
        """Marks, source words, nouns of either case, verbs."""
        return END + 1 + 3 * self.nouns + 2 * self.verbs

    def draw(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Sources and one right translation of each, padded behind."""
        source = torch.full((count, LONGEST), PADDING)
        target = source.clone()
        sizes = torch.randint(1, 4, (count, 2), generator=generator).tolist()
        nouns = torch.rand(count, self.nouns, generator=generator).argsort(dim=1)[:, :6]
        verbs = torch.randint(self.verbs, (count,), generator=generator)
        orders = torch.randint(len(ORDERS), (count,), generator=generator)
        if self.fixed:
            orders = torch.zeros_like(orders)
        rows = zip(sizes, nouns.tolist(), verbs.tolist(), orders.tolist(), strict=True)
        for i, ((first, last), some, verb, order) in enumerate(rows):
            said = (some[:first], [verb + self.nouns], some[3 : 3 + last])
            words = [END + 1 + word for phrase in said for word in phrase]
            source[i, : len(words)] = torch.tensor(words)
            target[i, : len(words)] = torch.tensor(in_order(self.translated(words), order))
        return source, target

    def translated(self, words: Sequence[int]) -> Phrases:
        """Subject, verb and object of a source, in the words of the target."""
        bare = [word - END - 1 for word in words if word != PADDING]
        at = next(i for i, word in enumerate(bare) if word >= self.nouns)
        subject = END + 1 + self.nouns + self.verbs
        return (
            [subject + word for word in bare[:at]],
            [subject + self.nouns + bare[at]],
            [subject + self.nouns + self.verbs + word for word in bare[at + 1 :]],
        )

    def right(self, source: Tensor, written: Tensor) -> float:
        """The share of translations that are right, in whatever order."""
        rows = zip(source.tolist(), written.tolist(), strict=True)
        return sum(self._right(words, row) for words, row in rows) / len(source)

    def _right(self, words: Sequence[int], written: Sequence[int]) -> bool:
        said = [word for word in written if word not in (PADDING, START, END)]
        phrases = self.translated(words)
        return any(said == in_order(phrases, order) for order in range(len(ORDERS)))


def in_order(phrases: Phrases, order: int) -> list[int]:
    """The words of the phrases in one of the six orders."""
    return [word for place in ORDERS[order] for word in phrases[place]]
