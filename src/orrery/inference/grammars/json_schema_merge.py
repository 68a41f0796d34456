"""What fits two schemas at once, as one schema."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from orrery.errors import UsageError

Schema = bool | Mapping[str, Any]

TIGHTER: dict[str, Callable[[Any, Any], Any]] = {
    "minimum": max, "exclusiveMinimum": max, "minLength": max, "minItems": max,
    "maximum": min, "exclusiveMaximum": min, "maxLength": min, "maxItems": min,
}  # fmt: skip
OBJECTS = ("properties", "additionalProperties")


def refuse(pointer: str, what: str) -> NoReturn:
    """Say where a schema cannot be used, and why.

    Raises:
        UsageError: always.
    """
    raise UsageError(f"schema at {repr(pointer[:100])[1:-1]}: {what}")


def same(one: object, other: object) -> bool:
    """Whether two values are equal as JSON has it: 1 is 1.0, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one == other


def both(one: Any, other: Any) -> Any:
    """A schema that asks for both of two, which may be missing."""
    if one is None or other is None:
        return other if one is None else one
    if one is True or other is True or same(one, other):
        return other if one is True else one
    return False if one is False or other is False else {"allOf": [one, other]}


def merged(one: Schema, other: Schema, pointer: str) -> Schema:
    """One schema for two that are flat.

    Raises:
        UsageError: they have keywords that cannot be asked for together.
    """
    if isinstance(one, bool):
        return other if one else False
    if isinstance(other, bool):
        return one if other else False
    found = {**one, **other}
    for name in one.keys() & other.keys() - {*OBJECTS}:
        found[name] = _together(name, one, other, pointer)
    if any(name in schema for name in OBJECTS for schema in (one, other)):
        found["properties"] = _properties(one, other)
        more = both(one.get("additionalProperties"), other.get("additionalProperties"))
        if more is not None:
            found["additionalProperties"] = more
    return False if found.get("type") == [] else found


def _together(name: str, one: Mapping[str, Any], other: Mapping[str, Any], pointer: str) -> Any:
    left, right = one[name], other[name]
    if name in TIGHTER:
        return TIGHTER[name](left, right)
    if name == "type":
        return _types(left, right)
    if name == "enum":
        return [value for value in left if any(same(value, x) for x in right)]
    if name == "required":
        return list(dict.fromkeys([*left, *right]))
    if name == "pattern":
        return (*_listed(left), *_listed(right))
    if name == "items" and not ("prefixItems" in one or "prefixItems" in other):
        return both(left, right)
    if not same(left, right):
        refuse(pointer, f"two {name} at once are not supported")
    return left


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _types(left: Any, right: Any) -> list[str]:
    """The types that both name; a whole number is a number too."""
    found = [kind for kind in _listed(left) if kind in _listed(right)]
    for some, others in ((left, right), (right, left)):
        if "integer" in _listed(some) and "number" in _listed(others) and "integer" not in found:
            found.append("integer")
    return found


def _properties(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """For each name what both ask of it; `additionalProperties` is asked of a name not given."""
    left, right = one.get("properties", {}), other.get("properties", {})
    return {
        name: both(
            left.get(name, one.get("additionalProperties")),
            right.get(name, other.get("additionalProperties")),
        )
        for name in {**left, **right}
    }
