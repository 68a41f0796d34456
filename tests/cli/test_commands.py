"""Every command: help, exit codes, output for machines, and one line for what is wrong."""

import contextlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from orrery.cli import doctor, tour
from orrery.cli.main import COMMANDS, guarded
from orrery.cli.run import finish
from orrery.errors import Interrupted, MissingDataError, OrreryError
from orrery.files import write_json
from orrery.lab.folder import Order, create_run
from orrery.lab.launch import finished
from orrery.plan.record import Judgement

THERE = [name for name in COMMANDS if importlib.util.find_spec(f"orrery.cli.{name}")]
HELP_SECONDS = 0.3
ORDER = Order(area="foundations", stem="residual_depth", scale="smoke", seeds=(0,), settings={})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home with nothing in it."""
    monkeypatch.setenv("ORRERY_HOME", str(tmp_path))
    return tmp_path


def python(code, **environment):
    """A Python process that runs `code`."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize("command", THERE)
def test_help(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.suppress(SystemExit):  # argparse leaves by itself
        guarded([command, "--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert f"\n  orrery {command}" in text[text.index("\nexamples:\n") :]
    if command not in ("compress", "decompress"):  # what they print is the file
        assert "--json" in text


def test_help_and_version_of_all(capsys):
    for argv in ([], ["--help"], ["help"]):
        assert guarded(argv) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 100
        assert all(f"\n  {command} " in text for command in COMMANDS)
    assert guarded(["--version"]) == 0
    assert capsys.readouterr().out == "0.1.0\n"


def test_help_is_quick_and_needs_no_torch():
    code = (
        "import sys\n"
        "from orrery.cli.main import guarded\n"
        f"for command in {THERE}:\n"
        "    try: guarded([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "slow = {'torch', 'matplotlib', 'sqlalchemy', 'scipy'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert python("from orrery.cli.main import main; main()").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < HELP_SECONDS


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["rnu"], "did you mean run"),
        (["run", "residual_dept"], "residual_depth"),
        (["run", "--scale", "smoke"], "name the experiment first"),
        (["run", "residual_depth", "--seeds", "0"], "whole number from 1 to 1000"),
        (["tour", "nothing"], "no experiment 'nothing'"),
        (["resume"], "nothing to resume"),
        (["resume", "x"], "there are no runs yet"),
        (["report", "x"], "run='x' is not a run"),
        (["report"], "RUN"),
        (["record", "nothing"], "no experiment 'nothing'"),
        (["doctor", "--jsn"], "did you mean --json"),
        (["data", "gte"], "did you mean get"),
        (["data", "get", "mnits"], "did you mean mnist"),
        (["systems", "--area", "langage"], "did you mean language"),
        (["show", "\x1b[31mresnet"], "x1b[31mresnet"),
        (["runs", "a", "b"], "'b'"),
        (["claims", "--verdict"], "--verdict"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_one_line_and_exit_2(place, capsys, argv, words):
    assert guarded(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("orrery: ")
    assert said.err.endswith("\n")
    assert said.err.count("\n") == 1
    assert words in said.err
    assert "\x1b" not in said.err


def test_a_damaged_run_hides_no_other(place, capsys):
    damaged, whole = create_run(ORDER), create_run(ORDER)
    (damaged.folder / "run.json").write_text("{")
    assert guarded(["runs", "--json"]) == 0
    said = capsys.readouterr()
    (row,) = json.loads(said.out)
    assert (row["run"], row["state"], row["seeds"]) == (whole.id, "interrupted", [0])
    assert "is damaged" in said.err
    assert guarded(["report", whole.id]) == 1
    assert "no verdicts to report yet" in capsys.readouterr().err


def test_how_a_seed_ended_decides_the_error(place):
    run = create_run(ORDER)
    run.seed_folder(0).mkdir()
    with pytest.raises(Interrupted):
        finished(run, 0, 130, 1.0)
    with pytest.raises(OrreryError, match=f"code -9 .*; go on with: orrery resume {run.id}"):
        finished(run, 0, -9, 1.0)
    write_json(run.seed_folder(0) / "error.json", {"kind": "MissingDataError", "message": "no npm"})
    with pytest.raises(MissingDataError, match="seed 0: no npm"):
        finished(run, 0, 1, 1.0)


@pytest.mark.parametrize(
    ("endings", "code"),
    [
        ((None, None), 0),
        ((None, MissingDataError("no npm")), 0),
        ((MissingDataError("no npm"), MissingDataError("no apt-get")), 1),
        ((None, OrreryError("loss is nan")), 1),
        ((Interrupted("stopped", 15), None), 143),
    ],
    ids=("well", "one left out", "all left out", "one failed", "stopped"),
)
def test_a_tour_goes_on_without_data_but_not_without_success(monkeypatch, capsys, endings, code):
    outcome = SimpleNamespace(run=SimpleNamespace(order=ORDER, id="x"), verdicts=[])
    left = iter(endings)

    def visit(stem, chosen):
        if ending := next(left):
            raise ending
        return outcome

    shown = {}
    monkeypatch.setattr(tour, "_visit", visit)
    monkeypatch.setattr("orrery.lab.tour.write_tour", lambda _, why: shown.update(why) or "page")
    assert guarded(["tour", "residual_depth", "char_gpt"]) == code
    said = capsys.readouterr()
    for error in filter(None, endings):
        assert str(error) in said.out + said.err
        assert str(error) in [*shown.values(), "stopped"]


def test_strict_is_exit_3_where_a_claim_fails(capsys):
    fails = Judgement(
        id=None, text="It is so.", verdict="fails", effect=-1.0, margin=0.0,
        low=-2.0, high=-0.5, p=0.01, seeds=3, reason="below",
    )  # fmt: skip
    run = SimpleNamespace(folder=SimpleNamespace(__truediv__=None), id="x", state="done")
    outcome = SimpleNamespace(run=run, verdicts=[fails], measured=[])
    assert finish(outcome, as_json=True, strict=True) == 3
    assert finish(outcome, as_json=True, strict=False) == 0
    assert json.loads(capsys.readouterr().out.split("}\n{")[0] + "}")["run"] == "x"


def test_doctor_says_what_is_broken(place, capsys, monkeypatch):
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: ["numpy>=99", "nosuch>=1"])
    monkeypatch.setattr(doctor, "_products", lambda: {}["broken"])
    assert guarded(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["facts"]["home"] == str(place)
    old, absent, raised = found["problems"]
    assert "orrery needs numpy>=99" in old
    assert "nosuch is not installed" in absent
    assert raised == "KeyError: 'broken'"
