"""A pytest plugin that writes down how each test ended, one JSON line a phase.

`pytest -p tests.mutants.witness --witness FILE`. An error counts as `fair` where the test itself
has noticed something: an assertion of its own (or one of a library it has called to compare), or
an error it has waited for in vain. All else only shows that the program broke.
"""

import json
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def pytest_addoption(parser):
    parser.addoption("--witness", type=Path, required=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    errors = leaves(call.excinfo.value) if report.failed and call.excinfo else []
    line = {
        "test": item.nodeid, "phase": report.when, "outcome": report.outcome,
        "errors": [(said(error), fair(error)) for error in errors],
        "package": getattr(sys.modules.get("orrery"), "__file__", None),
    }  # fmt: skip
    with item.config.getoption("--witness").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return report


def leaves(error):
    """The errors of a group (hypothesis raises one where it finds several), else the error."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves(one)]
    return [error]


def said(error):
    """Its type and the first line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]


def fair(error):
    """Whether the test has noticed, and not the program broken."""
    if isinstance(error, pytest.fail.Exception):
        return str(error).startswith("DID NOT RAISE")
    return isinstance(error, AssertionError) and not raised_by_the_package(error)


def raised_by_the_package(error):
    """Whether the innermost frame of the house is of the package: an invariant of its own."""
    inside = False
    package = Path(sys.modules["orrery"].__file__).parent if "orrery" in sys.modules else None
    step = error.__traceback__
    while step is not None:
        file = Path(step.tb_frame.f_code.co_filename)
        if file.is_relative_to(TESTS):
            inside = False
        elif package is not None and file.is_relative_to(package):
            inside = True
        step = step.tb_next
    return inside
