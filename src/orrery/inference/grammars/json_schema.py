"""Reading a JSON Schema: every keyword is known or refused, references and `allOf` are resolved.

Source: JSON Schema 2020-12, Core and Validation.
Differs from the source: only the keywords in `SUPPORTED`; any other that says what is allowed is
refused by name and place, as is `oneOf` where two branches may both fit.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any
from urllib.parse import unquote

from orrery.inference.grammars.json_schema_merge import Schema, merged, refuse, same
from orrery.inference.grammars.json_strings import FORMATS

KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")
ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
    "$schema", "$id", "$comment", "$defs", "definitions",
})  # fmt: skip
COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
SUPPORTED = frozenset({
    "type", "enum", "const", "properties", "required", "additionalProperties", "items",
    "prefixItems", *COUNTS, "pattern", *BOUNDS, "anyOf", "oneOf", "allOf", "$ref", "format",
})  # fmt: skip
STEPS = 64  # references and `allOf` that lead from one schema to the next
GREATEST = 1e308
WORK = 20_000  # schemas that are made flat for one document
BRANCHES = 64  # of a `oneOf`


def step_to(name: str) -> str:
    """A name as a step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def kind_of(value: object) -> str:
    """The type of a value of JSON."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        whole = isinstance(value, int) or value.is_integer()
        return "integer" if whole else "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names[type(value)]


def kinds(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The types that it names, in its order; all if it names none."""
    named = schema.get("type", KINDS)
    return (named,) if isinstance(named, str) else tuple(dict.fromkeys(named))


def check(schema: object, pointer: str) -> Schema:
    """A schema all of whose keywords are known and have values of the right kind.

    Raises:
        UsageError: it is none.
    """
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        refuse(pointer, "a schema is an object, true or false")
    for name in schema:
        if name == "uniqueItems" and schema[name] is False:
            continue
        if name not in SUPPORTED and name not in ANNOTATIONS:
            refuse(pointer, f"keyword {str(name)[:60]!r} is not supported")
    _check_values(schema, pointer)
    _check_lists(schema, pointer)
    return schema


def _are(values: object, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(one, kind) for one in values)


def _check_lists(schema: Mapping[str, Any], pointer: str) -> None:
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if name in schema and not (isinstance(schema[name], list) and schema[name]):
            refuse(pointer, f"{name} must be a list of schemas")
    if not isinstance(schema.get("properties", {}), dict):
        refuse(pointer, "properties must be an object")
    if not _are(schema.get("required", []), str):
        refuse(pointer, "required must be a list of names")
    named = schema.get("type", [])
    if not (
        named in KINDS if isinstance(named, str) else _are(named, str) and set(named) <= {*KINDS}
    ):
        refuse(pointer, f"type must be of {', '.join(KINDS)}")


def _check_values(schema: Mapping[str, Any], pointer: str) -> None:
    for name in COUNTS:
        value = schema.get(name, 0)
        if kind_of(value) != "integer" or not 0 <= value < GREATEST:
            refuse(pointer, f"{name} must be a whole number of at least 0")
    for name in BOUNDS:
        value = schema.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse(pointer, f"{name} must be a number")
        if not abs(value) < GREATEST:
            refuse(pointer, f"{name} must be a number that a double has")
    for name in ("pattern", "$ref", "format"):
        if not isinstance(schema.get(name, ""), str):
            refuse(pointer, f"{name} must be a string")
    if schema.get("format", "date") not in FORMATS:
        refuse(pointer, f"format {schema['format'][:60]!r} is not supported")
    if not isinstance(schema.get("enum", []), list):
        refuse(pointer, "enum must be a list of values")


class SchemaReader:
    """One document: its schemas by reference, each made flat when it is asked for."""

    def __init__(self, root: object) -> None:
        self.root, self._work = root, 0

    def flat(self, schema: object, pointer: str, steps: int = STEPS) -> Schema:
        """The same without $ref, allOf, oneOf and const; anyOf may be left.

        Raises:
            UsageError: it is not supported, or refers to itself without end.
        """
        self._work += 1
        if steps <= 0 or self._work > WORK:
            refuse(pointer, "references or allOf lead on and on")
        schema = check(schema, pointer)
        if isinstance(schema, bool):
            return schema
        rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS and k != "uniqueItems"}
        parts: list[Schema] = []
        if "$ref" in rest:
            reference = rest.pop("$ref")
            parts.append(self.flat(self.target(reference, pointer), reference, steps - 1))
        for i, part in enumerate(rest.pop("allOf", [])):
            parts.append(self.flat(part, f"{pointer}/allOf/{i}", steps - 1))
        if "const" in rest:
            parts.append({"enum": [rest.pop("const")]})
        if "oneOf" in rest:
            branches = rest.pop("oneOf")
            self._check_apart(branches, f"{pointer}/oneOf", steps - 1)
            parts.append({"anyOf": branches})
        found: Schema = rest
        for part in parts:
            found = merged(found, part, pointer)
        return found

    def target(self, reference: str, pointer: str) -> object:
        """The schema that a reference means.

        Raises:
            UsageError: there is none in this document.
        """
        here: Any = self.root
        if reference != "#" and not reference.startswith("#/"):
            refuse(pointer, f"$ref {reference[:60]!r} leads out of the document")
        for step in unquote(reference).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(here, dict) and step in here:
                here = here[step]
            elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
                here = here[int(step)]
            else:
                refuse(pointer, f"$ref {reference[:60]!r} leads nowhere")
        return here

    def _check_apart(self, branches: Sequence[object], pointer: str, steps: int) -> None:
        if len(branches) > BRANCHES:
            refuse(pointer, f"more than {BRANCHES} branches")
        flat = [self.flat(one, f"{pointer}/{i}", steps) for i, one in enumerate(branches)]
        for (i, one), (j, other) in combinations(enumerate(flat), 2):
            if not self.apart(one, other, pointer):
                refuse(pointer, f"branches {i} and {j} may both fit; only anyOf is supported then")

    def apart(self, one: Schema, other: Schema, pointer: str, steps: int = 8) -> bool:
        """Whether it is sure that no value fits both of these, which are flat."""
        if isinstance(one, bool) or isinstance(other, bool):
            return one is False or other is False
        if steps <= 0:
            return False
        for left, right in ((one, other), (other, one)):
            if "anyOf" in left:
                branches = [self.flat(x, f"{pointer}/anyOf", steps) for x in left["anyOf"]]
                return all(self.apart(x, right, pointer, steps - 1) for x in branches)
        if "enum" in one and "enum" in other:
            return not any(same(x, y) for x in one["enum"] for y in other["enum"])
        shared = _broad(one) & _broad(other)
        if shared != {"object"}:
            return not shared
        if "enum" in one or "enum" in other:
            return False
        names = {*one.get("required", [])} & {*other.get("required", [])}
        both = names & one.get("properties", {}).keys() & other.get("properties", {}).keys()
        pairs = ((one["properties"][name], other["properties"][name]) for name in sorted(both))
        flat = ((self.flat(x, pointer, steps), self.flat(y, pointer, steps)) for x, y in pairs)
        return any(self.apart(x, y, pointer, steps - 1) for x, y in flat)


def _broad(schema: Mapping[str, Any]) -> set[str]:
    """The types of the values that may fit; whole numbers are numbers."""
    named = {"number" if kind == "integer" else kind for kind in kinds(schema)}
    if "enum" in schema:
        found = (kind_of(value) for value in schema["enum"])
        named &= {"number" if kind == "integer" else kind for kind in found}
    return named
