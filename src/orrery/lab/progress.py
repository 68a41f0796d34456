"""What a run is doing: bars on a terminal, sparse lines elsewhere, nothing when quiet."""

import contextlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orrery.files import TEMPORARY
from orrery.lab.folder import Run

FILE = "progress.json"


class Progress:
    """Shows nothing; the base of those that do."""

    def begin(self, run: Run, done: int) -> None:
        """A run starts, with `done` of its seeds finished before."""

    def show(self, run: Run, seeds: Iterable[int]) -> None:
        """These seeds are being worked on."""

    def end(self) -> None:
        """The run is over, one way or the other."""


class Lines(Progress):
    """A line to standard error whenever a seed enters another phase."""

    def __init__(self) -> None:
        self._last: dict[int, str] = {}

    def begin(self, run: Run, done: int) -> None:
        """Say which run this is."""
        more = f", {done} done before" if done else ""
        print(f"{run.id}: {len(run.order.seeds)} seeds{more}", file=sys.stderr, flush=True)
        self._last = {}

    def show(self, run: Run, seeds: Iterable[int]) -> None:
        """A line a phase."""
        for seed in seeds:
            phase = read_progress(run, seed).get("phase")
            if phase and self._last.get(seed) != phase:
                self._last[seed] = phase
                print(f"  seed {seed}: {phase}", file=sys.stderr, flush=True)


class Bars(Progress):
    """A bar a seed, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
        )  # fmt: skip
        from rich.progress import (
            Progress as RichProgress,
        )

        self._rich: Any = RichProgress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), console=Console(stderr=True),
        )  # fmt: skip
        self._tasks: dict[int, Any] = {}

    def begin(self, run: Run, done: int) -> None:
        """Say which run this is and start drawing."""
        self._rich.console.print(run.id, highlight=False)
        self._rich.start()

    def show(self, run: Run, seeds: Iterable[int]) -> None:
        """Move the bars."""
        active = list(seeds)
        for seed in active:
            if seed not in self._tasks:
                self._tasks[seed] = self._rich.add_task(f"seed {seed}", total=None)
            at = read_progress(run, seed)
            self._rich.update(
                self._tasks[seed], description=f"seed {seed} {at.get('phase', 'starting')}",
                completed=at.get("step", 0), total=at.get("count"),
            )  # fmt: skip
        for seed in self._tasks.keys() - set(active):
            self._rich.update(self._tasks[seed], visible=False)

    def end(self) -> None:
        """Stop drawing."""
        self._rich.stop()


def write_progress(folder: Path, phase: str, step: int, count: int) -> None:
    """Say where a seed stands: whole or not at all, though not through a power cut."""
    path = folder / FILE
    temporary = path.with_name(f".{FILE}{TEMPORARY}")
    temporary.write_text(json.dumps({"phase": phase, "step": step, "count": count}))
    temporary.replace(path)


def read_progress(run: Run, seed: int) -> dict[str, Any]:
    """Phase, step and count of a seed, as last shown by its worker; {} before it began."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((run.seed_folder(seed) / FILE).read_text())
        return found
    return {}


def progress_for(quiet: bool = False) -> Progress:
    """Bars on a terminal that can draw them, lines elsewhere."""
    from rich.console import Console

    if quiet:
        return Progress()
    console = Console(stderr=True)
    return Bars() if console.is_terminal and not console.is_dumb_terminal else Lines()
