"""The look-ups as a user runs them: quick, without torch, on any terminal and into any pipe."""

import json
import os
import pty
import subprocess
import sys
import time

import pytest

RUN = "import sys; from orrery.cli.main import main; main()"
BUDGET = 3.0
"""Seconds for one look-up on a busy machine; on a quiet one a tenth of it is asked for."""
LOOKUPS = [
    ["systems"],
    ["systems", "diffusion", "--json"],
    ["show", "resnet"],
    ["claims", "--verdict", "fails", "--json"],
    ["plan", "--path", "engineer"],
]


def orrery(argv: list[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *argv],
        capture_output=True,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize("argv", LOOKUPS, ids=" ".join)
def test_a_look_up_is_quick(argv):
    seconds = []
    for _ in range(2):  # the first one may build a cache
        start = time.perf_counter()
        assert orrery(argv).returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < BUDGET


def test_nothing_slow_is_imported():
    code = (
        "import sys; from orrery.cli import claims, plan, show, systems\n"
        "for call in (systems.main, claims.main, plan.main): call(['--json'])\n"
        "show.main(['resnet'])\n"
        "slow = {'torch', 'numpy', 'pydantic', 'yaml', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    orrery(["systems"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_a_reader_that_goes_away_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "systems", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_without_a_home_that_can_be_written_it_still_answers(tmp_path):
    (tmp_path / "home").write_text("a file, not a folder")
    done = orrery(["show", "mdl", "--json"], ORRERY_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["id"] == "mdl"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_terminal_without_unicode_is_no_error(language):
    done = orrery(["claims", "--language", language], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr


def on_terminal(argv: list[str], **environment: str) -> str:
    """What the command writes to a terminal."""
    leader, follower = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CLICOLOR_FORCE")}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, *argv],
        stdout=follower,
        env=kept | {"TERM": "xterm"} | environment,
    ) as process:
        os.close(follower)
        text = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            text += part
        assert process.wait() == 0
    os.close(leader)
    return text.decode()


def test_colour_is_for_terminals_that_want_it():
    assert "\x1b[" in on_terminal(["show", "mdl"])
    assert "\x1b" not in on_terminal(["show", "mdl"], NO_COLOR="1")
    assert "\x1b" not in on_terminal(["show", "mdl"], TERM="dumb")
    assert b"\x1b" not in orrery(["show", "mdl"]).stdout
    assert b"\x1b[" in orrery(["show", "mdl"], CLICOLOR_FORCE="1").stdout


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_terminal(width):
    lines = on_terminal(["claims"], NO_COLOR="1", COLUMNS=str(width)).splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.endswith("...") for line in lines)


def test_one_column_is_no_error():
    for argv in (["systems", "mdl"], ["show", "mdl"]):
        assert on_terminal(argv, COLUMNS="1")
