"""`orrery.inference.grammars.json_strings`: lengths, patterns and formats, as they are spelled."""

import datetime
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.inference.grammars.grammar import Grammar
from orrery.inference.grammars.grammar_nodes import END, Nodes
from orrery.inference.grammars.json_grammar import grammar
from orrery.inference.grammars.json_strings import other
from tests.inference.grammars.constrained import drawn

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
ANY = grammar({"type": "string"})
COUNTED = grammar({"type": "string", "minLength": 2, "maxLength": 5})
PATTERN = '[a-c"\\\\\n\x01\x1fé]{2}'
MATCHED = grammar({"type": "string", "pattern": PATTERN, "maxLength": 6})


@settings(max_examples=40, deadline=None)
@given(TEXT, st.booleans())
def test_the_length_is_counted_in_characters(text, ascii_only):
    data = json.dumps(text, ensure_ascii=ascii_only).encode()
    assert COUNTED.accepts(data) == (2 <= len(text) <= 5)
    assert ANY.accepts(data)


@settings(deadline=None)
@given(st.text('abcd"\\\n\x01\x1f\x02é', max_size=8))
def test_a_pattern_is_of_the_characters_and_not_of_their_spelling(text):
    data = json.dumps(text, ensure_ascii=False).encode()
    assert MATCHED.accepts(data) == (re.search(PATTERN, text) is not None and len(text) <= 6)


@pytest.mark.parametrize(
    "inside", ["\\x", "\\u12", "\\", "\n", "\\ud800", "\\udc00\\ud800", '"', "\\ud800x"]
)
def test_what_is_no_string(inside):
    assert not grammar({"type": "string"}).accepts(f'"{inside}"'.encode())


@pytest.mark.parametrize(
    "data", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
)
def test_what_is_no_utf8(data):
    assert not grammar({"type": "string"}).accepts(b'"' + data + b'"')


def form(name):
    return grammar({"type": "string", "format": name})


@settings(deadline=None)
@given(st.integers(0, 10001), st.integers(0, 13), st.integers(0, 32))
def test_a_date_is_a_day_of_the_calendar(year, month, day):
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        expected = datetime.date(year, month, day).isoformat() == text
    except ValueError:
        expected = False
    assert DATES.accepts(f'"{text}"'.encode()) == expected


DATES = form("date")


@pytest.mark.parametrize("seed", range(5))
def test_dates_and_times_can_be_read(seed):
    datetime.datetime.fromisoformat(json.loads(drawn(form("date-time"), seed, 12)))
    datetime.time.fromisoformat(json.loads(drawn(form("time"), seed, 12)))


@pytest.mark.parametrize(
    ("name", "text", "fits"),
    [
        ("time", "23:59:59Z", 1),
        ("time", "24:00:00Z", 0),
        ("time", "10:00:00", 0),
        ("date-time", "2024-02-29T00:00:00.25+01:00", 1),
        ("date-time", "2023-02-29T00:00:00Z", 0),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", 1),
        ("uuid", "123e4567", 0),
        ("ipv4", "255.0.10.1", 1),
        ("ipv4", "256.0.0.1", 0),
        ("ipv4", "01.0.0.1", 0),
        ("email", "a.b@c-d.org", 1),
        ("email", "a@b", 0),
        ("email", "a b@c.org", 0),
    ],
)
def test_formats(name, text, fits):
    assert form(name).accepts(f'"{text}"'.encode()) == bool(fits)


@settings(max_examples=50, deadline=None)
@given(st.text("abé\n\x02", max_size=4))
def test_another_name_is_any_string_but_those(text):
    assert OTHER.accepts(json.dumps(text, ensure_ascii=False).encode()) == (text not in NAMES)


NAMES = ["a", "ab", "é\n", "", "ba\x02"]
NODES = Nodes()
OTHER = Grammar(NODES, other(NODES, NAMES, END))
