"""Bytes of the King James Bible: text to pre-train on, text to judge by, and verses with labels."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from orrery.data import king_james

Text = Int64[Tensor, " _"]
Windows = Int64[Tensor, "_ _"]
Labelled = tuple[Windows, Int64[Tensor, " _"]]

MASK, FIRST, BETWEEN = 256, 257, 258  # after the bytes: a gap, a text's start, its two parts' seam
VOCAB = 259
LAST_BOOKS = {"history": "Esther", "poetry": "Song of Solomon", "prophets": "Malachi",
              "gospels": "John", "letters": "Jude"}  # fmt: skip
"""Kinds of book, in the order of the Bible, by the last book of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scripture:
    """What an experiment reads."""

    text: Text
    """To pre-train on: no verse of the test and no held-out book is in it."""
    held_out: Text
    """Books that nobody reads before they are judged by."""
    labelled: Labelled
    """Starts of verses and their kinds, as many of each, to learn."""
    test: Labelled
    """The same, to judge."""


def read(length: int, labels: int, tests: int, rng: np.random.Generator) -> Scripture:
    """The text, and verses with the kind of their book.

    Args:
        length: bytes of a labelled verse; shorter verses have no label.
        labels: verses of each kind to learn.
        tests: verses of each kind to judge by.
        rng: draws them.
    """
    kinds, verses = list[list[str]](), list[str]()
    own: list[str] = []
    for name, book in king_james.books().items():
        if name not in king_james.HELD_OUT:
            own += book.splitlines()
        if name in LAST_BOOKS.values():
            kinds.append([verse for verse in own if len(verse.encode()) >= length])
            verses += own
            own = []
    judged, learnt, taken = list[str](), list[str](), set[str]()
    for kind in kinds:
        drawn = [kind[i] for i in rng.permutation(len(kind))[: labels + tests]]
        judged += drawn[:tests]
        learnt += drawn[tests:]
        taken.update(drawn[:tests])
    text = "\n".join(verse for verse in verses if verse not in taken)
    _, held_out = king_james.split()
    return Scripture(
        text=numbers(text), held_out=numbers(held_out),
        labelled=starts(learnt, length, labels), test=starts(judged, length, tests),
    )  # fmt: skip


def numbers(text: str) -> Text:
    """A text as its bytes."""
    return torch.from_numpy(np.frombuffer(text.encode(), np.uint8).astype(np.int64))


def starts(verses: list[str], length: int, each: int) -> Labelled:
    """The first bytes of each verse; of every kind there are as many."""
    rows = torch.stack([numbers(verse)[:length] for verse in verses])
    return rows, torch.arange(len(LAST_BOOKS)).repeat_interleave(each)


def with_first(rows: Windows) -> Windows:
    """Texts after the mark that starts a text."""
    return torch.cat([torch.full_like(rows[:, :1], FIRST), rows], dim=1)
