"""The reader of Bibles in the Sword library's zText format: blocks of verses, packed by zlib.

A testament is three files: where each block lies among the packed ones (.bzs), in which block and
where in it each entry lies (.bzv), and the packed blocks (.bzz). A block is a book.
"""

import re
import struct
import zlib

from orrery.data.card import Card
from orrery.data.fetch import read

_CHAPTER = re.compile(r'<chapter n="\d+" osisID="([^"]*)"')
_APART = re.compile(r"<(note|title)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def entries(card: Card, testament: str) -> list[tuple[int, str]]:
    """Every entry, headings too, with the number of its block; block 0 has the testament's own.

    Args:
        card: of the Bible.
        testament: ot or nt.
    """
    packed = read(card, f"{testament}.bzz")
    blocks = [
        zlib.decompress(packed[start : start + size]) if size else b""
        for start, size, _ in struct.iter_unpack("<III", read(card, f"{testament}.bzs"))
    ]
    return [
        (block, blocks[block][start : start + size].decode())
        for block, start, size in struct.iter_unpack("<IIH", read(card, f"{testament}.bzv"))
    ]


def chapters(card: Card) -> dict[str, list[str]]:
    """The verses of each chapter, by its name in OSIS (`Gen.1`); a verse left out is empty."""
    found: dict[str, list[str]] = {}
    for testament in ("ot", "nt"):
        verses: list[str] | None = None
        for _, entry in entries(card, testament):
            if heading := _CHAPTER.search(entry):
                verses = found.setdefault(heading[1], [])
            elif "<milestone" in entry and 'type="x-usfm-h"' in entry:
                verses = None  # the heading of a book
            elif verses is not None:
                # A note may be all that parts two words.
                plain = _TAG.sub("", _APART.sub(" ", entry))
                verses.append(" ".join(plain.split()))
    return found
