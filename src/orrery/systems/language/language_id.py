"""Language identification: which language's letters go together as in this text?

Source: Cavnar and Trenkle 1994, "N-Gram-Based Text Categorization", for n-grams of characters;
Dunning 1994, "Statistical Identification of Language", for Bayes' rule on them.
Differs from the papers: n-grams of every length up to `order` are counted together as if they
were independent (naive Bayes), each language's counts smoothed by one for every n-gram that any
of them has.

    log p(language | text) = log p(language) + sum over n-grams of log p(n-gram | language) + c
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from orrery.catalog import System

SYSTEM = System(
    stem="language_id", area="language", title="Language identification by n-grams", year=1994,
    papers=("Cavnar and Trenkle 1994", "Dunning 1994"), builds_on=(),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageIdConfig:
    """What is counted."""

    order: int = 3
    """Longest n-gram, in characters."""
    longest: int = 300
    """Characters of a text that are looked at."""

    def __post_init__(self) -> None:
        if min(self.order, self.longest) < 1:
            raise ValueError(f"order and longest must be at least 1: {self}")


class LanguageId:
    """N-grams counted once in a sample of each language."""

    def __init__(self, config: LanguageIdConfig, samples: Mapping[str, str]) -> None:
        """Count the samples.

        Args:
            config: what is counted.
            samples: a text of each language, of about one length: what none has shown is
                likelier in a shorter one.

        Raises:
            ValueError: there are fewer than two languages.
        """
        if len(samples) < 2:
            raise ValueError(f"samples must be of at least 2 languages, got {len(samples)}")
        self.config = config
        self._counts = {name: self._grams(text) for name, text in samples.items()}
        self._kinds = len(set().union(*self._counts.values())) + 1  # one for all that are unseen
        self._totals = {name: counts.total() for name, counts in self._counts.items()}

    def scores(self, text: str) -> dict[str, float]:
        """Log p(text | language) of each language, up to a constant, in nats."""
        grams = self._grams(text[: self.config.longest])
        return {
            name: sum(n * math.log(counts[gram] + 1) for gram, n in grams.items())
            - grams.total() * math.log(self._totals[name] + self._kinds)
            for name, counts in self._counts.items()
        }

    def best(self, text: str) -> str:
        """The likeliest language, all being alike before the text is seen."""
        scores = self.scores(text)
        return max(scores, key=lambda name: scores[name])

    def chances(self, text: str) -> dict[str, float]:
        """Each language's chance, all being alike before; naive: far too sure of itself."""
        scores = self.scores(text)
        highest = max(scores.values())
        weights = {name: math.exp(score - highest) for name, score in scores.items()}
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}

    def _grams(self, text: str) -> Counter[str]:
        text = " ".join(text.lower().split())
        return Counter(
            text[i : i + length]
            for length in range(1, self.config.order + 1)
            for i in range(len(text) - length + 1)
        )
