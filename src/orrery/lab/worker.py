"""One seed of a run in a process of its own: `python -m orrery.lab.worker FOLDER SEED`."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from orrery.errors import Interrupted, OrreryError
from orrery.files import write_json
from orrery.lab.environment import environment
from orrery.lab.experiment import Runnable, load_experiment
from orrery.lab.folder import Order, Run
from orrery.lab.run import Lab
from orrery.train import device

GRACE_SECONDS = 1.5  # a step that is longer than this is given up: its last checkpoint stands


def run_seed(experiment: Runnable, order: Order, lab: Lab) -> None:
    """Run one seed to its end, or raise.

    Raises:
        OrreryError: the experiment failed; also kept in the seed's error.json.
    """
    try:
        settings = experiment.settings.parse(order.settings)
        lab.finish(experiment.run(settings, lab))
    finally:
        lab.close()


def open_lab(run: Run, order: Order, seed: int) -> Lab:
    """The lab of one seed of a run, where it was left."""
    folder = run.seed_folder(seed)
    lab = Lab(
        folder, seed, scale=order.scale, ablation=order.ablation,
        device=device.pick(order.device), checkpoint_seconds=order.checkpoint_seconds,
    )  # fmt: skip
    (folder / "error.json").unlink(missing_ok=True)
    return lab


def main(folder: str, seed: str) -> int:
    """Work on one seed until it is done, fails or is asked to stop; returns the exit code."""
    run = Run(Path(folder).name, Path(folder))
    try:
        order = run.order
        device.prepare(order.threads)
        lab = open_lab(run, order, int(seed))
        _listen(lab)
        if not (run.folder / "environment.json").exists():
            write_json(run.folder / "environment.json", environment(order.threads, order.device))
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
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        with contextlib.suppress(OrreryError):  # a full disk cannot keep the reason: it is printed
            write_json(run.seed_folder(int(seed)) / "error.json", {"message": message})
        print(f"orrery: {message}", flush=True)
        return 1
    return 0


def _listen(lab: Lab) -> None:
    """Stop at the next step on a signal, or when the process that started this one is gone."""

    def stop(*_: object) -> None:
        if lab.stop_requested:
            os._exit(130)
        lab.stop_requested = True
        timer = threading.Timer(GRACE_SECONDS, os._exit, (130,))
        timer.daemon = True
        timer.start()

    def watch_parent() -> None:
        while os.read(0, 4096):
            pass
        stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if not sys.stdin.isatty():
        threading.Thread(target=watch_parent, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
