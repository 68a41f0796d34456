"""Quality filters: rules that prose keeps and most rubbish does not, and a reference's surprise.

Source: Rae et al. 2021 (Gopher), arXiv:2112.11446, appendix A.1.1, for the rules and for the
shares of repeated lines and n-grams; Raffel et al. 2020 (C4), arXiv:1910.10683, section 2.2, for
words and brackets that prose does not have; Wenzek et al. 2019 (CCNet), arXiv:1911.00359, section
4.2, for the perplexity under a model of clean text.
Differs from the papers: documents here are short, so the least number of words is a setting with
a lower default; the model counts characters in place of word pieces.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orrery.catalog import System
from orrery.data.characters import Characters
from orrery.metrics.compression import bits
from orrery.systems.language.ngram import Ngram, NgramConfig

SYSTEM = System(
    stem="quality_filter", area="language", title="Quality filters of Gopher, C4 and CCNet",
    year=2021, papers=("arXiv:2112.11446", "arXiv:1910.10683", "arXiv:1911.00359"),
    builds_on=("ngram",),
)  # fmt: skip

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
REPEATED = {2: 0.20, 3: 0.18, 4: 0.16}  # n-gram: the largest share of characters it may cover
BULLETS = ("-", "*", "\u2022")
NOT_PROSE = ("javascript", "lorem ipsum", "{", "terms of use", "privacy policy")


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityConfig:
    """The rules' limits; all but the first are Gopher's."""

    least_words: int = 20
    most_words: int = 100_000
    mean_word: tuple[float, float] = (3.0, 10.0)
    symbols: float = 0.1
    """Hash signs, or ellipses, a word."""
    bulleted: float = 0.9
    """The share of lines that may begin with a bullet."""
    cut_off: float = 0.3
    """The share of lines that may end in an ellipsis."""
    lettered: float = 0.8
    """The share of words that must have a letter."""
    stop_words: int = 2
    """How many of the eight commonest kinds of word there must be."""
    repeated_lines: float = 0.3
    """The share of lines that may be repetitions of another."""

    def __post_init__(self) -> None:
        if not 1 <= self.least_words <= self.most_words:
            raise ValueError(
                f"least_words must be in [1, {self.most_words}], got {self.least_words}"
            )
        if not 0 < self.mean_word[0] <= self.mean_word[1]:
            raise ValueError(f"mean_word must rise and be positive, got {self.mean_word}")
        for name in ("symbols", "bulleted", "cut_off", "lettered", "repeated_lines"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.stop_words <= len(STOP_WORDS):
            raise ValueError(f"stop_words must be in [0, 8], got {self.stop_words}")


def broken_rule(text: str, config: QualityConfig) -> str | None:
    """The name of the first rule that a document breaks, or None."""
    words, lines = text.split(), [line.strip() for line in text.splitlines() if line.strip()]
    if not config.least_words <= len(words) <= config.most_words:
        return "word count"
    low, high = config.mean_word
    starts = sum(line.startswith(BULLETS) for line in lines)
    ends = sum(line.endswith(("...", "\u2026")) for line in lines)
    ellipses = text.count("...") + text.count("\u2026")
    kinds = {word.strip(".,;:!?'\"()").lower() for word in words} & STOP_WORDS
    lettered = sum(any(map(str.isalpha, word)) for word in words)
    lowered = text.lower()
    rules = {
        "word length": not low <= sum(map(len, words)) / len(words) <= high,
        "symbols": max(text.count("#"), ellipses) > config.symbols * len(words),
        "bullets": starts > config.bulleted * len(lines),
        "cut off": ends > config.cut_off * len(lines),
        "letters": lettered < config.lettered * len(words),
        "stop words": len(kinds) < config.stop_words,
        "not prose": any(mark in lowered for mark in NOT_PROSE),
        "repeated lines": repeated(lines) > config.repeated_lines,
        "repeated words": any(top_share(words, n) > most for n, most in REPEATED.items()),
    }
    return next((name for name, broken in rules.items() if broken), None)


def repeated(lines: Sequence[str]) -> float:
    """The share of lines that are repetitions of an earlier one."""
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def top_share(words: Sequence[str], n: int) -> float:
    """The share of a text's letters that lie in its commonest n words in a row, if it recurs."""
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    letters = sum(map(len, words))
    shares = [count * sum(map(len, gram)) / letters for gram, count in grams.items() if count > 1]
    return min(1.0, max(shares, default=0.0))


class Surprise:
    """Bits a character of a document under n-grams of a clean text."""

    def __init__(self, clean: str, *, order: int = 5) -> None:
        self._characters = Characters.from_text(clean, unknown=True)
        config = NgramConfig(vocab=len(self._characters), order=order)
        self._model = Ngram(config, self._characters.encode(clean))

    def bits(self, text: str) -> float:
        """Infinite for a document without a character."""
        if not text:
            return math.inf
        return bits(float(self._model.surprise(self._characters.encode(text)).mean()))

    def limit(self, clean: Sequence[str], share: float) -> float:
        """The bits that a share of clean documents stays under: what to filter at.

        Args:
            clean: documents that were not read before.
            share: in (0, 1).
        """
        return float(np.quantile([self.bits(text) for text in clean], share))
