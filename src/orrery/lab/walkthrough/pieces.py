"""A source file cut into pieces in the order of reading; every line is in exactly one of them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orrery.syntax import parse

Kind = Literal["docstring", "imports", "names", "class", "function"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some lines of a file that belong together."""

    name: str
    """Qualified: `Transformer.encode`; of names that stand together, the first."""
    kind: Kind
    names: tuple[str, ...]
    """All that it defines at the top level."""
    first: int
    last: int
    """Lines, counted from 1; blank lines belong to what stands before them."""
    docstring: str = ""
    """What it says about itself."""


def pieces(text: str, file: Path) -> list[Piece]:
    """The module's docstring, its imports, its names, each class's head and each function.

    Args:
        text: of the file.
        file: named in errors.

    Raises:
        OrreryError: the text is no Python.
    """
    tree = parse(text, file)
    cut = list(_cut(tree))
    lines = text.splitlines()
    found: list[Piece] = []
    for place, piece in enumerate(cut):
        end = len(lines)
        if place + 1 < len(cut):
            end = _before_comments(lines, piece.last, cut[place + 1].first - 1)
        first = found[-1].last + 1 if found else 1
        found.append(replace(piece, first=first, last=end))
    return found


def _before_comments(lines: list[str], last: int, end: int) -> int:
    """The line of `end` or before that has no comment: a comment goes with what it stands above."""
    while end > last and lines[end - 1].lstrip().startswith("#"):
        end -= 1
    return end


def _cut(tree: ast.Module) -> Iterator[Piece]:
    """Pieces from the first to the last line of their statements."""
    body = list(tree.body)
    if ast.get_docstring(tree) is not None:
        head = body.pop(0)
        yield _piece("docstring", "docstring", (), head, ast.get_docstring(tree))
    group: Piece | None = None
    for node in body:
        kind = _kind(node)
        names = _names(node)
        alone = kind in ("class", "function") or "SYSTEM" in names
        joined = group is not None and not alone and (not names or group.kind == kind)
        if group is not None and joined and "SYSTEM" not in group.names:
            group = replace(group, names=group.names + names, last=_last(node))
            continue
        if group is not None:
            yield group
            group = None
        if isinstance(node, ast.ClassDef):
            yield from _cut_class(node)
        elif kind == "function":
            yield _piece(names[0], kind, names, node, _docstring(node))
        else:
            name = "imports" if kind == "imports" else (*names, "names")[0]
            group = _piece(name, kind, names, node, None)
    if group is not None:
        yield group


def _cut_class(node: ast.ClassDef) -> Iterator[Piece]:
    """The head with its fields, then each method; what stands below a method goes with it."""
    piece = _piece(node.name, "class", (node.name,), node, ast.get_docstring(node))
    piece = replace(piece, last=node.lineno)
    for one in node.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            yield piece
            piece = _piece(f"{node.name}.{one.name}", "function", (), one, _docstring(one))
        piece = replace(piece, last=_last(one))
    yield piece


def _piece(
    name: str, kind: Kind, names: tuple[str, ...], node: ast.stmt, docstring: str | None
) -> Piece:
    return Piece(
        name=name, kind=kind, names=names, first=_first(node), last=_last(node),
        docstring=docstring or "",
    )  # fmt: skip


def _kind(node: ast.stmt) -> Kind:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "imports"
    if isinstance(node, ast.ClassDef):
        return "class"
    return "function" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else "names"


def _names(node: ast.stmt) -> tuple[str, ...]:
    """What a statement at the top level defines, leaving out what it imports."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return (node.name,)
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return ()
    return tuple(one.id for one in targets if isinstance(one, ast.Name))


def _docstring(node: ast.stmt) -> str | None:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return ast.get_docstring(node)


def _first(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _last(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
