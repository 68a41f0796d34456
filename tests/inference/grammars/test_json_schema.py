"""`json_schema`: references, several schemas at once, and branches kept apart."""

import pytest

from orrery.errors import UsageError
from orrery.inference.grammars.json_schema import SchemaReader


def flat(schema):
    return SchemaReader(schema).flat(schema, "#")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"title": "x", "type": "null", "default": 3}, {"type": "null"}),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"minimum": 2}}}, {"minimum": 2}),
        ({"$ref": "#/$defs/p%25", "$defs": {"p%": True}, "minimum": 1}, {"minimum": 1}),
        (
            {"allOf": [{"minimum": 1}, {"minimum": 3, "maximum": 5}], "maximum": 4},
            {"minimum": 3, "maximum": 4},
        ),
        ({"allOf": [{"type": ["null", "integer"]}, {"type": "number"}]}, {"type": ["integer"]}),
        ({"allOf": [{"type": "null"}, {"type": "string"}]}, False),
        ({"allOf": [True, False]}, False),
        ({"allOf": [{"enum": [1, "a", True]}, {"const": 1.0}]}, {"enum": [1.0]}),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, {"pattern": ("b", "a")}),
        (
            {
                "allOf": [
                    {"properties": {"a": {"type": "null"}}, "additionalProperties": False},
                    {"properties": {"b": True}, "required": ["a"]},
                ]
            },
            {
                "properties": {"b": False, "a": {"type": "null"}},
                "required": ["a"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_several_schemas_at_once(schema, expected):
    found = flat(schema)
    if isinstance(found, dict) and "pattern" in found:
        assert sorted(found["pattern"]) == ["a", "b"]
    else:
        assert found == expected


A, B = {"type": "object", "required": ["k"]}, {"k": {"const": 1}}


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ({"type": "string"}, {"type": "number"}, True),
        ({"type": "integer"}, {"type": "number"}, False),
        ({"const": 1}, {"const": 2}, True),
        ({"const": 1}, {"const": 1.0}, False),
        ({"const": 1}, {"const": True}, True),
        ({"enum": [1, 2]}, {"type": "string"}, True),
        ({"enum": [1, "a"]}, {"type": "string"}, False),
        (False, True, True),
        (True, {}, False),
        ({**A, "properties": B}, {**A, "properties": {"k": {"const": 2}}}, True),
        ({**A, "properties": B}, {"type": "object", "properties": {"k": {"const": 2}}}, False),
        ({"anyOf": [{"const": 1}, {"type": "null"}]}, {"type": "string"}, True),
        ({"anyOf": [{"const": 1}, {"type": "string"}]}, {"type": "string"}, False),
    ],
)
def test_branches_of_a_oneof_must_be_sure_to_be_apart(one, other, apart):
    schema = {"oneOf": [one, other]}
    if apart:
        assert flat(schema) == {"anyOf": [one, other]}
    else:
        with pytest.raises(UsageError, match="branches 0 and 1 may both fit"):
            flat(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 3},
        {"required": "a"},
        {"properties": []},
        {"anyOf": []},
        {"minLength": -1},
        {"minItems": 1.5},
        {"maximum": "3"},
        {"minimum": True},
        {"pattern": 1},
        {"enum": 3},
        3,
        None,
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(schema):
    with pytest.raises(UsageError, match="schema at #"):
        flat(schema)


def test_a_merge_that_would_not_end_is_refused():
    twice = {
        "allOf": [
            {"properties": {"c": {"$ref": "#"}}},
            {"properties": {"c": {"$ref": "#", "minLength": 1}}},
        ]
    }
    found = flat(twice)
    assert set(found["properties"]) == {"c"}
    with pytest.raises(UsageError, match="lead on and on"):
        flat({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}})
    with pytest.raises(UsageError, match="two anyOf at once"):
        flat({"allOf": [{"anyOf": [True]}, {"anyOf": [False]}]})
