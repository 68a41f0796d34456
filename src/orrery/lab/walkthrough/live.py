"""What each line of some source files makes, recorded while the lines run.

A statement counts once it is done. Of each only the first run is kept, that of the first layer
say; later runs of the same code are counted.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from torch import Tensor, nn

from orrery.syntax import parse, text_of

SHOWN = (Tensor, float, int)
Place = tuple[str, int]
"""A file, and the last line of a statement; of a function or a loop, of its head."""
Held = dict[str, tuple[Any, int]]
"""Variables of interest with the version of a tensor, which grows when it is written into."""


@dataclass(frozen=True, slots=True)
class LiveValue:
    """What a line made."""

    name: str
    """Of the variable; empty for what the function gives back."""
    value: Tensor | float | int
    """A copy, if it is a tensor."""


@dataclass(slots=True)
class LiveValues:
    """A context: while it lasts, what lines of `files` make is recorded."""

    files: Sequence[Path]
    """Other code runs at full speed."""
    seen: dict[Place, list[LiveValue]] = field(default_factory=dict)
    runs: dict[Place, int] = field(default_factory=dict)
    """How often each statement ran."""
    _sources: dict[str, "_Source"] = field(default_factory=dict)
    _before: Any = None

    def __enter__(self) -> "LiveValues":
        self._sources = {str(file): _Source(file) for file in self.files}
        self._before = sys.gettrace()
        sources = self._sources  # every call there is passes here: other files' leave at once
        sys.settrace(
            lambda frame, *rest: (
                self._called(frame) if frame.f_code.co_filename in sources else None
            )
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType) -> Any:
        """Follow the lines of a function of a watched file, now that it is called."""
        file = frame.f_code.co_filename
        source = self._sources[file]
        if frame.f_code.co_name.startswith("<"):
            return None
        statement, held = source.statement(frame.f_lineno), _held(frame)
        if self._is_first((file, statement)):
            self._keep((file, statement), [(name, one) for name, (one, _) in held.items()])

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal statement, held
            after = source.statement(frame.f_lineno)
            if event == "return" or (event == "line" and after != statement):
                now = _held(frame)
                if statement not in source.heads and self._is_first((file, statement)):
                    made = [(name, one[0]) for name, one in now.items() if _new(one, held, name)]
                    made += _attributes(frame, source.attributes.get(statement, ()))
                    made += _returned(argument) if event == "return" else ()
                    self._keep((file, statement), made)
                statement, held = after, now
            return step

        return step

    def _is_first(self, place: Place) -> bool:
        """Count a run; whether there was none before."""
        self.runs[place] = self.runs.get(place, 0) + 1
        return self.runs[place] == 1

    def _keep(self, place: Place, made: list[tuple[str, Any]]) -> None:
        self.seen[place] = [LiveValue(name, _copy(value)) for name, value in made]


class _Source:
    """Where the statements of a file end, and what attributes of `self` they set."""

    def __init__(self, file: Path) -> None:
        self._ends: dict[int, int] = {}
        self.attributes: dict[int, tuple[str, ...]] = {}
        self.heads: set[int] = set()
        """Of functions: they are done when they are called."""
        for node in ast.walk(parse(text_of(file), file)):
            if isinstance(node, ast.stmt):
                self._read(node)

    def statement(self, line: int) -> int:
        """The last line of the statement that the line is part of."""
        return self._ends.get(line, line)

    def _read(self, node: ast.stmt) -> None:
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
        last = max(last, node.lineno)  # a body on the line of its head
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        self._ends |= dict.fromkeys(range(first, last + 1), last)
        if isinstance(node, ast.FunctionDef):
            self.heads.add(last)
        if isinstance(node, ast.Assign):
            self.attributes[last] = tuple(_set_on_self(node))


def _set_on_self(node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        for one in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "self":
                yield one.attr


def _held(frame: FrameType) -> Held:
    """The variables that are shown; this runs at every line, so it calls nothing of ours."""
    return {
        name: (value, getattr(value, "_version", 0))
        for name, value in frame.f_locals.items()
        if isinstance(value, SHOWN) and value is not True and value is not False
    }


def _shown(value: object) -> bool:
    return isinstance(value, SHOWN) and not isinstance(value, bool)


def _new(one: tuple[Any, int], held: Held, name: str) -> bool:
    if name not in held:
        return True
    (value, version), (before, its) = one, held[name]
    return version != its or (value is not before if isinstance(value, Tensor) else value != before)


def _attributes(frame: FrameType, names: Sequence[str]) -> list[tuple[str, Any]]:
    """What a statement set on `self`: tensors, numbers, the parameters of a layer."""
    owner, found = frame.f_locals.get("self"), []
    for name in names:
        value: Any = getattr(owner, name, None)
        if isinstance(value, nn.Module):
            own = value.named_parameters(recurse=False)
            found += [(f"self.{name}.{key}", tensor) for key, tensor in own]
        elif _shown(value):
            found.append((f"self.{name}", value))
    return found


def _returned(value: Any) -> list[tuple[str, Any]]:
    values = value if isinstance(value, tuple) else (value,)
    return [("", one) for one in values if _shown(one)]


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value
