"""Two processes do what one does: the same losses, and checkpoints that load either way."""

import json
import subprocess
import sys

import pytest

STEPS = 50
SCRIPT = "tests.train.two_processes"


def run(folder, how, processes, stop_after=-1):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*launcher, "-m", SCRIPT] if processes > 1 else ["-m", SCRIPT]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command, str(folder), how, str(STEPS),
         str(stop_after)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if stop_after >= 0:
        return None
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["world"] == processes
    return outcome["losses"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(tmp_path_factory.mktemp("alone"), "none", 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_processes_match_one_and_their_checkpoint_loads_on_one(tmp_path, alone, how):
    two = run(tmp_path / "two", how, 2)
    assert len(two) == STEPS
    assert two == pytest.approx(alone, abs=1e-6)
    run(tmp_path / "begun", how, 2, stop_after=STEPS // 2)
    assert run(tmp_path / "begun", "none", 1) == pytest.approx(alone, abs=1e-6)
    assert alone[-1] < alone[0] / 5
