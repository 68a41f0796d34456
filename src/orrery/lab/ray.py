"""The seeds of a run on a Ray cluster: the same worker processes, started where Ray has room.

A cluster of several machines needs the home folder (ORRERY_HOME) on a file system they share.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

from orrery.errors import OrreryError
from orrery.lab.folder import Run, run_called
from orrery.lab.launch import POLL_SECONDS, finished, raise_if_stopped, start_worker, stop_signals
from orrery.lab.progress import Progress


def on_ray(run: Run, seeds: Sequence[int], workers: int, progress: Progress) -> None:
    """Each seed as a Ray task; joins the cluster at RAY_ADDRESS, or starts one of `workers` cores.

    Raises:
        OrreryError: Ray is not installed or does not start, or a seed failed.
        Interrupted: a stop was asked for.
    """
    if not seeds:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    try:
        import ray
    except ImportError:
        raise OrreryError("--ray needs Ray: pip install 'orrery-lab[ray]'") from None
    here: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers}
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="CRITICAL", **here)
    except Exception as error:  # Ray raises bare Exception where a part of it starts too slowly
        ray.shutdown()
        raise OrreryError(f"Ray does not start: {error}") from error
    try:
        task = ray.remote(num_cpus=run.order.threads, max_retries=0)(work)
        pending = {task.remote(run.id, seed): seed for seed in seeds}
        with stop_signals() as received:
            while pending:
                raise_if_stopped(run, received)
                ready, _ = ray.wait(list(pending), timeout=POLL_SECONDS)
                progress.show(run, pending.values())
                for reference in ready:
                    code, seconds = ray.get(reference)
                    finished(run, pending.pop(reference), code, seconds)
    finally:
        ray.shutdown()


def work(run_id: str, seed: int) -> tuple[int, float]:
    """What a task does: one worker process; returns its exit code and how long it took."""
    start = time.monotonic()
    with start_worker(run_called(run_id), seed) as process:
        return process.wait(), time.monotonic() - start
