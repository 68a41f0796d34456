"""The page that walks through a system's own source: code on one side, notes on the other.

It shows the real files, never a copy: the system's, then the blocks of `nn/` that it uses, each
where it is first needed. Notes come from `notes.py`; where there are none, a piece's docstring
stands in. Where the house has a run to show (`RUNS`), so do what the lines made in it.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup, escape
from torch import Tensor

from orrery.catalog import PACKAGE, SystemFile, root
from orrery.lab.report import PAGES, render
from orrery.lab.walkthrough.highlight import highlight
from orrery.lab.walkthrough.live import LiveValue, LiveValues
from orrery.lab.walkthrough.notes import notes_of, stretches
from orrery.lab.walkthrough.pieces import Piece, pieces
from orrery.lab.walkthrough.thumbnail import thumbnail
from orrery.lab.words import Language, words
from orrery.syntax import parse, text_of
from orrery.systems.language.annotated_transformer import SHOWN, Walk, walk
from orrery.systems.language.transformer import Transformer

MOST_NUMBERS = 100
"""Of a matrix that is also shown as a table."""
FEW_NUMBERS = 16
"""Whole ones up to which they are written out and not drawn."""
NO_PICTURE: dict[str, Any] = {"picture": "", "part": False, "table": None}
PIXEL, WIDEST = 7, 300
"""Of a picture's numbers and of the picture, in pixels of the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A module that is shown."""

    module: str
    """Its name below the package, as in `nn.attention`."""
    file: Path
    text: str
    pieces: tuple[Piece, ...]
    uses: Mapping[str, str]
    """Blocks of `nn/` that it imports, by the imported name, in the order of their first use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What a run showed."""

    live: LiveValues
    labels: Mapping[int, tuple[str, ...]]
    """Words along an axis of that many numbers."""
    facts: tuple[tuple[str, str], ...]
    """Of the run: a key of the page's words, and what it came to."""


def write_annotated(one: SystemFile, in_language: Language, shown: Shown | None = None) -> str:
    """The page of a system, as HTML that needs no other file and no script.

    Args:
        one: the system.
        in_language: of the notes.
        shown: what a run showed; if not given, the house's own run of this system, if it has one.

    Raises:
        OrreryError: a note does not fit the code.
    """
    sources = follow(one.module.removeprefix("orrery."))
    if shown is None and one.system.stem in RUNS:
        shown = RUNS[one.system.stem]()
    links = {source.module: _addresses(source) for source in sources}
    sections = [_section(source, links, shown, in_language) for source in sources]
    return render(
        "annotated.html", in_language, system=one.system, sections=sections,
        facts=[] if shown is None else shown.facts,
        code_style=Markup((PAGES / "annotated.css").read_text(encoding="utf8")),
    )  # fmt: skip


def follow(module: str) -> list[Source]:
    """A module, then each block of `nn/` where it is first used, and the blocks that it uses."""
    found: dict[str, Source] = {}

    def visit(name: str) -> None:
        if name not in found:
            found[name] = read(name)
            for used in found[name].uses.values():
                visit(used)

    visit(module)
    return list(found.values())


def read(module: str) -> Source:
    """One module of the house.

    Raises:
        OrreryError: there is none, or it is no Python.
    """
    file = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    text = text_of(file)
    tree = parse(text, file)
    blocks = {
        alias.asname or alias.name: str(node.module).removeprefix("orrery.")
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("orrery.nn.")
        for alias in node.names
    }
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in blocks]
    names.sort(key=lambda node: (node.lineno, node.col_offset))
    used = dict.fromkeys(node.id for node in names)
    return Source(
        module=module, file=file, text=text, pieces=tuple(pieces(text, file)),
        uses={name: blocks[name] for name in (*used, *(b for b in blocks if b not in used))},
    )  # fmt: skip


def address(module: str, piece: str) -> str:
    """Where a piece stands on the page."""
    return f"{module}.{piece}"


def _addresses(source: Source) -> dict[str, str]:
    """Where the file's own names stand on the page, methods as `Class.method`."""
    own = {name: piece.name for piece in source.pieces for name in piece.names}
    methods = {piece.name: piece.name for piece in source.pieces if "." in piece.name}
    return {name: f"#{address(source.module, piece)}" for name, piece in {**own, **methods}.items()}


def _section(
    source: Source, links: Mapping[str, Mapping[str, str]], shown: Shown | None, language: Language
) -> dict[str, Any]:
    """A file: its pieces, each in rows of code beside a note."""
    lines = source.text.splitlines()
    coloured = highlight(source.text, _links(source, links))
    notes = notes_of(source.module)
    section: list[dict[str, Any]] = []
    for piece in source.pieces:
        note = notes.get(piece.name)
        section.append({
            "name": piece.name, "id": address(source.module, piece.name), "kind": piece.kind,
            "noted": note is not None,
            "rows": [
                {
                    "first": one.first, "note": note_html(one.note),
                    "lines": list(enumerate(coloured[one.first - 1 : one.last], one.first)),
                    "live": list(_live(source.file, one.first, one.last, shown, language)),
                }
                for one in stretches(piece, note, lines, language)
            ],
        })  # fmt: skip
    file = source.file.relative_to(root()).as_posix()
    return {"module": source.module, "file": file, "pieces": section}


def _links(source: Source, links: Mapping[str, Mapping[str, str]]) -> Callable[[str, int], str]:
    """Where a name on a line of the file is defined: here, in a block, or in the line's class."""
    own = links[source.module]
    seen = {**own} | {
        name: links[module][name] for name, module in source.uses.items() if name in links[module]
    }
    owners = {
        line: piece.name.partition(".")[0]
        for piece in source.pieces
        for line in range(piece.first, piece.last + 1)
    }

    def link_of(name: str, line: int) -> str:
        method = name.removeprefix("self.")
        return seen.get(name, "") if method == name else own.get(f"{owners[line]}.{method}", "")

    return link_of


def note_html(text: str) -> list[Markup]:
    """The paragraphs of a note; what stands between backticks is code."""
    found = []
    for paragraph in text.split("\n\n"):
        parts = paragraph.split("`")
        if len(parts) % 2 == 0:  # a backtick alone is a backtick
            parts = [paragraph]
        html = (Markup("<code>{}</code>").format(p) if i % 2 else escape(p)
                for i, p in enumerate(parts))  # fmt: skip
        found.append(Markup("").join(html))
    return [one for one in found if one.strip()]


def _live(
    file: Path, first: int, last: int, shown: Shown | None, language: Language
) -> Iterator[dict[str, Any]]:
    """What each of the lines from `first` to `last` made."""
    if shown is None:
        return
    for line in range(first, last + 1):
        values = shown.live.seen.get((str(file), line))
        if values:
            made = [live_html(value, shown.labels, language) for value in values]
            yield {"line": line, "runs": shown.live.runs[str(file), line], "values": made}


def live_html(
    value: LiveValue, labels: Mapping[int, tuple[str, ...]], language: Language
) -> dict[str, Any]:
    """A value as the page shows it: numbers, or a shape with a picture and maybe a table."""
    w = words(language)
    name, tensor = value.name or w["returned"], value.value
    if not isinstance(tensor, Tensor):
        return {"name": name, "number": _text(tensor), "span": "", **NO_PICTURE}
    shape = " × ".join(map(str, tensor.shape))
    few = tensor.numel() <= FEW_NUMBERS and not tensor.is_floating_point()
    if few or tensor.dim() == 0:
        numbers = " ".join(map(_text, tensor.flatten().tolist()))
        return {"name": name, "number": shape, "span": numbers, **NO_PICTURE}
    low, high = _text(float(tensor.min())), _text(float(tensor.max()))
    if low == high:
        span = w["all_are"].format(low)
        return {"name": name, "number": shape, "span": span, **NO_PICTURE}
    matrix = tensor.reshape(-1, *tensor.shape[-2:])[0] if tensor.dim() > 1 else tensor[None]
    matrix = matrix.double()
    span = w["span"].format(low=low, high=high)
    y, x = matrix.shape
    return {
        "name": name, "number": shape, "span": span, "part": tensor.shape[:-2].numel() > 1,
        "picture": thumbnail(matrix.numpy()),
        "width": min(PIXEL * x, WIDEST), "height": min(PIXEL * y, WIDEST),
        "alt": w["picture_of"].format(name=name, y=y, x=x, span=span),
        "table": _table(matrix, labels) if matrix.numel() <= MOST_NUMBERS else None,
    }  # fmt: skip


def _text(number: float | int) -> str:
    return f"{number:.3g}" if isinstance(number, float) else str(number)


def _table(matrix: Tensor, labels: Mapping[int, tuple[str, ...]]) -> dict[str, Any]:
    y, x = matrix.shape
    rows = labels.get(y, tuple(map(str, range(y))))
    return {
        "head": labels.get(x, tuple(map(str, range(x)))),
        "rows": [
            (label, [f"{number:.2f}" for number in row])
            for label, row in zip(rows, matrix.tolist(), strict=True)
        ],
    }


def watch_transformer(learned: Walk | None = None) -> Shown:
    """A small Transformer is made, has learned, and translates a sentence it never saw.

    Args:
        learned: the model that has learned; if not given, it learns now, for some seconds.
    """
    learned = learned or walk()
    live = LiveValues([source.file for source in follow("systems.language.transformer")])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        with live:
            Transformer(learned.model.config)
            written = learned.run()
    target = tuple(learned.words[token] for token in learned.target[0].tolist())
    return Shown(
        live=live, labels={7: tuple(SHOWN[0].split()), 8: target},
        facts=(
            ("reads", SHOWN[0]), ("should_write", SHOWN[1]), ("writes", learned.text(written[0])),
        ),
    )  # fmt: skip


RUNS: dict[str, Callable[[], Shown]] = {"transformer": watch_transformer}
"""Systems that are run while their code is shown, by stem."""
