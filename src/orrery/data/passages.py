"""Passages of known works as bags of words: real text with many rare features."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Generator, Tensor

from orrery.data.batches import sample_batch

Bags = Int64[Tensor, "b words"]  # places of words in the vocabulary, most frequent first
Works = Int64[Tensor, " b"]  # which work each bag is from


@dataclass(frozen=True, slots=True)
class Passages:
    """Words in a row, drawn from several works with equal chances."""

    names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    """The most frequent word first; words outside it are left out of the texts."""
    texts: tuple[Int64[Tensor, " _"], ...]
    """Each work as places in the vocabulary."""

    @classmethod
    def from_works(cls, works: Mapping[str, str], *, longest: int, vocab: int) -> "Passages":
        """Passages of the `longest` longest works, told in their `vocab` most frequent words.

        Raises:
            ValueError: longest or vocab is below 1.
        """
        if min(longest, vocab) < 1:
            raise ValueError(f"longest and vocab must be at least 1, got {longest} and {vocab}")
        names = sorted(works, key=lambda name: len(works[name]), reverse=True)[:longest]
        spelled = [re.findall(r"[a-z']+", works[name].lower()) for name in names]
        counts = Counter(word for text in spelled for word in text)
        vocabulary = tuple(word for word, _ in counts.most_common(vocab))
        place = {word: i for i, word in enumerate(vocabulary)}
        texts = (torch.tensor([place[w] for w in text if w in place]) for text in spelled)
        return cls(tuple(names), vocabulary, tuple(texts))

    def draw(self, batch: int, words: int, generator: Generator) -> tuple[Bags, Works]:
        """`batch` passages of `words` words, and the works they are from.

        Raises:
            ValueError: a work has fewer words.
        """
        shortest = min(map(len, self.texts))
        if not 1 <= words <= shortest:
            raise ValueError(f"words must be from 1 to {shortest}, got {words}")
        works = sample_batch(len(self.texts), batch, generator)
        rows = []
        for work in works.tolist():
            text = self.texts[work]
            start = int(sample_batch(len(text) - words + 1, 1, generator))
            rows.append(text[start : start + words])
        return torch.stack(rows).to(works.device), works
