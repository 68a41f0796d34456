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

import torch
from torch import Tensor

from orrery.lab.inline import run_inline
from orrery.train.checkpoint import read_checkpoint
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


def trace(folder: Path) -> dict[str, object]:
    """Everything that must not depend on kills: events, measurements, final states. No times."""
    kept: dict[str, object] = {"events": (folder / "events.jsonl").read_bytes()}
    kept["measured"] = without_times(json.loads((folder / "measured.json").read_text()))
    for path in sorted((folder / "checkpoints").glob("*/step-*-end.json")):
        kept[path.parent.name] = without_times(list(read_checkpoint(path).state))
    return kept


def without_times(value: object) -> object:
    """Nested state with tensors as bytes, and without the numbers that are times."""
    if isinstance(value, Tensor):
        return value.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not str(k).endswith("seconds")}
    if isinstance(value, list | tuple):
        return [without_times(item) for item in value]
    return value


def main(experiment: str, kills: int, root: Path, scale: str, settings: dict[str, str]) -> int:
    """Run it; returns 0 where every resumed run is bit for bit the whole one."""
    warnings.simplefilter("ignore")
    prepare()
    for folder in (root / "whole", root / "again"):  # the second one, warm, tells how long it takes
        start = time.monotonic()
        assert finish(attempt(experiment, folder, scale, settings)) == 0
        seconds = time.monotonic() - start
    assert trace(root / "again") == trace(root / "whole")
    expected, rng = trace(root / "whole"), random.Random(kills)
    hit, different = 0, []
    for index in range(kills):
        folder = root / f"killed-{index}"
        pid = attempt(experiment, folder, scale, settings)
        time.sleep(rng.uniform(0.0, 0.9) * seconds)
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
