"""The table of mutants: for every system that must work, its idea taken out, and who notices.

A mutant is one small replacement in the file of a system; the named test must pass without it and
fail with it. The entries lie in table/<area>.yaml. `python -m tests.mutants` tries them.
"""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import yaml

from orrery import catalog
from orrery.catalog import SystemFile
from orrery.plan.load import load
from orrery.plan.model import Area, PlannedSystem, Tier

AREAS: tuple[Area, ...] = ("foundations", "language")
"""Areas whose systems need a mutant; a new one is added here, with its file of entries."""
TIERS: tuple[Tier, ...] = ("A", "B")

TABLE = Path(__file__).parent / "table"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One idea taken out of one file."""

    id: str
    """Of the plan."""
    idea: str
    """What is removed, in words."""
    file: str
    old: str
    """Stands exactly once in the file."""
    new: str
    test: str
    """path::name of the test that must notice."""

    def applied(self, text: str) -> str:
        """The file's text with the idea removed.

        Raises:
            ValueError: the old text does not stand there exactly once.
        """
        if text.count(self.old) != 1:
            count = text.count(self.old)
            raise ValueError(f"{self.id}: {self.old!r} stands {count} times in {self.file}")
        return text.replace(self.old, self.new)


@cache
def mutants() -> tuple[Mutant, ...]:
    """All entries, area by area.

    Raises:
        ValueError: an entry lacks a field or has one too many.
    """
    found = []
    for area in AREAS:
        for row in yaml.safe_load((TABLE / f"{area}.yaml").read_text(encoding="utf-8")):
            names = {field.name for field in fields(Mutant)}
            if row.keys() != names:
                raise ValueError(f"{area}: {row.get('id')}: fields differ: {row.keys() ^ names}")
            found.append(Mutant(**row))
    return tuple(found)


def planned() -> dict[str, PlannedSystem]:
    """What the plan has of these areas and tiers, by id."""
    rows = load().systems.values()
    return {row.id: row for row in rows if row.area in AREAS and row.tier in TIERS}


def realised() -> dict[str, SystemFile]:
    """The file of each of them that has one, by id."""
    files = {id_: one for one in catalog.systems().values() for id_ in one.system.realises}
    return {id_: files[id_] for id_ in planned() if id_ in files}
