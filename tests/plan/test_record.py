"""The record's schema: what the lab writes comes back equal, and nothing else passes."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from orrery.plan.record import Record

VERDICT = {
    "id": "relu-6x", "text": "ReLU trains faster", "verdict": "holds", "effect": 0.5,
    "margin": 0.0, "low": 0.1, "high": 0.9, "p": None, "seeds": 5, "reason": "interval above",
}  # fmt: skip
RECORD: dict[str, Any] = {
    "schema": 1, "area": "foundations", "stem": "depth", "question": "Does depth help?",
    "scale": "full", "settings": {"steps": 3}, "seeds": [0, 1], "commit": "abc",
    "created": "2026-01-01T00:00:00+00:00", "machine": {"cores": 2}, "versions": {"torch": "2"},
    "seconds": 1.5, "controls": [], "verdicts": [VERDICT], "ablations": {"none": [VERDICT]},
    "measured": [{"a": 1.0}, {"a": 2.0}],
}  # fmt: skip


def test_round_trip():
    record = Record.model_validate_json(json.dumps(RECORD))
    assert json.loads(record.model_dump_json()) == RECORD
    assert next(iter(record.model_dump())) == "schema"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2),
        ("seconds", -1.0),
        ("measured", [{"a": float("nan")}]),
        ("measured", [{"a": "high"}]),
        ("verdicts", [VERDICT | {"verdict": "maybe"}]),
        ("verdicts", [VERDICT | {"effect": float("inf")}]),
        ("verdicts", [VERDICT | {"seeds": 0}]),
        ("unknown", 1),
    ],
)
def test_what_does_not_fit_is_refused(field, value):
    with pytest.raises(ValidationError, match=field if field != "unknown" else "Extra"):
        Record.model_validate(RECORD | {field: value})


@pytest.mark.parametrize("field", sorted(RECORD.keys() - {"schema"}))
def test_every_field_is_needed(field):
    with pytest.raises(ValidationError, match=field):
        Record.model_validate({key: value for key, value in RECORD.items() if key != field})
