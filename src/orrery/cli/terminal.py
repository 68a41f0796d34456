"""Text for people: aligned columns, wrapped paragraphs, colour only where it is wanted."""

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

PAGE = 100
"""Widest paragraph, in columns; what a pipe gets."""
NARROWEST = 20
"""Narrower than this nothing is cut or wrapped further: the terminal breaks the lines."""
_COLOURS = {
    "works": "32", "holds": "32", "tested": "32",
    "entry": "33", "undecided": "33",
    "fails": "31",
    "missing": "2", "not yet": "2",
}  # fmt: skip


def columns() -> int | None:
    """The terminal's width; None where output goes elsewhere and nothing is to be cut."""
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, NARROWEST)


def in_colour() -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR; always with CLICOLOR_FORCE."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str = "") -> None:
    """Print a line; letters the terminal's encoding lacks are spelled out."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def bold(text: str) -> str:
    """A heading."""
    return f"\x1b[1m{text}\x1b[0m" if text and in_colour() else text


def paint(word: str) -> str:
    """A state or a verdict in its colour; other words as they are."""
    colour = _COLOURS.get(word)
    return f"\x1b[{colour}m{word}\x1b[0m" if colour and in_colour() else word


def cells(text: str) -> int:
    """Columns that `text` takes on a terminal: two for a Chinese character."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shorten(text: str, width: int) -> str:
    """`text`, or as much of it as fits with dots at the end."""
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 3:
        text = text[:-1]
    return f"{text.rstrip()}..."


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns; on a terminal the last one is cut to what fits."""
    rows = list(rows)
    if not rows:
        return
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)][:-1]
    room = columns()
    left = None if room is None else max(room - sum(widths) - 2 * len(widths), NARROWEST // 2)
    for *row, last in rows:
        padded = (
            paint(cell) + " " * (width - cells(cell))
            for cell, width in zip(row, widths, strict=True)
        )
        say("  ".join([*padded, paint(last if left is None else shorten(last, left))]))


def print_text(text: str, indent: int = 0, hang: int = 0) -> None:
    """Paragraphs, wrapped to the terminal, at most a page wide.

    Args:
        text: one paragraph a line.
        indent: spaces before every line.
        hang: more spaces before every line but a paragraph's first.
    """
    width = max(min(columns() or PAGE, PAGE) - indent, NARROWEST)
    if cells(text) > len(text):  # wide characters have no spaces between them to break at
        width //= 2
    for paragraph in text.splitlines():
        lines = textwrap.wrap(
            paragraph, width, subsequent_indent=" " * hang, break_on_hyphens=False
        )
        say(textwrap.indent("\n".join(lines), " " * indent))


def print_field(name: str, text: str | None) -> None:
    """A heading and its paragraph below it; nothing where there is no text."""
    if text:
        say(bold(name))
        print_text(text, indent=2)
