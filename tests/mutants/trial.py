"""Trying mutants: each in a copy of the house, never in the work tree.

The named test must pass in an unchanged copy and fail in the changed one, in processes of their
own, and fail by noticing (see `witness`): a mutant that breaks an import, a type or a shape says
nothing about the idea, and is called broken.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tests.mutants.table import Mutant

HOUSE = Path(__file__).parents[2]
FOLDERS = ("src", "tests")
LIMIT = 300  # seconds that a test may take
Verdict = Literal["killed", "SURVIVED", "broken mutant", "broken test"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of one test ended."""

    outcome: Literal["passed", "noticed", "broke"]
    why: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a mutant."""

    mutant: Mutant
    verdict: Verdict
    why: str


def trials(mutants: Sequence[Mutant], *, jobs: int, house: Path = HOUSE) -> Iterator[Trial]:
    """Try each, so many at a time; in the order given."""
    with TemporaryDirectory(prefix="orrery-mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        plain = Path(folder) / "plain"
        copy(house, plain, "__pycache__")  # others may be compiling there just now
        tests = list(dict.fromkeys(mutant.test for mutant in mutants))
        before = dict(zip(tests, pool.map(lambda test: run(plain, test), tests), strict=True))

        def one(mutant: Mutant) -> Trial:
            first = before[mutant.test]
            if first.outcome != "passed":
                return Trial(mutant, "broken test", first.why)
            with TemporaryDirectory(dir=folder) as place:
                changed = Path(place) / "house"
                copy(plain, changed)
                change(changed, mutant)
                return judge(mutant, run(changed, mutant.test))

        yield from pool.map(one, mutants)


def copy(house: Path, to: Path, *without: str) -> None:
    """What tests need of the house: package, tests, and the files at the top."""
    to.mkdir()
    for folder in FOLDERS:
        shutil.copytree(house / folder, to / folder, ignore=shutil.ignore_patterns(*without))
    for file in house.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy2(file, to / file.name)


def change(house: Path, mutant: Mutant) -> None:
    """Put the mutant in its file, and take away what was compiled from the file before."""
    file = house / mutant.file
    file.write_text(mutant.applied(file.read_text(encoding="utf-8")), encoding="utf-8")
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        compiled.unlink()


def run(house: Path, test: str) -> Ended:
    """One test in a fresh process, with the package of this house."""
    with TemporaryDirectory(prefix="orrery-witness-") as folder:
        witness = Path(folder) / "witness.jsonl"
        env = {
            **os.environ, "PYTHONPATH": str(house / "src"), "OMP_NUM_THREADS": "1",
            "NUMBA_CACHE_DIR": str(house / "numba"),  # numba does not see that a callee has changed
        }  # fmt: skip
        command = [
            sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist",
            "-p", "tests.mutants.witness", "--witness", str(witness), test,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=house, env=env, capture_output=True, text=True, timeout=LIMIT,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Ended("broke", f"took more than {LIMIT} s")
        if not witness.exists():
            return Ended("broke", last_words(done.stdout or done.stderr))
        lines = [json.loads(line) for line in witness.read_text(encoding="utf-8").splitlines()]
    strangers = {line["package"] for line in lines} - {str(house / "src/orrery/__init__.py")}
    assert not strangers, f"not the package of the copy: {strangers}"
    return ended(lines)


def last_words(output: str) -> str:
    """Of a pytest that came to no test: its error, else its last line."""
    lines = output.strip().splitlines()
    errors = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")]
    return [*lines, *errors][-1] if lines else "no output"


def ended(lines: list[dict]) -> Ended:
    """How the run ended that a witness tells of."""
    for line in lines:
        if line["outcome"] == "failed":
            why = "; ".join(said for said, _ in line["errors"])
            noticed = line["phase"] == "call" and all(fair for _, fair in line["errors"])
            return Ended("noticed" if noticed else "broke", why)
    calls = [line["outcome"] for line in lines if line["phase"] == "call"]
    if not calls or "skipped" in [line["outcome"] for line in lines]:
        return Ended("broke", "skipped, or the process died")
    return Ended("passed", "")


def judge(mutant: Mutant, after: Ended) -> Trial:
    """The verdict on a mutant whose test passes without it."""
    verdicts: dict[str, Verdict] = {
        "passed": "SURVIVED", "noticed": "killed", "broke": "broken mutant",
    }  # fmt: skip
    return Trial(mutant, verdicts[after.outcome], after.why)
