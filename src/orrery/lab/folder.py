"""A run's folder: what was asked for, what stands there, and the state that follows from it."""

import contextlib
import fcntl
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from orrery.errors import OrreryError, UsageError
from orrery.files import read_json, write_json
from orrery.home import home
from orrery.lab.versions import code_digest

State = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a run was asked to do; enough to do it again or to go on with it."""

    area: str
    stem: str
    scale: str
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    ablation: str | None = None
    device: str = "cpu"
    threads: int = 1
    checkpoint_seconds: float = 15.0
    code: str = ""
    """Digest of the code and the versions that decide what comes out; filled in by create_run."""
    created: str = ""


@dataclass(frozen=True)
class Run:
    """One run: its name and its folder."""

    id: str
    folder: Path

    @property
    def order(self) -> Order:
        """What was asked for.

        Raises:
            OrreryError: run.json is missing or damaged.
        """
        values = read_json(self.folder / "run.json")
        try:
            return Order(**{**values, "seeds": tuple(values["seeds"])})
        except (TypeError, KeyError) as error:
            raise OrreryError(f"{self.folder / 'run.json'} is damaged: {error}") from error

    def seed_folder(self, seed: int) -> Path:
        """Where one seed's files are."""
        return self.folder / f"seed-{seed}"

    def has_measured(self, seed: int) -> bool:
        """Whether one seed is done."""
        return (self.seed_folder(seed) / "measured.json").exists()

    @property
    def state(self) -> State:
        """Follows from the files: verdicts are the end, a held lock means running."""
        if (self.folder / "verdicts.json").exists():
            return "done"
        if self.is_locked:
            return "running"
        if any(self.folder.glob("seed-*/error.json")):
            return "failed"
        return "interrupted"

    @property
    def is_locked(self) -> bool:
        """Whether a process works on this run now."""
        try:
            with self.lock():
                return False
        except OrreryError:
            return True

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run while working on it; the lock ends with the process.

        Raises:
            OrreryError: another process holds it.
        """
        with open(self.folder / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OrreryError(f"run {self.id} is being worked on by another process") from None
            yield


def runs_folder() -> Path:
    """Where runs are kept."""
    folder = home() / "runs"
    folder.mkdir(exist_ok=True)
    return folder


def create_run(order: Order) -> Run:
    """Make a new run folder for `order`."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    stamp = created.replace("-", "").replace(":", "")[:15].replace("T", "-")
    while True:
        run = run_called(f"{order.stem}-{stamp}-{secrets.token_hex(2)}")
        with contextlib.suppress(FileExistsError):  # another process drew the same letters
            run.folder.mkdir()
            break
    write_json(run.folder / "settings.json", order.settings)
    noted = replace(order, code=code_digest(), created=created)
    write_json(run.folder / "run.json", asdict(noted))
    return run


def newest_like(order: Order, *, any_code: bool = False) -> Run | None:
    """The newest run of the same order and the same code that is done or can be gone on with."""
    wanted = replace(order, code="" if any_code else code_digest(), created="")
    for run in reversed(all_runs()):
        with contextlib.suppress(OrreryError):  # a damaged run is like none
            found = replace(run.order, created="")
            if any_code:
                found = replace(found, code="")
            if found == wanted and run.state != "running":
                return run
    return None


def run_called(run_id: str) -> Run:
    """The run with this very name."""
    return Run(run_id, runs_folder() / run_id)


def all_runs() -> list[Run]:
    """Every run on this machine, oldest first."""
    found = [run_called(path.parent.name) for path in runs_folder().glob("*/run.json")]
    return sorted(found, key=lambda run: (run.folder / "run.json").stat().st_mtime)


def find_run(name: str) -> Run:
    """The run called `name`, or the only one whose name begins with it.

    Raises:
        UsageError: there is none, or more than one.
    """
    runs = all_runs()
    found = [r for r in runs if r.id == name] or [r for r in runs if r.id.startswith(name)]
    if len(found) != 1:
        which = ", ".join(r.id for r in (found or runs)[-5:]) or "there are no runs yet"
        problem = "is not a run" if not found else "names more than one run"
        raise UsageError(f"run={name!r} {problem}: {which}")
    return found[0]


def newest_interrupted() -> Run:
    """The newest run that was interrupted or failed.

    Raises:
        UsageError: every run is done.
    """
    for run in reversed(all_runs()):
        if run.state in ("interrupted", "failed"):
            return run
    raise UsageError("nothing to resume: no run was interrupted")
