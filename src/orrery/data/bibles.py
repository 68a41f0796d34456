"""English and Spanish, verse by verse: two Bibles as a parallel corpus.

A chapter counts where both Bibles divide it into as many verses; of those, every verse that both
have is a pair.
"""

import re
from dataclasses import dataclass
from functools import cache
from html import unescape

from orrery.data import reina_valera, web_bible
from orrery.data.sword import chapters

HELD_OUT = ("Job", "Ezek", "Acts")
"""Books that no other book retells, by their names in OSIS."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Pair:
    """A verse in both languages, as lower-case words and punctuation marks."""

    book: str
    english: tuple[str, ...]
    spanish: tuple[str, ...]


def words(text: str) -> tuple[str, ...]:
    """Lower-case words and punctuation marks, one by one."""
    return tuple(_WORD.findall(text.lower()))


@cache
def pairs() -> tuple[Pair, ...]:
    """All verses that both Bibles have, in the order of the Bible."""
    english, spanish = chapters(web_bible.CARD), chapters(reina_valera.CARD)
    found = []
    for chapter, verses in spanish.items():
        others = english.get(chapter, [])
        if len(others) == len(verses):
            for theirs, ours in zip(others, verses, strict=True):
                if theirs and ours:
                    book = chapter.split(".")[0]
                    found.append(Pair(book, words(unescape(theirs)), words(unescape(ours))))
    return tuple(found)


def split(longest: int | None = None) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Pairs to train on, and pairs of the held-out books.

    Args:
        longest: leave out pairs with more words than this on either side.
    """
    kept = [
        pair for pair in pairs()
        if longest is None or max(len(pair.english), len(pair.spanish)) <= longest
    ]  # fmt: skip
    return (
        tuple(pair for pair in kept if pair.book not in HELD_OUT),
        tuple(pair for pair in kept if pair.book in HELD_OUT),
    )
