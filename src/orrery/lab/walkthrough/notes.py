"""Notes on source files, in English and Chinese, and the pieces of the files that they are about.

They stand in `annotations/`, a file for each module, at the module's own path. A note is bound to
a function or class by its qualified name, and to lines inside it by words of the code: what is
renamed or rewritten has to be explained anew.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import StringConstraints, TypeAdapter, ValidationError

from orrery.errors import OrreryError
from orrery.lab.walkthrough.pieces import Piece
from orrery.lab.words import Language
from orrery.plan.record import Strict

ANNOTATIONS = Path(__file__).parent / "annotations"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class LineNote(Strict):
    """What some lines do, from the one that has the words `at`."""

    at: Text
    en: Text
    zh: Text


class PieceNote(Strict):
    """What a piece is for, and notes on lines inside it."""

    piece: Text
    en: Text
    zh: Text
    lines: tuple[LineNote, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Lines of a piece that one note is about."""

    first: int
    last: int
    note: str
    """Empty where there is none."""


def notes_of(module: str, folder: Path = ANNOTATIONS) -> dict[str, PieceNote]:
    """The notes on a module, such as `nn.attention`, by the name of the piece; often none.

    Raises:
        OrreryError: the file of notes is wrong.
    """
    file = folder.joinpath(*module.split(".")).with_suffix(".yaml")
    if not file.is_file():
        return {}
    try:
        read: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        found = TypeAdapter(list[PieceNote]).validate_python(read)
    except (yaml.YAMLError, ValidationError) as error:
        raise OrreryError(f"{file}: {' '.join(str(error).split())}") from None
    if len({one.piece for one in found}) < len(found):
        raise OrreryError(f"{file}: a piece is named twice")
    return {one.piece: one for one in found}


def stretches(
    piece: Piece, note: PieceNote | None, lines: list[str], in_language: Language
) -> list[Stretch]:
    """The piece in stretches, each with its note; without any, what the piece says about itself.

    Args:
        piece: of the file.
        note: on the piece.
        lines: of the file.
        in_language: of the notes; docstrings are English.

    Raises:
        OrreryError: the words of a note on lines stand nowhere in the piece, or twice, or not in
            the order of the notes.
    """
    if note is None:
        return [Stretch(first=piece.first, last=piece.last, note=piece.docstring)]
    starts = [piece.first, *(_find(one.at, piece, lines) for one in note.lines)]
    if starts != sorted(set(starts)):
        raise OrreryError(f"notes on {piece.name}: they must follow the order of the lines")
    texts = [getattr(one, in_language) for one in (note, *note.lines)]
    ends = [start - 1 for start in starts[1:]] + [piece.last]
    return [
        Stretch(first=first, last=last, note=text)
        for first, last, text in zip(starts, ends, texts, strict=True)
    ]


def _find(words: str, piece: Piece, lines: list[str]) -> int:
    there = [number for number in range(piece.first, piece.last + 1) if words in lines[number - 1]]
    if len(there) != 1:
        raise OrreryError(f"notes on {piece.name}: {words!r} stands on {len(there)} of its lines")
    return there[0]
