"""kill -9 anywhere, run again: the same bits. `ORRERY_KILLS=50` makes the long version."""

import json
import os
import subprocess
import sys

import pytest

from orrery.catalog import experiments

KILLS = int(os.environ.get("ORRERY_KILLS", "4"))
ALL = sorted(experiments())


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("stem", ALL)
def test_killed_runs_resume_to_identical_bits(tmp_path, stem):
    kills = KILLS if stem == "residual_depth" else 1
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.killer", stem, str(kills), str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["different"] == []
    assert outcome["kills"] == kills
