"""Reads the plan's YAML files and holds every row against its type; only when they changed."""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from orrery.errors import OrreryError
from orrery.plan.model import (
    AREAS,
    TABLES,
    TRANSLATED,
    LearningPath,
    PlannedSystem,
    Translation,
)

_STRICT = ConfigDict(extra="forbid", strict=True, str_min_length=1)
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Rows = list[dict[str, Any]]


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Builds plain values only, and refuses a field that stands twice in a row."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A row.

        Raises:
            ConstructorError: a field stands twice.
        """
        names = [key.value for key, _ in node.value]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"field {twice[0]} stands twice", node.start_mark
            )
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def read_tables(content: Path) -> dict[str, Rows]:
    """The four tables and the paths, as plain JSON values, in the plan's order.

    Raises:
        OrreryError: a file is no YAML, a row does not fit its type, an id stands twice or a
            reference leads nowhere.
    """
    tables = {name: _read_table(content / "en" / name, row) for name, row in TABLES.items()}
    tables["paths"] = _read_file(content / "paths.yaml", LearningPath)
    _check_ids(tables)
    _check_references(tables)
    return tables


def read_translations(content: Path, language: str) -> dict[str, Rows]:
    """By table: each translated row's id, the digest of its English, and its texts.

    Raises:
        OrreryError: a file is no YAML or a row does not fit.
    """
    found: dict[str, Rows] = {}
    for table, allowed in TRANSLATED.items():
        rows = []
        for file in sorted((content / language / table).glob("*.yaml")):
            for row in _load(file):
                texts = {key: value for key, value in row.items() if key not in ("id", "of")}
                if not texts or not set(texts) <= set(allowed):
                    names = ", ".join(allowed)
                    raise OrreryError(f"{file}: {row.get('id')}: translate some of {names}")
                rows.append({key: row.get(key) for key in ("id", "of")} | {"texts": texts})
            _validate(file, rows, Translation)
        found[table] = rows
    return found


def _read_table(folder: Path, row: type) -> Rows:
    """All rows of a table; a file of systems is named after its area, and sorted like the areas."""
    files = sorted(folder.glob("*.yaml"))
    if row is not PlannedSystem:
        return [found for file in files for found in _read_file(file, row)]
    unknown = {file.stem for file in files} - set(AREAS)
    if unknown:
        raise OrreryError(f"{folder}: {', '.join(sorted(unknown))}: no such area")
    files.sort(key=lambda file: AREAS.index(file.stem))
    return [found for file in files for found in _read_file(file, row, area=file.stem)]


def _read_file(file: Path, row: type, **implied: str) -> Rows:
    return _validate(file, [found | implied for found in _load(file)], row)


def _load(file: Path) -> Rows:
    try:
        rows = _Loader(file.read_bytes()).get_single_data()
    except yaml.YAMLError as error:
        raise OrreryError(f"{file}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(rows, list) or not all(isinstance(found, dict) for found in rows):
        raise OrreryError(f"{file}: must be a list of rows, each with an id")
    return rows


def _validate(file: Path, rows: Rows, row: type) -> Rows:
    model = _checked(row)
    return [_valid(file, found, model) for found in rows]


def _valid(file: Path, found: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    try:  # by way of JSON, where a list may stand for a tuple even in strict mode
        return model.model_validate_json(json.dumps(found, default=str)).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise OrreryError(f"{file}: {found.get('id')}: {field}: {first['msg']}") from None


def _checked(row: type) -> type[BaseModel]:
    """A pydantic model of the same fields: strict, and an unknown field is an error."""
    shape: dict[str, Any] = {
        field.name: (field.type, ... if field.default is MISSING else field.default)
        for field in fields(row)
    }
    return create_model(row.__name__, __config__=_STRICT, **shape)


def _check_ids(tables: dict[str, Rows]) -> None:
    seen: dict[str, str] = {}
    for table in TABLES:
        for row in tables[table]:
            if row["id"] in seen:
                raise OrreryError(f"id {row['id']} stands in {seen[row['id']]} and in {table}")
            seen[row["id"]] = table


def _check_references(tables: dict[str, Rows]) -> None:
    ids = {table: {row["id"] for row in tables[table]} for table in TABLES}
    anywhere = set().union(*ids.values())
    links = (
        ("systems", "depends_on", ids["systems"]),
        ("practice", "systems", ids["systems"]),
        ("guide", "links", anywhere),
        ("paths", "blocks", ids["guide"]),
    )
    for table, field, allowed in links:
        for row in tables[table]:
            for lost in set(row[field]) - allowed:
                raise OrreryError(f"{row.get('id', row.get('name'))}: {field}: no id {lost}")
    for row in tables["paths"]:
        for lost in {row["role"], row["goal"]} - ids["guide"]:
            raise OrreryError(f"path {row['name']}: no id {lost}")
