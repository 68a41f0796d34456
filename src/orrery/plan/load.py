"""The plan, loaded: from a cache while the YAML files are as they were, else read and validated."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from orrery.cache import made_from
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


def text_digest(row: dict[str, Any], fields: tuple[str, ...]) -> str:
    """What a translation notes of the English it was made from: short, and changed by any edit."""
    text = json.dumps([row[field] for field in fields], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def stale_translations(language: Language, content: Path = CONTENT) -> dict[str, str]:
    """By id: the digest of today's English, where a translation was made from another.

    An id that the plan no longer has comes with an empty digest.
    """
    tables = _cached_tables(content)
    stale: dict[str, str] = {}
    for table, rows in _cached_translations(content, language).items():
        english = {row["id"]: row for row in tables[table]}
        digests = {found["id"]: _digest_of(found, english, table) for found in rows}
        stale |= {row["id"]: digests[row["id"]] for row in rows if digests[row["id"]] != row["of"]}
    return stale


def _translate(tables: dict[str, Any], translations: dict[str, Any]) -> None:
    for table, rows in translations.items():
        english = {row["id"]: row for row in tables[table]}
        for found in rows:
            if found["of"] == _digest_of(found, english, table):
                english[found["id"]].update(found["texts"])


def _digest_of(found: dict[str, Any], english: dict[str, Any], table: str) -> str:
    """Digest of the English of the texts that a translation gives."""
    fields = tuple(field for field in TRANSLATED[table] if field in found["texts"])
    return text_digest(english[found["id"]], fields) if found["id"] in english else ""


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
