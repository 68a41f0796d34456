"""Kills an experiment with SIGKILL at random moments, resumes it, compares with a whole run.

    python -m tests.reliability.killer EXPERIMENT KILLS FOLDER [scale] [name=value ...]

Attempts are forks of one process that has torch loaded, so that a kill costs no start-up; the
signal is the real one. Prints one JSON object: kills that hit, and what differed (nothing).
"""

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

from orrery.lab.inline import run_inline
from orrery.train.device import prepare

SAVE_SECONDS = 0.05  # far more often than usual: many kills must fall into a save


def attempt(experiment: str, folder: Path, scale: str, settings: dict[str, str]) -> int:
    """Start one attempt in a process of its own; returns its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run_inline(experiment, folder, scale=scale, checkpoint_seconds=SAVE_SECONDS, **settings)
        code = 0
    finally:
        os._exit(code)


def finish(pid: int) -> int:
    """Wait for an attempt; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def trace(folder: Path) -> dict[str, bytes]:
    """Everything that must not depend on kills: events, measurements, final states."""
    kept = [folder / "events.jsonl", folder / "measured.json"]
    kept += sorted((folder / "checkpoints").glob("*/step-*-end.*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def main(experiment: str, kills: int, root: Path, scale: str, settings: dict[str, str]) -> int:
    """Run it; returns 0 where every resumed run is bit for bit the whole one."""
    warnings.simplefilter("ignore")
    prepare()
    start = time.monotonic()
    assert finish(attempt(experiment, root / "whole", scale, settings)) == 0
    seconds = time.monotonic() - start
    expected, rng = trace(root / "whole"), random.Random(kills)
    hit, different = 0, []
    for index in range(kills):
        folder = root / f"killed-{index}"
        pid = attempt(experiment, folder, scale, settings)
        time.sleep(rng.uniform(0.02, 0.98) * seconds)
        os.kill(pid, signal.SIGKILL)
        hit += finish(pid) == -signal.SIGKILL
        code = finish(attempt(experiment, folder, scale, settings))
        if code != 0 or trace(folder) != expected:
            different.append(index)
    print(
        json.dumps({"experiment": experiment, "kills": kills, "hit": hit, "different": different})
    )
    return bool(different)


if __name__ == "__main__":
    name, count, where, *rest = sys.argv[1:]
    given_scale, *pairs = rest or ["smoke"]
    given = dict(pair.split("=", 1) for pair in pairs)
    sys.exit(main(name, int(count), Path(where), given_scale, given))
