"""Runs a run: its seeds side by side as processes, then verdicts, figures, report and index."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

from orrery.errors import Interrupted, MissingDataError, OrreryError
from orrery.files import read_json, write_atomically, write_json
from orrery.lab.claim import Measured
from orrery.lab.experiment import Runnable, load_experiment
from orrery.lab.figures import png_bytes, svg_bytes
from orrery.lab.folder import Run, run_called
from orrery.lab.progress import Progress
from orrery.lab.report import write_report
from orrery.lab.run import slug
from orrery.lab.store import Store
from orrery.lab.verdict import judge
from orrery.lab.worker import GRACE_SECONDS, open_lab, run_seed, stop_on_signals
from orrery.plan.load import load
from orrery.plan.record import Judgement
from orrery.train import distributed

POLL_SECONDS = 0.1
STOP_SECONDS = GRACE_SECONDS + 0.2

Execute = Callable[[Run, Sequence[int], int, Progress], None]
"""Works on the seeds of a run, so many at a time; raises what ended a seed."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run came to."""

    run: Run
    measured: list[Measured]
    verdicts: list[Judgement]


def work_on(run: Run, execute: Execute, workers: int, progress: Progress) -> Outcome:
    """Do what is still to do of a run, and judge it.

    Raises:
        OrreryError: a seed failed, or another process works on the run.
        Interrupted: a stop was asked for; what is done stays done.
    """
    order = run.order
    experiment = load_experiment(order.area, order.stem)
    with run.lock():
        todo = [s for s in order.seeds if not run.has_measured(s)]
        progress.begin(run, len(order.seeds) - len(todo))
        try:
            execute(run, todo, workers, progress)
        finally:
            progress.end()
        return conclude(run, experiment)


def conclude(run: Run, experiment: Runnable) -> Outcome:
    """Judge the seeds' results and write what a reader looks at."""
    order = run.order
    results = [read_json(run.seed_folder(s) / "measured.json") for s in order.seeds]
    seconds = read_seconds(run)
    verdicts = judge(
        experiment.claims, results, sentence=claim_sentence, gated=order.ablation is None
    )
    write_json(run.folder / "measured.json", dict(zip(map(str, order.seeds), results, strict=True)))
    if experiment.draw is not None:
        _draw(run, experiment, results)
    Store.open().index(run, verdicts, seconds)
    write_json(run.folder / "verdicts.json", [v.model_dump() for v in verdicts])
    write_report(run, experiment)
    return Outcome(run, results, verdicts)


def outcome_of(run: Run) -> Outcome:
    """What a run that is done came to, read from its folder."""
    results = read_json(run.folder / "measured.json")
    verdicts = read_json(run.folder / "verdicts.json")
    return Outcome(run, list(results.values()), [Judgement.model_validate(v) for v in verdicts])


def claim_sentence(claim: str) -> str:
    """What is put to the test: the corrected statement where the plan misquotes its source."""
    return load().claims[claim].sentence


def read_seconds(run: Run) -> dict[str, float]:
    """Wall seconds of each seed, by its number."""
    path = run.folder / "seconds.json"
    return read_json(path) if path.exists() else {}


def work_together(open_run: Callable[[], Run]) -> Outcome | None:
    """One run by all the processes that torchrun started, seed after seed; judged by the first.

    Returns None in the others.

    Args:
        open_run: makes or finds the run; called in the first process only.

    Raises:
        OrreryError: a seed failed, or another process works on the run.
        Interrupted: a stop was asked for; what is done stays done.
    """
    with distributed.process_group():
        first = distributed.rank() == 0
        run = run_called(distributed.from_first(open_run().id if first else ""))
        order = run.order
        experiment = load_experiment(order.area, order.stem)
        with run.lock() if first else nullcontext():
            for seed in order.seeds:
                if not distributed.any_process(run.has_measured(seed))[0]:
                    _work_on_seed(run, experiment, seed)
            return conclude(run, experiment) if first else None


def _work_on_seed(run: Run, experiment: Runnable, seed: int) -> None:
    """One seed in this process, which shares the work with others."""
    start = time.monotonic()
    lab = open_lab(run, seed)
    stop_on_signals(lab)
    run_seed(experiment, run.order, lab)
    if distributed.rank() == 0:
        finished(run, seed, 0, time.monotonic() - start)


def _draw(run: Run, experiment: Runnable, results: list[Measured]) -> None:
    assert experiment.draw is not None
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    settings = experiment.settings.parse(run.order.settings)
    for name, figure in experiment.draw(results, settings).items():
        write_atomically(folder / f"{slug(name)}.svg", svg_bytes(figure))
        write_atomically(folder / f"{slug(name)}.png", png_bytes(figure))


def in_processes(run: Run, seeds: Sequence[int], workers: int, progress: Progress) -> None:
    """Each seed in a process of this machine, `workers` at a time."""
    waiting, active, started = list(seeds), dict[int, subprocess.Popen[bytes]](), dict[int, float]()
    with stop_signals() as received:
        try:
            while waiting or active:
                while waiting and len(active) < workers and not received:
                    seed = waiting.pop(0)
                    active[seed], started[seed] = start_worker(run, seed), time.monotonic()
                raise_if_stopped(run, received)
                time.sleep(POLL_SECONDS)
                progress.show(run, active)
                for seed in [s for s, process in active.items() if process.poll() is not None]:
                    process = active.pop(seed)
                    finished(run, seed, process.returncode, time.monotonic() - started[seed])
        finally:
            _stop(active.values())


def start_worker(run: Run, seed: int) -> "subprocess.Popen[bytes]":
    """A process that works on one seed; closing its standard input stops it."""
    folder = run.seed_folder(seed)
    folder.mkdir(exist_ok=True)
    threads = str(run.order.threads)
    with open(folder / "log.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "orrery.lab.worker", str(run.folder), str(seed)],
            stdin=subprocess.PIPE,  # its end tells the worker that we are gone
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads,
                 "NUMBA_NUM_THREADS": threads},
        )  # fmt: skip


def finished(run: Run, seed: int, code: int, seconds: float) -> None:
    """Note how long a seed took.

    Raises:
        OrreryError: its process ended with anything but 0; says why.
        Interrupted: it was asked to stop.
    """
    if code == 0:
        write_json(run.folder / "seconds.json", {**read_seconds(run), str(seed): round(seconds, 2)})
        return
    if code == Interrupted.exit_code:
        raise Interrupted(f"seed {seed} was stopped; go on with: orrery resume {run.id}")
    log = run.seed_folder(seed) / "log.txt"
    error = run.seed_folder(seed) / "error.json"
    if error.exists():
        found = read_json(error)
        kind = MissingDataError if found["kind"] == MissingDataError.__name__ else OrreryError
        raise kind(f"{run.id}, seed {seed}: {found['message']}")
    raise OrreryError(
        f"{run.id}, seed {seed}: the process ended with code {code} (see {log}); "
        f"go on with: orrery resume {run.id}"
    )


def raise_if_stopped(run: Run, received: Sequence[int]) -> None:
    """Leave off a run where a signal asked for it.

    Raises:
        Interrupted: there was a signal.
    """
    if received:
        raise Interrupted(f"stopped; go on with: orrery resume {run.id}", received[0])


def _stop(workers: "Collection[subprocess.Popen[bytes]]") -> None:
    """Ask through standard input, which is read even within a long call into C; then insist."""
    for worker in workers:
        assert worker.stdin is not None
        with suppress(OSError):  # it has ended by itself
            os.write(worker.stdin.fileno(), b"stop")
    deadline = time.monotonic() + STOP_SECONDS
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """The signals that asked for a stop so far; the second one ends the process at once."""
    received: list[int] = []

    def note(number: int, _: object) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
