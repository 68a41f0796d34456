"""Python as HTML, line by line: what kind of word each is, and links to where names are defined."""

import builtins
import io
import keyword
import token
import tokenize
from collections.abc import Callable
from itertools import pairwise

from markupsafe import Markup, escape

KINDS = {token.STRING: "s", token.NUMBER: "n", tokenize.COMMENT: "c"}
"""Classes of the style sheet; `k` a keyword, `d` a name at its definition, `b` a built-in."""
BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_"))


def highlight(text: str, link_of: Callable[[str, int], str]) -> list[Markup]:
    """Each line of the text as HTML, without its end; with the tags left out it is the line.

    Args:
        text: Python that can be parsed.
        link_of: the address where a `name` or `self.name` on a line is defined, or nothing.
    """
    marked: list[list[tuple[int, int, str, str]]] = [[] for _ in text.splitlines()]
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    before = ["", ""]
    for one in tokens:
        kind, link = _kind(one, before), ""
        if one.type == token.NAME:
            owned = before[-1] == "."
            name = f"self.{one.string}" if owned and before[-2] == "self" else one.string
            if kind == "" and (not owned or name != one.string):
                link = link_of(name, one.start[0])
        if kind or link:
            _mark(marked, one, kind, link)
        if one.string.strip():
            before.append(one.string)
    return [_line(line, marks) for line, marks in zip(text.splitlines(), marked, strict=True)]


def _kind(one: tokenize.TokenInfo, before: list[str]) -> str:
    if one.type == token.NAME:
        if keyword.iskeyword(one.string):
            return "k"
        if before[-1] in ("def", "class"):
            return "d"
        return "b" if one.string in BUILTINS and before[-1] != "." else ""
    if token.tok_name[one.type].startswith("FSTRING"):
        return "s"
    return KINDS.get(one.type, "")


def _mark(
    marked: list[list[tuple[int, int, str, str]]], one: tokenize.TokenInfo, kind: str, link: str
) -> None:
    """Note a token on each line it covers."""
    (first, start), (last, end) = one.start, one.end
    for number in range(first, last + 1):
        begin = start if number == first else 0
        stop = end if number == last else -1
        marked[number - 1].append((begin, stop, kind, link))


def _line(line: str, marks: list[tuple[int, int, str, str]]) -> Markup:
    edges = [(0, 0, "", ""), *marks, (len(line), len(line), "", "")]
    html = Markup("")
    for (_, end, _, _), (start, stop, kind, link) in pairwise(edges):
        html += escape(line[_place(end, line) : start])
        word = escape(line[start : _place(stop, line)])
        if kind and word:
            word = Markup('<span class="{}">{}</span>').format(kind, word)
        if link:
            word = Markup('<a href="{}">{}</a>').format(link, word)
        html += word
    return html


def _place(end: int, line: str) -> int:
    return len(line) if end < 0 else end
