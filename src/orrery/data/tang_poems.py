"""Tang poems in traditional characters, those that came down whole."""

import json
import re
from dataclasses import dataclass
from functools import cache

from orrery.data.card import Card, sums
from orrery.data.fetch import read

CARD = Card(
    name="tang_poems",
    title="Complete Tang poems",
    kind="text",
    manager="npm",
    package="chinese-poetry",
    version="2.0.1",
    inside="dist/quantangshi",
    sha256=sums("tang_poems"),
    archive_sha256="25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86",
    size=25_585_610,
    counts={"poems": 51_013, "held out": 2_338},
    licence="MIT; texts in the public domain",
    redistributable=True,
    stands_for="the Chinese part of a language model's corpus",
    citation="chinese-poetry 2.0.1, after Quan Tangshi (1705) and its modern supplements",
)

HELD_OUT_EVERY = 20

# Verse only: a poem with an editor's note, a gap or a missing character is left out.
_HAN = "\u3400-\u9fff\U00020000-\U0003ffff"
_VERSE = re.compile(f"[{_HAN}，。？！、：；「」『』《》]{{4,}}")
_TITLE = re.compile(f"[{_HAN} ]+")
_NOTE = re.compile("（[^）]*）")


@dataclass(frozen=True, slots=True)
class Poem:
    """A poem as printed: a title and lines, most of them a couplet."""

    title: str
    author: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((self.title, *self.lines))


@cache
def poems() -> tuple[Poem, ...]:
    """Every poem that came down whole, in the order of the book, none twice."""
    found: dict[tuple[str, ...], Poem] = {}
    for file in CARD.sha256:
        for entry in json.loads(read(CARD, file)):
            lines = tuple(entry["paragraphs"])
            title = _NOTE.sub("", entry["title"]).strip()
            if _VERSE.fullmatch("".join(lines)) and _TITLE.fullmatch(title):
                found.setdefault(lines, Poem(title, entry["author"], lines))
    return tuple(found.values())


def load() -> str:
    """All poems, an empty line between two."""
    return "\n\n".join(map(str, poems()))


def split() -> tuple[str, str]:
    """The poems to train on and every twentieth, held out.

    A held-out poem that shares a line with another goes back to training.
    """
    everything = poems()
    training = [poem for i, poem in enumerate(everything, start=1) if i % HELD_OUT_EVERY]
    seen = {line for poem in training for line in poem.lines}
    held_out = []
    for poem in everything[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]:
        if seen.isdisjoint(poem.lines):
            held_out.append(poem)
        else:
            training.append(poem)
            seen.update(poem.lines)
    return "\n\n".join(map(str, training)), "\n\n".join(map(str, held_out))
