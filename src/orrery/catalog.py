"""The catalog: what every file of the house says about itself, read without importing it.

Systems stand in files with a `SYSTEM` record, experiments in `experiments/<area>/<stem>.py`, and
what full runs measured in `records/<area>/<stem>.json`. Paths are given from `root` on.
"""

import ast
import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from orrery.cache import made_from
from orrery.errors import OrreryError, UsageError
from orrery.syntax import assignments, calls, imported, keywords_of, literal, parse, text_of

PACKAGE = Path(__file__).parent
WITHOUT_SYSTEMS = ("experiments", "cli", "lab")
"""Folders of the package in which no system stands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """What a system's file says about itself; written with literals only."""

    stem: str
    area: str
    title: str
    year: int
    papers: tuple[str, ...] = ()
    builds_on: tuple[str, ...] = ()
    """Stems of other systems whose files this one imports."""
    realises: tuple[str, ...] = ()
    """Ids of the plan (systems.tsv) that this file makes work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemFile:
    """A system's record, and where it and its tests stand."""

    system: System
    file: str
    module: str
    tests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentFile:
    """What an experiment's file asks and judges."""

    stem: str
    area: str
    file: str
    question: str
    claims: tuple[str, ...]
    """Ids of the plan's claims."""
    findings: tuple[str, ...]
    controls: tuple[str, ...]
    ablations: tuple[str, ...]
    imports: tuple[str, ...]
    """Dotted names it imports from orrery, also by its parts (`_name.py` beside it)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordFile:
    """The head of a record: which experiment, and the verdict on each of the plan's claims."""

    stem: str
    area: str
    file: str
    verdicts: dict[str, str]


def checkout(package: Path = PACKAGE) -> Path | None:
    """The checkout the package runs from, or None where it is installed."""
    folder = package.parent.parent
    return folder if package.parent.name == "src" and (folder / "tests").is_dir() else None


def root(package: Path = PACKAGE) -> Path:
    """The folder that the catalog's paths start from."""
    return checkout(package) or package.parent


def records_folder(package: Path = PACKAGE) -> Path:
    """Where the records lie: in the checkout, else inside the installed package."""
    return (checkout(package) or package) / "records"


@cache
def systems(package: Path = PACKAGE) -> dict[str, SystemFile]:
    """Every system by stem, in the order of the files.

    Raises:
        OrreryError: a record cannot be read, stands in the wrong place or stands twice.
    """
    files = _python_files(package, without=WITHOUT_SYSTEMS)
    rows = made_from(
        [*files, *_tests(package)], "systems", package, lambda: _read_systems(files, package)
    )
    found = (
        SystemFile(**_tuples(row | {"system": System(**_tuples(row["system"]))})) for row in rows
    )
    return {one.system.stem: one for one in found}


@cache
def experiments(package: Path = PACKAGE) -> dict[str, ExperimentFile]:
    """Every experiment by stem, in the order of the files.

    Raises:
        OrreryError: an experiment's file lacks something, or its stem stands twice.
    """
    files = _experiment_files(package)

    def read() -> list[dict[str, Any]]:
        found = [read_experiment(file, package) for file in files]
        _refuse_twice((one.stem, one.file) for one in found)
        return [asdict(one) for one in found]

    parts = _python_files(package / "experiments")
    rows = made_from(parts, "experiments", package, read)
    return {row["stem"]: ExperimentFile(**_tuples(row)) for row in rows}


@cache
def records(package: Path = PACKAGE) -> dict[str, RecordFile]:
    """The head of every record, by the experiment's stem.

    Raises:
        OrreryError: a record does not fit its schema or its file's name.
    """
    files = sorted(records_folder(package).glob("*/*.json"))

    def read() -> list[dict[str, Any]]:
        return [asdict(read_record(file, package)) for file in files]

    return {row["stem"]: RecordFile(**row) for row in made_from(files, "records", package, read)}


def find_experiment(name: str, package: Path = PACKAGE) -> ExperimentFile:
    """The experiment called `stem` or `area/stem`; only its own file is read.

    Raises:
        UsageError: there is none; names the nearest ones.
        OrreryError: its file lacks something.
    """
    files = {file.stem: file for file in _experiment_files(package)}
    stem = name.rpartition("/")[2]
    file = files.get(stem)
    if file is None or name not in (stem, f"{file.parent.name}/{stem}"):
        near = difflib.get_close_matches(stem, files, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(files)}"
        raise UsageError(f"no experiment {name!r}; {hint}")
    return read_experiment(file, package)


def read_system(file: Path) -> System | None:
    """The `SYSTEM` record of a file, None where there is none.

    Raises:
        OrreryError: it cannot be read, or something is missing.
    """
    given = keywords_of("SYSTEM", "System", text_of(file), file)
    if given is None:
        return None
    fault = _fault(given)
    if fault is not None:
        raise OrreryError(f"{file}: SYSTEM: {fault}")
    return System(**given)


def read_experiment(file: Path, package: Path = PACKAGE) -> ExperimentFile:
    """What one experiment's file says.

    Raises:
        OrreryError: its docstring, CLAIMS or ABLATIONS is missing or not written out.
    """
    tree = parse(text_of(file), file)
    docstring, told = ast.get_docstring(tree), assignments(tree)
    for name in ("CLAIMS", "ABLATIONS"):
        if name not in told:
            raise OrreryError(f"{file}: {name} is missing")
    if not docstring:
        raise OrreryError(f"{file}: the docstring is missing; its first line is the question")
    judged: dict[str, list[str]] = {"Claim": [], "Finding": [], "Control": []}
    for kind, first in calls(told["CLAIMS"]):
        if kind not in judged or first is None:
            raise OrreryError(f"{file}: CLAIMS must be a tuple of {', '.join(judged)}")
        judged[kind].append(str(literal(first, file)))
    return ExperimentFile(
        stem=file.stem,
        area=file.parent.name,
        file=file.relative_to(root(package)).as_posix(),
        question=docstring.splitlines()[0].strip(),
        claims=tuple(judged["Claim"]),
        findings=tuple(judged["Finding"]),
        controls=tuple(judged["Control"]),
        ablations=tuple(literal(told["ABLATIONS"], file)),
        imports=tuple(sorted(_imports(tree, file.parent, package))),
    )


def _imports(tree: ast.Module, folder: Path, package: Path) -> set[str]:
    """What a file of an experiment imports, and what the parts beside it do that it imports."""
    beside = ".".join(folder.relative_to(package.parent).parts)
    found = imported(tree, "orrery")
    for name in [name for name in found if name.startswith(f"{beside}._")]:
        part = folder / f"{name.removeprefix(f'{beside}.')}.py"
        if part.is_file():  # else it is something in a part
            found |= _imports(parse(text_of(part), part), folder, package)
    return found


def read_record(file: Path, package: Path = PACKAGE) -> RecordFile:
    """The head of one record, once the whole of it fits the schema.

    Raises:
        OrreryError: it does not, or it is the record of another experiment.
    """
    from pydantic import ValidationError  # slow to load, and needed only when a record is new

    from orrery.plan.record import Record

    try:
        record = Record.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OrreryError(f"{file}: {where}: {first['msg']}") from None
    if (record.area, record.stem) != (file.parent.name, file.stem):
        raise OrreryError(f"{file}: it is the record of {record.area}/{record.stem}")
    return RecordFile(
        stem=record.stem,
        area=record.area,
        file=file.relative_to(root(package)).as_posix(),
        verdicts={one.id: one.verdict for one in record.verdicts if one.id is not None},
    )


def _fault(given: dict[str, Any]) -> str | None:
    """What is wrong with the keywords of a record, or None."""
    for field in fields(System):
        if field.name not in given:
            if field.default is MISSING:
                return f"{field.name} is missing"
            continue
        value = given[field.name]
        if field.type in (str, int):
            if type(value) is not field.type:
                return f"{field.name} must be of type {field.type.__name__}: {value!r}"
        elif type(value) is not tuple or not all(type(word) is str for word in value):
            return f"{field.name} must be a tuple of strings: {value!r}"
    unknown = sorted(given.keys() - {field.name for field in fields(System)})
    return f"there is no field {unknown[0]}" if unknown else None


def _read_systems(files: Iterable[Path], package: Path) -> list[dict[str, Any]]:
    known = {file: system for file in files if (system := read_system(file)) is not None}
    for file, system in known.items():
        folder = file.relative_to(package).parts[0:2]
        if system.stem != file.stem or (folder[0] == "systems" and folder[1] != system.area):
            place = f"{system.area}/{system.stem}"
            raise OrreryError(f"{file}: its SYSTEM says {place}; area and stem must be the file's")
    tests = _tests_by_file(known, package)
    found = [
        SystemFile(
            system=system,
            file=file.relative_to(root(package)).as_posix(),
            module=".".join(file.relative_to(package.parent).with_suffix("").parts),
            tests=tests[file],
        )
        for file, system in known.items()
    ]
    _refuse_twice((one.system.stem, one.file) for one in found)
    _refuse_twice((id_, one.file) for one in found for id_ in one.system.realises)
    return [asdict(one) for one in found]


def _python_files(folder: Path, without: tuple[str, ...] = ()) -> list[Path]:
    """All below `folder` in order of path (by os.walk: pathlib takes several times as long)."""
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        if place == str(folder):
            folders[:] = [name for name in folders if name not in without]
        wanted = (name for name in names if name.endswith(".py") and not name.startswith("."))
        found += (os.path.join(place, name) for name in wanted)
    return [Path(name) for name in sorted(found)]


def _experiment_files(package: Path) -> list[Path]:
    found = _python_files(package / "experiments")
    return [file for file in found if not file.name.startswith("_")]


def _tests(package: Path) -> list[Path]:
    house = checkout(package)
    found = _python_files(house / "tests") if house else []
    return [file for file in found if file.name.startswith("test_")]


def _tests_by_file(known: Iterable[Path], package: Path) -> dict[Path, tuple[str, ...]]:
    """tests/<folder of the file>/test_<stem>.py, and test_<stem>_<part>.py where it is split."""
    found: dict[Path, list[str]] = {file: [] for file in known}
    beside = root(package) / "tests"
    for test in _tests(package):
        folder = package / test.parent.relative_to(beside)
        for stem in _prefixes(test.stem.removeprefix("test_")):
            if folder / f"{stem}.py" in found:
                found[folder / f"{stem}.py"].append(test.relative_to(root(package)).as_posix())
                break
    return {file: tuple(tests) for file, tests in found.items()}


def _prefixes(name: str) -> Iterator[str]:
    """gan_loss, then gan: a test belongs to the longest stem its name starts with."""
    words = name.split("_")
    for end in range(len(words), 0, -1):
        yield "_".join(words[:end])


def _refuse_twice(pairs: Iterable[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for name, file in pairs:
        if name in seen:
            raise OrreryError(f"{name} stands twice: in {seen[name]} and in {file}")
        seen[name] = file


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists are tuples here."""
    return {key: tuple(value) if type(value) is list else value for key, value in row.items()}
