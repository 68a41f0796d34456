"""MinHash: sketches that agree as often as two sets overlap, and bands that find what agrees.

Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec, Rajaraman and
Ullman 2014, "Mining of Massive Datasets", section 3.4, for bands; Lee et al. 2021,
arXiv:2107.06499, section 4.2, for taking near-duplicates out of what language models read.
Differs from the papers: hash functions a x + b modulo the prime 2^31 - 1 in place of random
permutations; what the bands find is checked against the sketch before it counts.

Symbols: J the Jaccard similarity |A and B| / |A or B|; b bands of r rows.

    P(two sketches agree in a row) = J        P(some band agrees whole) = 1 - (1 - J^r)^b
"""

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from orrery.catalog import System

SYSTEM = System(
    stem="minhash", area="language", title="MinHash and banded hashing", year=1997,
    papers=("Broder 1997", "arXiv:2107.06499"), builds_on=(),
)  # fmt: skip

Longs = NDArray[np.int64]
PRIME = (1 << 31) - 1
NOTHING = PRIME  # the sketch of an empty set: larger than any hash
AT_ONCE = 1 << 14  # elements hashed together


@dataclass(frozen=True, kw_only=True, slots=True)
class MinHashConfig:
    """Sizes of the sketch, and what counts as the same."""

    bands: int = 16
    rows: int = 4
    words: int = 5
    """Length of a shingle: so many words in a row are an element of a text's set."""
    threshold: float = 0.6
    """Texts whose sketches agree in so large a share are near-duplicates."""

    def __post_init__(self) -> None:
        for name in ("bands", "rows", "words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")


def shingles(text: str, words: int) -> Longs:
    """The set of a text: a number for every `words` words in a row; of a shorter text, for all."""
    tokens = text.lower().split()
    if not tokens:
        return np.empty(0, np.int64)
    count = max(1, len(tokens) - words + 1)
    rows = (" ".join(tokens[i : i + words]).encode() for i in range(count))
    return np.unique(np.fromiter((zlib.crc32(row) % PRIME for row in rows), np.int64, count))


def jaccard(a: Longs, b: Longs) -> float:
    """The share of the elements of either set that both have; 1 for two empty sets."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else 1.0


def chance_of_meeting(similarity: float, config: MinHashConfig) -> float:
    """The chance that two sets share a band whole: an S-curve that rises near (1/b)^(1/r)."""
    return float(1 - (1 - similarity**config.rows) ** config.bands)


class MinHash:
    """Hash functions drawn once; sketches of sets; groups of near-duplicates."""

    def __init__(self, config: MinHashConfig, generator: np.random.Generator) -> None:
        self.config = config
        count = config.bands * config.rows
        self._factors = generator.integers(1, PRIME, count)
        self._shifts = generator.integers(0, PRIME, count)

    def sketch(self, elements: Longs) -> Longs:
        """For each function the least hash of any element.

        Args:
            elements: in [0, 2^31 - 1).
        """
        least = np.full(len(self._factors), NOTHING, np.int64)
        for start in range(0, len(elements), AT_ONCE):
            some = elements[start : start + AT_ONCE, None]
            hashes = (some * self._factors + self._shifts) % PRIME  # below 2^62 before the modulus
            np.minimum(least, hashes.min(axis=0), out=least)
        return least

    def sketches(self, texts: Sequence[str]) -> Longs:
        """A row for each text."""
        rows = [self.sketch(shingles(text, self.config.words)) for text in texts]
        return np.array(rows, np.int64).reshape(len(texts), len(self._factors))

    def candidates(self, sketches: Longs) -> Iterator[tuple[int, int]]:
        """Pairs, earlier first, that agree in a whole band; a pair may come more than once.

        Of the texts that fall together in a band, each is paired with the first of them only:
        enough to join them, and a thousand copies are not half a million pairs.
        """
        for band in np.split(sketches, self.config.bands, axis=1):
            first: dict[bytes, int] = {}
            for text, row in enumerate(band):
                other = first.setdefault(row.tobytes(), text)
                if other != text:
                    yield other, text

    def groups(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts by groups of near-duplicates, each in order; most groups have one."""
        sketches, parents = self.sketches(texts), list(range(len(texts)))

        def root(text: int) -> int:
            while parents[text] != text:
                parents[text] = text = parents[parents[text]]
            return text

        for a, b in self.candidates(sketches):
            if root(a) != root(b) and (sketches[a] == sketches[b]).mean() >= self.config.threshold:
                low, high = sorted((root(a), root(b)))
                parents[high] = low
        found = defaultdict[int, list[int]](list)
        for text in range(len(texts)):
            found[root(text)].append(text)
        return list(found.values())

    def kept(self, texts: Sequence[str]) -> list[int]:
        """The first text of every group."""
        return [group[0] for group in self.groups(texts)]


def near_duplicates(texts: Sequence[str], config: MinHashConfig) -> list[tuple[int, int]]:
    """All pairs whose sets are as similar as the threshold, by comparing all: the slow truth."""
    sets = [shingles(text, config.words) for text in texts]
    pairs = combinations(range(len(texts)), 2)
    return [(a, b) for a, b in pairs if jaccard(sets[a], sets[b]) >= config.threshold]
