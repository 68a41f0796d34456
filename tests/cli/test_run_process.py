"""Runs as a user starts them, on an odd machine: signals, kills, two at once, nothing left behind.

The home has spaces and Chinese letters in its path, HOME cannot be written, the locale is C, the
mask is 077, the terminal is dumb.
"""

import json
import math
import os
import signal
import socket
import sqlite3
import time
from types import SimpleNamespace

import pytest

from tests.cli.forks import Forks, new_home, seconds_until, workers_of

pytestmark = pytest.mark.timeout(600)
STEM = "residual_depth"
AT_ONCE = 3.0
"""Seconds in which a stopped run must be gone on a busy machine; on a quiet one it takes 0.5."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """The odd machine: its home, an empty working folder, and what starts commands there."""
    root = tmp_path_factory.mktemp("odd")
    place, empty = new_home(root / "一 个 home"), root / "empty"
    empty.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ORRERY_", "XDG_"))}
    forks = Forks(
        empty,
        kept | {
            "ORRERY_HOME": str(place), "HOME": "/dev/null/none", "LC_ALL": "C", "TERM": "dumb",
            "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1",
        },
        umask=0o077,
    )  # fmt: skip
    yield SimpleNamespace(home=place, empty=empty, start=forks.start)
    forks.close()


@pytest.fixture(scope="module")
def two(odd):
    """Two runs at once on a new home."""
    first = odd.start("run", STEM, "--scale", "smoke", "--seeds", "2", "--json", "--workers", "2")
    second = odd.start("run", STEM, "--scale", "smoke", "--seed", "7")
    assert [first.wait(), second.wait()] == [0, 0], first.err + second.err
    return SimpleNamespace(outcome=json.loads(first.out), first=first, second=second)


@pytest.fixture(scope="module")
def stopped(odd):
    """A run that would take hours, stopped by SIGINT."""
    command = odd.start(
        "run", STEM, "--scale", "smoke", "--steps", "900000", "--seed", "3", "--quiet",
        "--checkpoint-seconds", "0.2",
    )  # fmt: skip
    folder = wait_for_steps(odd)
    stop(command, folder, signal.SIGINT, 130)
    assert command.err == f"orrery: stopped; go on with: orrery resume {folder.name}\n"
    return folder


def wait_for_steps(odd):
    """Wait until the seed trains that takes hours; the folder of its run."""
    since, found = time.time(), odd.home / "runs"

    def training():
        seeds = [path for path in found.glob("*/seed-3/progress.json") if newer(path)]
        return [path.parent.parent for path in seeds if json.loads(path.read_text())["step"]]

    def newer(path):
        return path.stat().st_mtime > since

    seconds_until(training)
    return training()[0]


def newest_step(folder):
    names = [path.stem for path in (folder / "seed-3" / "checkpoints").glob("*/step-*.json")]
    return max(int(name.split("-")[1]) for name in names)


def stop(command, folder, number, code):
    """Send a signal; the run must end soon, with this code, a checkpoint and no process left."""
    start = time.monotonic()
    os.kill(command.pid, number)
    assert command.wait() == code
    assert time.monotonic() - start < AT_ONCE
    assert workers_of(folder) == []
    assert list((folder / "seed-3" / "checkpoints").glob("*/step-*.json"))
    assert not (folder / "verdicts.json").exists()


def test_two_at_once_share_a_home(odd, two):
    assert "locked" not in two.first.err + two.second.err
    listing = odd.start("runs", "--json")
    assert listing.wait() == 0
    rows = json.loads(listing.out)
    assert {tuple(row["seeds"]): row["state"] for row in rows[:2]} == {(0, 1): "done", (7,): "done"}
    with sqlite3.connect(odd.home / "orrery.db") as database:
        indexed = {row[0] for row in database.execute("select id from runs")}
    assert {row["run"] for row in rows[:2]} <= indexed
    assert indexed >= {two.outcome["run"]}


def test_the_outcome_for_machines(odd, two):
    outcome = two.outcome
    assert outcome["folder"] == str(odd.home / "runs" / outcome["run"])
    assert two.first.err == ""
    assert len(outcome["measured"]) == 2
    assert all(math.isfinite(x) for seed in outcome["measured"] for x in seed.values())
    for verdict in outcome["verdicts"]:
        assert verdict["verdict"] in ("holds", "fails", "undecided")
        assert verdict["seeds"] == 2


def test_progress_off_a_terminal_is_sparse_lines_without_colour(two):
    lines = two.second.err.splitlines()
    assert lines[0].endswith(": 1 seeds")
    assert any("seed 7: residual-8" in line for line in lines)
    assert len(lines) < 20
    assert "\x1b" not in two.second.err + two.second.out
    assert two.second.out.splitlines()[-1].startswith("report: ")


def test_nothing_is_written_elsewhere_and_the_mask_holds(odd, two):
    assert list(odd.empty.iterdir()) == []
    report = odd.home / "runs" / two.outcome["run"] / "report.html"
    assert report.stat().st_mode & 0o077 == 0
    assert not list(report.parent.rglob("*.tmp"))


def test_report_and_strict(odd, two):
    name = two.outcome["run"]
    report = odd.start("report", name[:-2], "--json")
    again = odd.start("resume", name, "--strict", "--json", "--quiet")
    unknown = odd.start("report", "nothing-like-it")
    assert report.wait() == 0
    assert json.loads(report.out)["report"] == f"{two.outcome['folder']}/report.html"
    fails = any(v["verdict"] == "fails" for v in two.outcome["verdicts"])
    assert again.wait() == (3 if fails else 0)
    assert json.loads(again.out) == two.outcome
    assert unknown.wait() == 2
    assert unknown.err.startswith("orrery: run='nothing-like-it' is not a run")
    assert unknown.err.count("\n") == 1


def test_processes_of_torchrun_share_one_run(odd, two):
    with socket.socket() as probe:  # a port that is free
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    around = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    argv = ("run", STEM, "--scale", "smoke", "--seed", "0", "--json")
    both = [odd.start(*argv, RANK=str(rank), LOCAL_RANK=str(rank), **around) for rank in (0, 1)]
    assert [command.wait() for command in both] == [0, 0], both[0].err + both[1].err
    assert both[1].out == ""
    (measured,) = json.loads(both[0].out)["measured"]
    assert measured == pytest.approx(two.outcome["measured"][0], abs=1e-6)


def test_sigterm_is_143_and_the_newest_interrupted_run_is_resumed(odd, stopped):
    before = newest_step(stopped)
    command = odd.start("resume", "--quiet")
    wait_for_steps(odd)
    stop(command, stopped, signal.SIGTERM, 143)
    assert newest_step(stopped) > before


def test_a_second_sigint_ends_it_at_once(odd, stopped):
    command = odd.start("resume", stopped.name, "--quiet")
    wait_for_steps(odd)
    start = time.monotonic()
    os.kill(command.pid, signal.SIGINT)
    time.sleep(0.02)  # two that arrive together count as one
    os.kill(command.pid, signal.SIGINT)
    assert command.wait() == 130
    assert time.monotonic() - start < AT_ONCE / 2
    seconds_until(lambda: not workers_of(stopped), AT_ONCE)


def test_a_killed_command_leaves_no_worker_and_can_be_resumed(odd, stopped):
    command = odd.start("resume", stopped.name, "--quiet")
    wait_for_steps(odd)
    other = odd.start("resume", stopped.name)
    assert other.wait() == 1
    assert "is being worked on by another process" in other.err
    before = newest_step(stopped)
    os.killpg(command.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    seconds_until(lambda: not workers_of(stopped), AT_ONCE)
    assert newest_step(stopped) >= before
    listing = odd.start("runs", stopped.name)
    assert listing.wait() == 0
    assert listing.out == f"interrupted smoke {stopped.name}: -\n"
