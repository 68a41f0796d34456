import shutil

import pytest

from tests.mutants.table import Mutant
from tests.mutants.trial import HOUSE, ended, trials
from tests.mutants.witness import fair, leaves, said

SOURCE = """
def double(x):
    assert isinstance(x, int), "an invariant of its own"
    return 2 * x


def unused(x):
    return x
"""
TEST = """
import pytest
from orrery import double

def test_double():
    assert double(3) == 6

def test_refused():
    with pytest.raises(AssertionError):
        double("a")

def test_wrong_already():
    assert double(3) == 7
"""
CASES = [
    ("return 2 * x", "return x", "test_double", "killed", "AssertionError: assert 3 == 6"),
    ("assert isinstance", "isinstance", "test_refused", "killed", "Failed: DID NOT RAISE"),
    ("    return x\n", "    return -x\n", "test_double", "SURVIVED", ""),
    ("return 2 * x", "return 2 @ x", "test_double", "broken mutant", "TypeError"),
    ("(x, int)", "(x, str)", "test_double", "broken mutant", "AssertionError: an invariant"),
    ("def double(x)", "def twice(x)", "test_double", "broken mutant", "ImportError"),
    ("return 2 * x", "return x", "test_wrong_already", "broken test", "assert 6 == 7"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Every case, tried in a house of one function."""
    house = tmp_path_factory.mktemp("house")
    shutil.copytree(HOUSE / "tests/mutants", house / "tests/mutants")
    (house / "tests/mutants/test_double.py").write_text(TEST)
    (house / "src/orrery").mkdir(parents=True)
    (house / "src/orrery/__init__.py").write_text(SOURCE)
    (house / "pyproject.toml").write_text("")
    mutants = [
        Mutant(id="x", idea="", file="src/orrery/__init__.py", old=old, new=new,
               test=f"tests/mutants/test_double.py::{test}")
        for old, new, test, _, _ in CASES
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts sooner
        yield list(trials(mutants, jobs=2, house=house))
    assert (house / "src/orrery/__init__.py").read_text() == SOURCE
    assert not (house / "src/orrery/__pycache__").exists()


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_mutant_is_killed_only_by_a_test_that_notices(found, case):
    *_, verdict, why = CASES[case]
    assert found[case].verdict == verdict
    assert why in found[case].why


def test_all_errors_of_a_group_must_be_fair():
    group = BaseExceptionGroup("", [AssertionError("a"), BaseExceptionGroup("", [TypeError("b")])])
    assert [(said(one), fair(one)) for one in leaves(group)] == [
        ("AssertionError: a", True), ("TypeError: b", False),
    ]  # fmt: skip


def line(outcome, phase="call", *errors):
    return {"outcome": outcome, "phase": phase, "errors": errors}


def test_how_a_run_ended_is_told_by_its_first_failure():
    assert ended([line("passed"), line("passed")]).outcome == "passed"
    assert ended([line("passed", "setup"), line("skipped", "call")]).outcome == "broke"
    assert ended([line("skipped", "setup")]).outcome == "broke"
    assert ended([line("failed", "setup", ("AssertionError: ", True))]).outcome == "broke"
    assert ended([line("failed", "call", ("AssertionError: ", True))]).outcome == "noticed"
    mixed = line("failed", "call", ("AssertionError: ", True), ("TypeError: ", False))
    assert ended([line("passed"), mixed]).outcome == "broke"
