"""One seed of a run in a process of its own: `python -m orrery.lab.worker FOLDER SEED`.

Its standard input comes from the process that started it: a byte asks for a stop, and the end of
the stream means that the other process is gone.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from orrery.errors import Interrupted, OrreryError
from orrery.files import leave, write_json
from orrery.lab.environment import environment
from orrery.lab.experiment import Runnable, load_experiment
from orrery.lab.folder import Order, Run
from orrery.lab.progress import write_progress
from orrery.lab.run import Lab
from orrery.train import device

GRACE_SECONDS = 1.5  # a step that is longer than this is given up: its last checkpoint stands


def run_seed(experiment: Runnable, order: Order, lab: Lab) -> None:
    """Run one seed to its end, or raise.

    Raises:
        OrreryError: the experiment failed.
        Interrupted: a stop was asked for.
    """
    try:
        settings = experiment.settings.parse(order.settings)
        lab.finish(experiment.run(settings, lab))
    finally:
        lab.close()


def open_lab(run: Run, seed: int) -> Lab:
    """The lab of one seed of a run, where it was left."""
    order, folder = run.order, run.seed_folder(seed)
    device.prepare(order.threads)
    lab = Lab(
        folder, seed, scale=order.scale, ablation=order.ablation,
        device=device.pick(order.device), checkpoint_seconds=order.checkpoint_seconds,
    )  # fmt: skip
    (folder / "error.json").unlink(missing_ok=True)
    if not (run.folder / "environment.json").exists():
        write_json(run.folder / "environment.json", environment(order.threads, order.device))
    return lab


def stop_on_signals(lab: Lab) -> Callable[[], None]:
    """Let SIGINT and SIGTERM stop the lab at its next step; returns what does it.

    A second call or signal ends the process at once, and so does a step that takes too long.
    """

    def stop(*_: object) -> None:
        if lab.stop_requested:
            os._exit(Interrupted.exit_code)
        lab.stop_requested = True
        timer = threading.Timer(GRACE_SECONDS, os._exit, (Interrupted.exit_code,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return stop


def main(folder: str, seed: str) -> int:
    """Work on one seed until it is done, fails or is asked to stop; returns the exit code."""
    run = Run(Path(folder).name, Path(folder))
    try:
        order = run.order
        lab = open_lab(run, int(seed))
        threading.Thread(target=_listen, args=(stop_on_signals(lab),), daemon=True).start()
        _show_fetching(run.seed_folder(int(seed)))
        for line in lab.refused:
            print(line, flush=True)
        run_seed(load_experiment(order.area, order.stem), order, lab)
    except Interrupted as stop:
        print(stop, flush=True)
        return stop.exit_code
    except Exception as error:  # the supervisor must learn of anything that ends a seed
        expected = isinstance(error, OrreryError)
        if not expected:
            traceback.print_exc(file=sys.stdout)
        kind = type(error).__name__
        message = str(error) if expected else f"{kind}: {error}"
        with contextlib.suppress(OrreryError):  # a full disk cannot keep the reason: it is printed
            write_json(
                run.seed_folder(int(seed)) / "error.json", {"kind": kind, "message": message}
            )
        print(f"orrery: {message}", flush=True)
        return 1
    return 0


def _listen(stop: Callable[[], None]) -> None:
    """Stop when asked to, and when the process that started this one is gone."""
    if not sys.stdin.isatty():
        while os.read(0, 64):
            stop()
        stop()


def _show_fetching(folder: Path) -> None:
    """Show which data set is being fetched: before the first step nothing else is to be seen."""

    class Show(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            write_progress(folder, record.getMessage(), 0, 1)

    log = logging.getLogger("orrery.data")
    log.setLevel(logging.INFO)
    log.addHandler(Show())


if __name__ == "__main__":
    leave(main(*sys.argv[1:]))
