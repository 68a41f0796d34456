"""Decontamination: documents that give away what a model is to be tested on.

Source: Brown et al. 2020 (GPT-3), arXiv:2005.14165, section 4 and appendix C: a document that
shares 13 words in a row with a test is contaminated.
Differs from the paper: a contaminated document is dropped whole; the paper cuts out the match and
200 characters on either side.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import regex

from orrery.catalog import System

SYSTEM = System(
    stem="decontamination", area="language", title="Decontamination by shared n-grams", year=2020,
    papers=("arXiv:2005.14165",), builds_on=(),
)  # fmt: skip

_WORD = regex.compile(r"[\p{L}\p{N}]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class DecontaminationConfig:
    """What gives a test away."""

    words: int = 13
    """So many words in a row, whatever their case and punctuation."""

    def __post_init__(self) -> None:
        if self.words < 1:
            raise ValueError(f"words must be at least 1, got {self.words}")


class Decontamination:
    """All rows of words of the held-out texts."""

    def __init__(self, config: DecontaminationConfig, held_out: Iterable[str]) -> None:
        self.config = config
        self._rows = {row for text in held_out for row in self._of(text)}

    def shared(self, text: str) -> float:
        """The share of a document's rows that a held-out text has; 0 for a shorter document."""
        rows = self._of(text)
        return sum(row in self._rows for row in rows) / len(rows) if rows else 0.0

    def _of(self, text: str) -> list[str]:
        words = [word.lower() for word in _WORD.findall(text)]
        size = self.config.words
        return [" ".join(words[i : i + size]) for i in range(len(words) - size + 1)]
