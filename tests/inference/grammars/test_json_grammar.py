"""`orrery.inference.grammars.json_grammar`: whatever is written is JSON and fits the schema.

`python -m tests.inference.grammars.test_json_grammar 10000` draws so many schemas.
"""

import json
import sys
import time

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orrery.errors import UsageError
from orrery.inference.grammars.json_grammar import grammar, read
from tests.inference.grammars.constrained import drawn
from tests.inference.grammars.random_schemas import schemas

UNMET = ("cannot be met", "two ", "beside enum or const", "lead on and on", "more than")


def fits(schema, text):
    judge = jsonschema.Draft202012Validator
    judge(schema, format_checker=judge.FORMAT_CHECKER).validate(json.loads(text))


def check(schema, seed, spare, counts):
    """Draw a text, unless the schema is refused for a reason that random ones may have."""
    try:
        found = grammar(schema)
    except UsageError as error:
        if not any(reason in str(error) for reason in UNMET):
            raise
        counts["refused"] += 1
        return
    text = drawn(found, seed, spare)
    try:
        fits(schema, text)
    except RecursionError:  # the judge's, of a schema that is itself or something else
        counts["unjudged"] += 1
    counts["drawn"] += 1


def draw(examples):
    """Check so many random schemas with random texts; how many were drawn and how many refused."""
    counts = {"drawn": 0, "refused": 0, "unjudged": 0}

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(schemas(), st.integers(0, 2**32), st.integers(0, 40))
    def one(schema, seed, spare):
        check(schema, seed, spare, counts)

    one()
    return counts


def test_whatever_is_written_fits_its_schema():
    counts = draw(60)
    assert counts["drawn"] > counts["refused"]


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "b": {"type": "null"}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("text", "fitting"),
    [
        ('{"name":"x"}', True),
        ('{"name": "x", "age": 3}', True),
        ('{"name":"x","b":null}', True),
        ('{"age":3}', False),
        ('{"name":"x","age":"3"}', False),
        ('{"name":"x",}', False),
        ('{ "name":"x"}', False),
        ('{"name":"x","c":[1, {"d":{}}]}', True),
        ('{"name":"\\u00e9"}', True),
        ('{"name":"\\ud800"}', False),
        ('{"name":"\\ud83d\\ude00"}', True),
        ('{"name":"\n"}', False),
        ('{"name":"x","name":1}', False),
        ('{"name":"x","n\\u0061me":1}', False),
        ('{"name":"x"', False),
    ],
)
def test_an_object(text, fitting):
    assert grammar(PERSON).accepts(text.encode()) == fitting


def test_further_properties_are_the_standards_choice_or_the_callers():
    text = b'{"name":"x","c":1}'
    assert grammar(PERSON).accepts(text)
    assert not grammar(PERSON, additional=False).accepts(text)
    assert not grammar({**PERSON, "additionalProperties": False}).accepts(text)
    assert grammar({**PERSON, "additionalProperties": True}, additional=False).accepts(text)


def test_a_schema_that_refers_to_itself():
    tree = {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}
    assert grammar(tree).accepts(b"[[],[[], []]]")
    assert not grammar(tree).accepts(b"[[],[],[]]")
    both = {
        "allOf": [
            {"additionalProperties": {"$ref": "#"}},
            {"additionalProperties": {"type": "object"}},
        ]
    }
    assert grammar({"type": "object", **both}).accepts(b'{"a":{"b":{}}}')
    link = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    link |= {"required": ["next"], "additionalProperties": False}
    assert grammar(link).accepts(b'{"next":{"next":null}}')
    assert grammar(tree).accepts(b"[" * 60 + b"]" * 60)
    assert not grammar(tree).accepts(b"[" * 70 + b"]" * 70)  # bounded, so that every text parses


def nested(levels):
    found = []
    for _ in range(levels):
        found = [found]
    return found


def deep(levels, **also):
    found = {"type": "integer"}
    for _ in range(levels):
        found = {"type": "array", "items": found, **also}
    return found


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        ({"not": {}}, "schema at #: keyword 'not' is not supported"),
        ({"properties": {"a/b": {"multipleOf": 2}}}, "#/properties/a~1b: keyword 'multipleOf'"),
        ({"items": {"uniqueItems": True}}, "#/items: keyword 'uniqueItems' is not supported"),
        ({"anyOf": [True, {"format": "uri"}]}, "#/anyOf/1: format 'uri' is not supported"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "branches 0 and 1 may both fit"),
        ({"minLength": 10**9}, "minLength is 1000000000; at most"),
        ({"minItems": 10**9}, "minItems is 1000000000; at most"),
        ({"minimum": 10**400}, "minimum must be a number that"),
        ({"pattern": "a{99999}"}, "is too large"),
        ({"$ref": "#"}, "lead on and on"),
        ({"properties": {"a\n'b": {"not": {}}}}, "schema at #/properties/a\\n"),
        ({"allOf": [{"const": nested(900)}, {"const": nested(900)}]}, "nested too deeply"),
        ({"$ref": "#/$defs/x"}, "leads nowhere"),
        ({"$ref": "http://x"}, "leads out of"),
        ({"enum": [1], "minimum": 2}, "minimum beside enum"),
        ({"const": "\ud800"}, "cannot be written"),
        ({"enum": []}, "no text fits"),
        (False, "no text fits"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no text fits"),
        ({"type": "string", "minLength": 2, "maxLength": 1}, "no text fits"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "no text fits"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}, "no text fits"),
        (deep(70, minItems=1), "nested deeper than"),
        ({"properties": {"x" * 20_000: True}}, "the names of properties have more than"),
        ({"type": "any"}, "type must be of"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line_and_soon(schema, line):
    start = time.perf_counter()
    with pytest.raises(UsageError) as error:
        grammar(schema)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert time.perf_counter() - start < 20  # slow machines, and checks of every call in tests


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "the schema is no JSON"),
        ("[" * 10**5, "nested too deeply"),
        ('{"minimum":NaN}', "no JSON"),
        ('{"minimum":1e999}', "minimum must be a number that"),
        ("3", "a schema is an object"),
        ('{"maximum":' + "9" * 5000 + "}", "the schema is no JSON"),
    ],
)
def test_a_file_that_is_no_schema(text, line):
    with pytest.raises(UsageError, match=line):
        read(text)


if __name__ == "__main__":
    print(draw(int(sys.argv[1])))
