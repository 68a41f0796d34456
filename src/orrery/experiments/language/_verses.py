"""Verses of two Bibles as numbers: batches of one length to train on, and what to score."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator

from orrery.data import bibles
from orrery.lab import Measured
from orrery.metrics.bleu import bleu
from orrery.systems.language.translator import TranslationBatch, Vocabulary, batch_of

LONG = 0.8  # of the longest verse: longer ones are the long half, roughly


@dataclass(frozen=True, kw_only=True)
class Verses:
    """English to Spanish, verse by verse."""

    english: Vocabulary
    spanish: Vocabulary
    pairs: list[tuple[list[int], list[int]]]
    """To train on, as numbers."""
    by_length: dict[int, list[int]]
    """Places of the pairs whose source has so many words."""
    sources: list[tuple[str, ...]]
    """To translate: verses of books that no pair comes from."""
    references: list[tuple[str, ...]]
    longest: int

    @classmethod
    def load(cls, longest: int, vocab: int, held_out: int, generator: Generator) -> "Verses":
        """Verses of at most `longest` words, the `vocab` commonest words, `held_out` to score."""
        train, rest = bibles.split(longest)
        english = Vocabulary((pair.english for pair in train), vocab)
        spanish = Vocabulary((pair.spanish for pair in train), vocab)
        pairs = [(english.encode(pair.english), spanish.encode(pair.spanish)) for pair in train]
        by_length = defaultdict(list)
        for place, (source, _) in enumerate(pairs):
            by_length[len(source)].append(place)
        chosen = torch.randperm(len(rest), generator=generator)[:held_out].tolist()
        return cls(
            english=english, spanish=spanish, pairs=pairs, by_length=dict(by_length),
            sources=[rest[i].english for i in chosen],
            references=[rest[i].spanish for i in chosen], longest=longest,
        )  # fmt: skip

    def batch(self, size: int, generator: Generator) -> TranslationBatch:
        """Pairs drawn at random, all with a source as long as the first one's."""
        first = torch.randint(len(self.pairs), (1,), generator=generator)
        alike = self.by_length[len(self.pairs[int(first)][0])]
        drawn = torch.randint(len(alike), (size,), generator=generator).tolist()
        return batch_of([self.pairs[alike[i]] for i in drawn])

    def scores(self, translations: Sequence[Sequence[str]]) -> Measured:
        """BLEU of all, of the short and of the long verses."""
        long = [len(source) > LONG * self.longest for source in self.sources]
        parts = {"all": [True] * len(long), "long": long, "short": [not one for one in long]}
        return {
            name: bleu(
                [words for words, kept in zip(translations, part, strict=True) if kept],
                [[words] for words, kept in zip(self.references, part, strict=True) if kept],
            ).score
            for name, part in parts.items()
        }
