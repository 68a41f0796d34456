"""The lab an experiment works in: visible loops, named randomness, exact resume, records."""

import csv
import hashlib
import io
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL.Image import Image
from torch import Generator, Tensor, nn

from orrery.errors import Interrupted, NonFiniteError, OrreryError
from orrery.files import write_atomically, write_json
from orrery.lab import figures
from orrery.lab.claim import Measured
from orrery.lab.events import Tape, TensorBoardLog, read_events
from orrery.lab.progress import write_progress
from orrery.train import distributed
from orrery.train.checkpoint import (
    Checkpoint,
    capture,
    newest_checkpoint,
    random_state,
    restore,
    restore_random,
    save_checkpoint,
)  # fmt: skip
from orrery.train.device import seed_everything

PROGRESS_SECONDS = 0.25


class Stopwatch:
    """Seconds that a block took, known when it ends."""

    seconds: float = 0.0


class Lab:
    """One seed of one run: what `run(settings, lab)` of an experiment is given."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        scale: str = "full",
        ablation: str | None = None,
        device: str | torch.device = "cpu",
        checkpoint_seconds: float = 15.0,
    ) -> None:
        """Open the seed's folder, where an interrupted attempt may have left checkpoints.

        Args:
            folder: kept by the lab; made if missing.
            seed: decides every random number of the run.
            scale: smoke, tour, full or large.
            ablation: the key idea that is removed, if any.
            device: where models and batches live.
            checkpoint_seconds: how often a loop is saved; 0 saves after every step.
        """
        self.seed, self.scale, self.device = seed, scale, torch.device(device)
        self.stop_requested = False
        self._ablation, self._folder, self._out = ablation, folder, folder
        self._checkpoint_seconds = checkpoint_seconds
        self._phases: list[str] = []
        self._at: tuple[str, int] | None = None
        self._progress_due = 0.0
        self._seconds: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.refused: list[str] = []
        """Why checkpoints were passed over (damaged files), for the log."""
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if distributed.rank() != 0:  # all read the checkpoints; what others write is thrown away
            self._scratch = tempfile.TemporaryDirectory(prefix="orrery-")
            self._out = Path(self._scratch.name)
        events = self._out / "events.jsonl"
        self._tape = Tape(events, self._checkpointed_events())
        self._tensorboard = TensorBoardLog(self._out / "tensorboard", read_events(events))
        seed_everything(self._derive("start"))

    # Randomness ---------------------------------------------------------------------------

    def rng(self, name: str, *index: int) -> Generator:
        """A fresh generator: the same numbers for the same seed, name and index, always."""
        generator = Generator(device=self.device)
        generator.manual_seed(self._derive(name, *index))
        return generator

    def numpy_rng(self, name: str, *index: int) -> np.random.Generator:
        """The same for numpy."""
        return np.random.default_rng(self._derive(name, *index))

    def _derive(self, name: str, *index: int) -> int:
        text = f"{self.seed}/{name}/{'/'.join(map(str, index))}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def ablated(self, name: str) -> bool:
        """Whether this run removes the key idea called `name`."""
        return self._ablation == name

    # Loops --------------------------------------------------------------------------------

    def steps(self, name: str, count: int, *, state: Sequence[Any] = ()) -> Iterator[int]:
        """Steps 0 .. count - 1 of a phase; saves `state` on the way and resumes from there.

        `state` is everything that changes from step to step: modules, optimisers, generators.
        A phase that was finished before is not run again: its final state is loaded.

        Raises:
            NonFiniteError: a weight or a gradient became NaN or infinite.
            Interrupted: a stop was asked for; the state is on disk.
            OrreryError: a checkpoint cannot be written.
        """
        folder = self._open_phase(name)
        saved = self._load(folder)
        start = 0
        if saved is None:
            seed_everything(self._derive(name, 0))
        else:
            restore(state, saved.state)
            self._continue_from(saved)
            start = saved.step
        if saved is None or not saved.complete:
            last_save = time.monotonic()
            for step in range(start, count):
                self._at = (name, step)
                self._show_progress(name, step, count)
                yield step
                self._refuse_non_finite(state)
                due, stop = distributed.any_process(
                    time.monotonic() - last_save >= self._checkpoint_seconds, self.stop_requested
                )
                if (due or stop) and step + 1 < count:
                    self._save(folder, step + 1, False, capture(state))
                    last_save = time.monotonic()
                if stop:
                    raise Interrupted(f"stopped after step {step} of {name}; resume to go on")
            self._save(folder, count, True, capture(state))
        self._at = None
        self._show_progress(name, count, count)

    def measure(self, name: str, compute: Callable[[], Measured]) -> Measured:
        """What `compute()` returns; a run that resumes after it reads the stored numbers.

        Raises:
            NonFiniteError: a measured number is NaN or infinite.
        """
        folder = self._open_phase(name)
        saved = self._load(folder)
        if saved is not None:
            self._continue_from(saved)
            stored: Measured = saved.state[0]
            return stored
        self._stop_here(name)
        seed_everything(self._derive(name, 0))
        self._show_progress(name, 0, 1)
        measured = {key: float(value) for key, value in compute().items()}
        check_finite(measured, name)
        self._save(folder, 1, True, [measured])
        return measured

    def _open_phase(self, name: str) -> Path:
        if name in self._phases:
            raise OrreryError(f"two phases are called {name!r}: each needs its own name")
        if self._at is not None:
            raise OrreryError(f"phase {name!r} begins inside phase {self._at[0]!r}")
        self._phases.append(name)
        return self._folder / "checkpoints" / f"{len(self._phases):03d}-{slug(name)}"

    def _load(self, folder: Path) -> Checkpoint | None:
        checkpoint, refused = newest_checkpoint(folder)
        distributed.any_process(True)  # nobody writes before everybody has read
        self.refused += refused
        return checkpoint

    def _continue_from(self, checkpoint: Checkpoint) -> None:
        restore_random(checkpoint.random)
        self._tape.wind(checkpoint.events)

    def _save(self, folder: Path, step: int, complete: bool, state: Sequence[Any]) -> None:
        if distributed.rank() != 0:
            return  # the state is whole in every process: one writes it for all
        self._tensorboard.flush()
        save_checkpoint(folder, Checkpoint(
            step=step, complete=complete, events=self._tape.sync(), state=state,
            random=random_state(),
        ))  # fmt: skip

    def _checkpointed_events(self) -> int:
        """How much of the event log the newest whole checkpoint of any phase vouches for."""
        found = [newest_checkpoint(f)[0] for f in (self._folder / "checkpoints").glob("*")]
        return max((c.events for c in found if c is not None), default=0)

    def _stop_here(self, name: str) -> None:
        if self.stop_requested:
            raise Interrupted(f"stopped before {name}; resume to go on")

    # Numbers ------------------------------------------------------------------------------

    def log(self, **values: float | Tensor) -> None:
        """Log numbers at this step: event log and TensorBoard. Never a time.

        Raises:
            NonFiniteError: a value is NaN or infinite.
        """
        numbers = {k: v.item() if isinstance(v, Tensor) else v for k, v in values.items()}
        numbers = distributed.mean_over_processes(numbers)
        check_finite(numbers, self._where())
        at = {"phase": self._at[0], "step": self._at[1]} if self._at else {}
        event = {**at, **numbers}
        self._tape.write(event)
        self._tensorboard.write(event)

    @contextmanager
    def stopwatch(self, name: str) -> Iterator[Stopwatch]:
        """Time a block; kept in timing.json, apart from what must be reproducible."""
        watch = Stopwatch()
        start = time.perf_counter()
        yield watch
        watch.seconds = time.perf_counter() - start
        self._seconds[name] = self._seconds.get(name, 0.0) + watch.seconds

    def _where(self) -> str:
        return f"step {self._at[1]} of {self._at[0]}" if self._at else "outside the loops"

    def _refuse_non_finite(self, state: Sequence[Any]) -> None:
        for module in state:
            if not isinstance(module, nn.Module):
                continue
            weights = [p for p in module.parameters() if p.numel()]
            gradients = [p.grad for p in weights if p.grad is not None]
            for kind, tensors in (("gradient", gradients), ("weight", weights)):
                if not _all_finite([distributed.local(t.detach()) for t in tensors]):
                    names = [
                        n for n, p in module.named_parameters()
                        for t in [p.grad if kind == "gradient" else p]
                        if t is not None and not bool(t.isfinite().all())
                    ]  # fmt: skip
                    raise NonFiniteError(f"{kind} of {names[0]} is not finite, {self._where()}")

    # Files --------------------------------------------------------------------------------

    def figure(self, name: str, figure: Figure) -> None:
        """Keep a figure of this seed, as SVG and PNG."""
        folder = self._made("figures")
        write_atomically(folder / f"{slug(name)}.svg", figures.svg_bytes(figure))
        write_atomically(folder / f"{slug(name)}.png", figures.png_bytes(figure))

    def table(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Keep rows as CSV."""
        write_atomically(self._made("tables") / f"{slug(name)}.csv", csv_text(rows))

    def sample(self, name: str, value: str | Image) -> None:
        """Keep a text or an image that a model made."""
        folder = self._made("samples")
        if isinstance(value, str):
            write_atomically(folder / f"{slug(name)}.txt", value)
        else:
            buffer = io.BytesIO()
            value.save(buffer, format="PNG")
            write_atomically(folder / f"{slug(name)}.png", buffer.getvalue())

    def _made(self, name: str) -> Path:
        folder = self._out / name
        folder.mkdir(exist_ok=True)
        return folder

    def _show_progress(self, phase: str, step: int, count: int) -> None:
        now = time.monotonic()
        if now < self._progress_due and step < count:
            return
        self._progress_due = now + PROGRESS_SECONDS
        write_progress(self._out, phase, step, count)

    def finish(self, measured: Measured) -> None:
        """Write measured.json: from here on the seed is done.

        Raises:
            NonFiniteError: a measured number is NaN or infinite.
        """
        check_finite(measured, "the measurements")
        write_json(self._out / "timing.json", self._seconds)
        self._tape.sync()
        write_json(self._out / "measured.json", measured)

    def close(self) -> None:
        """Close the log files."""
        self._tape.close()
        self._tensorboard.close()
        if self._scratch is not None:
            self._scratch.cleanup()


def check_finite(values: Mapping[str, float], where: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        NonFiniteError: names the quantity, its value and where it stood.
    """
    for key, value in values.items():
        if not math.isfinite(value):
            raise NonFiniteError(f"{key} is {value} at {where}")


def _all_finite(tensors: list[Tensor]) -> bool:
    tensors = [t for t in tensors if t.numel()]
    if not tensors:
        return True
    largest = torch.stack([n.double() for n in torch._foreach_norm(tensors, ord=math.inf)])
    return bool(largest.isfinite().all())


def slug(name: str) -> str:
    """`name` as a file name: letters, digits, dot, dash and underscore."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".") or "unnamed"


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV; a text that a spreadsheet would run as a formula is quoted."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: _cell(v) for k, v in row.items()})
    return buffer.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value
