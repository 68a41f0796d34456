"""The plan, loaded: from a cache while the YAML files are as they were, else read and validated."""

import difflib
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from orrery.cache import made_from
from orrery.errors import UsageError
from orrery.plan.model import (
    TRANSLATED,
    GuideEntry,
    LearningPath,
    Plan,
    Planned,
    PlannedClaim,
    PlannedSystem,
    PracticeTask,
)

CONTENT = Path(__file__).parent / "content"
Language = Literal["en", "zh"]
Row = TypeVar("Row")


@cache
def load(language: Language = "en", content: Path = CONTENT) -> Plan:
    """The whole plan; in another language where a row's translation is up to date.

    Raises:
        OrreryError: a content file is wrong.
    """
    tables = _cached_tables(content)
    if language != "en":
        _translate(tables, _cached_translations(content, language))
    return Plan(
        systems=_by_id(PlannedSystem, tables["systems"]),
        claims=_by_id(PlannedClaim, tables["claims"]),
        practice=_by_id(PracticeTask, tables["practice"]),
        guide=_by_id(GuideEntry, tables["guide"]),
        paths={row["name"]: _row(LearningPath, row) for row in tables["paths"]},
    )


def claim_sentence(id_: str) -> str:
    """What a claim of the plan says; where the plan is wrong, what its source says.

    Raises:
        UsageError: there is no such claim; names the nearest ones.
    """
    claims = load().claims
    if id_ not in claims:
        near = difflib.get_close_matches(id_, claims, n=3, cutoff=0.3)
        raise UsageError(f"no claim {id_!r} in the plan; did you mean {' or '.join(near)}?")
    return claims[id_].sentence


def text_digest(row: dict[str, Any], fields: tuple[str, ...]) -> str:
    """What a translation notes of the English it was made from: short, and changed by any edit."""
    text = json.dumps([row[field] for field in fields], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def stale_translations(language: Language, content: Path = CONTENT) -> list[str]:
    """Ids whose English has changed since they were translated, or that are no longer there."""
    tables = _cached_tables(content)
    return [
        found["id"]
        for table, rows in _cached_translations(content, language).items()
        for found in rows
        if not _fits(found, {row["id"]: row for row in tables[table]}, table)
    ]


def _translate(tables: dict[str, Any], translations: dict[str, Any]) -> None:
    for table, rows in translations.items():
        english = {row["id"]: row for row in tables[table]}
        for found in rows:
            if _fits(found, english, table):
                english[found["id"]].update(found["texts"])


def _fits(found: dict[str, Any], english: dict[str, Any], table: str) -> bool:
    row = english.get(found["id"])
    fields = tuple(field for field in TRANSLATED[table] if field in found["texts"])
    return row is not None and found["of"] == text_digest(row, fields)


def _cached_tables(content: Path) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        from orrery.plan.validate import read_tables  # pydantic and yaml load only when needed

        return read_tables(content)

    files = [content / "paths.yaml", *content.glob("en/*/*.yaml")]
    tables: dict[str, Any] = made_from(files, "plan", content, read)
    return tables


def _cached_translations(content: Path, language: Language) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        from orrery.plan.validate import read_translations

        return read_translations(content, language)

    folder = content / language
    found: dict[str, Any] = made_from(folder.glob("*/*.yaml"), "plan", folder, read)
    return found


def _by_id(kind: type[Planned], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["id"]: _row(kind, row) for row in rows}


def _row(kind: type[Row], row: dict[str, Any]) -> Row:
    """A row as its dataclass: JSON's lists are tuples here."""
    return kind(**{key: tuple(v) if type(v) is list else v for key, v in row.items()})
