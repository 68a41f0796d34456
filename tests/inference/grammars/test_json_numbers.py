"""`orrery.inference.grammars.json_numbers`: exactly the numbers between two bounds."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import UsageError
from orrery.inference.grammars.json_grammar import grammar

BOUNDS = st.integers(-1100, 1100) | st.decimals(-30, 30, places=1).map(float)


def within(value, schema):
    return (
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and (value > schema.get("exclusiveMinimum", value - 1))
        and (value < schema.get("exclusiveMaximum", value + 1))
    )


def accepts(schema, numbers):
    try:
        found = grammar(schema)
    except UsageError as error:
        if "no text fits" not in str(error):
            raise
        return [False for _ in numbers]
    return [found.accepts(number.encode()) for number in numbers]


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "minimum": BOUNDS,
        "maximum": BOUNDS,
        "exclusiveMinimum": BOUNDS,
        "exclusiveMaximum": BOUNDS,
    },
)


@settings(max_examples=15, deadline=None)
@given(LIMITS, st.lists(st.integers(-12_000, 12_000), min_size=30, max_size=30))
def test_whole_numbers(limits, drawn):
    numbers = [*drawn, *range(-30, 31), *(int(x) + i for x in limits.values() for i in (-1, 0, 1))]
    found = accepts({"type": "integer", **limits}, map(str, numbers))
    assert found == [within(number, limits) for number in numbers]


@settings(max_examples=15, deadline=None)
@given(LIMITS, st.lists(st.decimals(-1300, 1300, places=3), min_size=30, max_size=30))
def test_numbers_with_places(limits, drawn):
    texts = [str(number) for number in drawn if number] + [str(x) for x in limits.values() if x]
    texts = [text for text in texts if not text.startswith("-0.000")]
    expected = [within(json.loads(text), limits) for text in texts]
    assert accepts({"type": "number", **limits}, texts) == expected


@pytest.mark.parametrize("text", ["01", "-0", "+1", "1.", ".5", "1e", "--1", "", "1.0", "1e2"])
def test_what_is_no_whole_number(text):
    assert accepts({"type": "integer"}, [text]) == [False]
    assert accepts({"type": "integer", "minimum": -5}, [text]) == [False]


@pytest.mark.parametrize(
    ("text", "fits"), [("0", 1), ("-0.5e-10", 1), ("1E+9", 1), ("1.50", 1), ("01", 0), ("1e999", 0)]
)
def test_numbers_without_bounds(text, fits):
    assert accepts({"type": "number"}, [text]) == [bool(fits)]


def test_bounds_that_a_double_cannot_tell_apart_are_refused():
    for bound in (0.1234567890123456, 1e300, 1e-300, 123456789012.3456):
        with pytest.raises(UsageError, match="digits"):
            grammar({"type": "number", "minimum": bound})
    assert accepts({"type": "number", "exclusiveMinimum": 0.1}, ["0.1", "0.10001"]) == [False, True]
    assert accepts({"type": "integer", "minimum": 10**90}, [str(10**90 - 1), str(10**90)]) == [
        False,
        True,
    ]
