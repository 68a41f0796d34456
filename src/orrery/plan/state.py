"""What has become of the plan: the state of each system and claim, computed from the house."""

from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from orrery import catalog
from orrery.catalog import PACKAGE, ExperimentFile, RecordFile, SystemFile
from orrery.errors import OrreryError
from orrery.plan.load import Language, load
from orrery.plan.model import PlannedClaim, PlannedSystem

SystemWord = Literal["works", "entry", "missing"]
ClaimWord = Literal["tested", "derivation", "literature", "not yet"]
VerdictWord = Literal["holds", "fails", "undecided"]
SYSTEM_STATES: tuple[SystemWord, ...] = get_args(SystemWord)
CLAIM_STATES: tuple[ClaimWord, ...] = get_args(ClaimWord)
VERDICTS: tuple[VerdictWord, ...] = get_args(VerdictWord)


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemState:
    """A system of the plan, the file that makes it work, and who uses that file."""

    plan: PlannedSystem
    file: SystemFile | None
    experiments: tuple[ExperimentFile, ...]
    records: tuple[RecordFile, ...]
    checked: bool
    """Its file has tests, or comes from an installed release, which is tested before it ships."""

    @property
    def state(self) -> SystemWord:
        """Works: a tested file realises it. Entry: the plan says what stands for it instead."""
        if self.file is not None and self.checked:
            return "works"
        return "entry" if self.plan.entry else "missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimState:
    """A claim of the plan, the experiment that names it, and the record that answers it."""

    plan: PlannedClaim
    experiment: ExperimentFile | None
    record: RecordFile | None
    verdict: str | None

    @property
    def state(self) -> ClaimWord:
        """Tested by a record, else how far it is settled without one."""
        return self.plan.known if self.verdict is None else "tested"


@cache
def system_states(language: Language = "en", package: Path = PACKAGE) -> dict[str, SystemState]:
    """Every system of the plan, by id.

    Raises:
        OrreryError: a file of the house names an id or a stem that does not exist.
    """
    plan = load(language)
    files = catalog.systems(package)
    realised: dict[str, SystemFile] = {}
    for file in files.values():
        _refuse_unknown(file.system.realises, plan.systems, file.file, "realises")
        _refuse_unknown(file.system.builds_on, files, file.file, "builds_on")
        realised.update(dict.fromkeys(file.system.realises, file))
    users: dict[str, list[ExperimentFile]] = defaultdict(list)
    for experiment in catalog.experiments(package).values():
        for module in _run_by(experiment, files):
            users[module].append(experiment)
    records = catalog.records(package)
    installed = catalog.checkout(package) is None

    def state_of(planned: PlannedSystem) -> SystemState:
        file = realised.get(planned.id)
        using = tuple(users[file.module]) if file else ()
        return SystemState(
            plan=planned,
            file=file,
            experiments=using,
            records=tuple(records[one.stem] for one in using if one.stem in records),
            checked=installed or bool(file and file.tests),
        )

    return {id_: state_of(planned) for id_, planned in plan.systems.items()}


def _run_by(experiment: ExperimentFile, files: dict[str, SystemFile]) -> set[str]:
    """Modules of the systems that an experiment imports, and of those that these build on."""
    by_module = {file.module: file for file in files.values()}
    found, left = set[str](), [name for name in experiment.imports if name in by_module]
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            left += [files[stem].module for stem in by_module[module].system.builds_on]
    return found


@cache
def claim_states(language: Language = "en", package: Path = PACKAGE) -> dict[str, ClaimState]:
    """Every claim of the plan, by id.

    Raises:
        OrreryError: an experiment names a claim that does not exist or that another one names.
    """
    plan = load(language)
    asked: dict[str, ExperimentFile] = {}
    for experiment in catalog.experiments(package).values():
        _refuse_unknown(experiment.claims, plan.claims, experiment.file, "CLAIMS")
        for id_ in experiment.claims:
            if id_ in asked:
                both = f"{asked[id_].file} and {experiment.file}"
                raise OrreryError(f"claim {id_} is tested twice: in {both}")
            asked[id_] = experiment
    records = catalog.records(package)

    def state_of(planned: PlannedClaim) -> ClaimState:
        experiment = asked.get(planned.id)
        record = records.get(experiment.stem) if experiment else None
        verdict = record.verdicts.get(planned.id) if record else None
        return ClaimState(
            plan=planned, experiment=experiment, record=record if verdict else None, verdict=verdict
        )

    return {id_: state_of(planned) for id_, planned in plan.claims.items()}


def _refuse_unknown(names: Iterable[str], known: Container[str], file: str, field: str) -> None:
    for name in names:
        if name not in known:
            raise OrreryError(f"{file}: {field}: {name} does not exist")
