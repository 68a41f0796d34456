"""The King James Bible as plain text: 66 books, a verse a line."""

import re
from html import unescape

from orrery.data import sword
from orrery.data.card import Card

CARD = Card(
    name="king_james",
    title="The King James Bible",
    kind="text",
    manager="debian",
    package="sword-text-kjv",
    version="14.3-1",
    inside="usr/share/sword/modules/texts/ztext/engKJV2006eb",
    sha256={
        "ot.bzs": "0d518856e8c6ceae0ca58bef944ba9a2809b5d4489cf81900853ad4af227510b",
        "ot.bzv": "b4fae54cb0b979b7f3f78fe6eaa94bad1f1d408eccb4a40410402b794b5c2f0f",
        "ot.bzz": "69f7e4e9b42ecef2e212ea957a388fccbeed1e3e333a38cf52e1b4064c6ce373",
        "nt.bzs": "e7f9bc653743217cdcdf95890a708f997a03af056161d84bb540efef79e4e638",
        "nt.bzv": "9d1daab8fb6ef43b53642cdd3276c1fa95ecfde08901bbb349be6378d1e1b972",
        "nt.bzz": "135b6e70af49372f3a82c5d9cc3c00278f38dbb2c12af74ea8d4b54c18d0cd56",
    },
    size=3_040_554,
    counts={"books": 66, "verses": 31_102},
    licence="public domain (Crown letters patent within the United Kingdom)",
    redistributable=True,
    stands_for="enwik8 and the Canterbury corpus: English prose that compressors are compared on",
    citation="Standardised text of 1769, eBible.org 2022, module engKJV2006eb",
)

HELD_OUT = ("Job", "Ezekiel", "Acts")
"""A tenth of the text, in books that no other book retells."""

_APART = re.compile(r"<(note|title)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>|\\nd ")  # \nd: markup of the source that was left behind
_NAME = re.compile(r'<milestone n="([^"]*)" type="x-usfm-h"/>')


def books() -> dict[str, str]:
    """Every book by its name, in the order of the Bible."""
    return _testament("ot") | _testament("nt")


def load() -> str:
    """All books, an empty line between two."""
    return "\n\n".join(books().values())


def split() -> tuple[str, str]:
    """The text to train on and the text of the held-out books."""
    texts = books()
    held_out = [texts.pop(name) for name in HELD_OUT]
    return "\n\n".join(texts.values()), "\n\n".join(held_out)


def _testament(part: str) -> dict[str, str]:
    """A block is a book: after its heading come, for each chapter, a heading and the verses."""
    found: dict[int, list[str]] = {}
    for block, entry in sword.entries(CARD, part):
        if block and entry:  # block 0 is the testament's own heading
            found.setdefault(block, []).append(entry)
    return {_name(entries[0]): _plain(entries[1:]) for entries in found.values()}


def _name(heading: str) -> str:
    match = _NAME.search(heading)
    assert match, f"a book without a name: {heading}"
    return match[1]


def _plain(entries: list[str]) -> str:
    lines = (" ".join(_TAG.sub("", _APART.sub("", entry)).split()) for entry in entries)
    return "\n".join(unescape(line).removeprefix("¶ ") for line in lines if line)
