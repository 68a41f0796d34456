"""Reviews with a score each, and a split that no repeated review can cross."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

OPENING = 15
"""Letters by which two reviews are taken for versions of one."""
_APART = re.compile(r"[\W_]")


@dataclass(frozen=True, slots=True)
class Reviews:
    """n texts, and how much each is for its subject: below 0 against it."""

    texts: tuple[str, ...]
    scores: Float64[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.scores):
            raise ValueError(f"{len(self.texts)} texts but {len(self.scores)} scores")

    def __len__(self) -> int:
        return len(self.texts)

    def sides(self, least: float = 0.0) -> tuple[tuple[str, ...], Int64[np.ndarray, " k"]]:
        """The texts whose score is further than `least` from 0, and 1 for those above it, else 0.

        Raises:
            ValueError: least is below 0.
        """
        if least < 0:
            raise ValueError(f"least must be at least 0, got {least}")
        kept = np.flatnonzero(np.abs(self.scores) > least)
        return tuple(self.texts[i] for i in kept), (self.scores[kept] > 0).astype(np.int64)


def letters(text: str) -> str:
    """What is left of a text without capitals, spaces and punctuation."""
    return _APART.sub("", text).lower()


def distinct(reviews: Iterable[tuple[str, float]], shortest: int = 1) -> Reviews:
    """Every review once, by its letters, in the order in which they come.

    One that stands on both sides, for and against, is left out, and so is one with fewer letters
    than `shortest`.
    """
    found: dict[str, tuple[str, float]] = {}
    torn = set()
    for text, score in reviews:
        key = letters(text)
        if found.setdefault(key, (text, score))[1] * score < 0:
            torn.add(key)
    kept = [one for key, one in found.items() if len(key) >= shortest and key not in torn]
    scores = np.array([score for _, score in kept], np.float64)
    return Reviews(tuple(text for text, _ in kept), scores)


def split(reviews: Reviews) -> tuple[Reviews, Reviews, Reviews]:
    """Eight tenths to train on, one to choose by and one to test on, by what the reviews say.

    Reviews that open with the same letters fall in the same part; a review's part does not depend
    on which others there are.
    """
    openings = (letters(text)[:OPENING].encode() for text in reviews.texts)
    tenths = np.array([hashlib.sha256(opening).digest()[0] * 10 // 256 for opening in openings])
    parts = [np.flatnonzero(tenths < 8), np.flatnonzero(tenths == 8), np.flatnonzero(tenths == 9)]
    train, validation, test = (
        Reviews(tuple(reviews.texts[i] for i in part), reviews.scores[part]) for part in parts
    )
    return train, validation, test
