"""`--ray` gives what local processes give, stops like them, and leaves nothing running."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from orrery.lab.inline import run_inline
from tests.cli.forks import new_home

pytest.importorskip("ray")
STEM = "residual_depth"


def orrery(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orrery", *argv],
        capture_output=True, text=True, check=False, env=os.environ | {"ORRERY_HOME": str(folder)},
    )  # fmt: skip


def processes_of(folder: Path) -> list[str]:
    """Command lines of all processes that were started with this home."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(f"ORRERY_HOME={folder}") in (place / "environ").read_bytes().split(
                b"\0"
            ):
                found.append((place / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended, or is another user's
            continue
    return found


@pytest.fixture
def one_thread():
    """As a worker has it: results belong to a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("one_thread")
def test_ray_measures_what_local_processes_measure(tmp_path):
    place = new_home(tmp_path / "home")
    argv = ("run", STEM, "--scale", "smoke", "--seeds", "2", "--workers", "2", "--ray", "--json")
    done = orrery(place, *argv)
    if "Ray does not start" in done.stderr:  # in time, on a busy machine
        done = orrery(place, *argv)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    outcome = json.loads(done.stdout)
    assert outcome["state"] == "done"
    for seed in (0, 1):
        local = run_inline(STEM, tmp_path / f"{seed}", scale="smoke", seed=seed)
        assert outcome["measured"][seed] == local
    assert processes_of(place) == []
