"""A small checkout for tests of the catalog: one system, one experiment, one record."""

import json
from pathlib import Path
from typing import Any

SYSTEM = '''"""Residual nets."""

from orrery.catalog import System

SYSTEM = System(
    stem="resnet", area="foundations", title="ResNet", year=2015,
    papers=("arXiv:1512.03385",), builds_on=(), realises=("resnet", "residual-connection"),
)  # fmt: skip


class ResNet:
    """Not read."""
'''
EXPERIMENT = '''"""Do shortcuts help deep nets?

More text.
"""

from orrery.lab import Claim, Control, Finding
from orrery.systems.foundations.resnet import ResNet

CLAIMS = (
    Claim("resnet-error", effect=lambda m: m["a"] - m["b"]),
    Finding("A question "
            "of our own.", effect=lambda m: m["a"], margin=0.1),
    Control("Both arms train.", effect=lambda m: m["c"], margin=3.0),
)
ABLATIONS = ("no_shortcut",)
SEEDS = 5
'''
VERDICT: dict[str, Any] = {
    "id": "resnet-error", "text": "Residual nets err less.", "verdict": "fails", "effect": -0.25,
    "margin": 0.0, "low": -0.5, "high": -0.125, "p": 0.9, "seeds": 5, "reason": "below the margin",
}  # fmt: skip
RECORD: dict[str, Any] = {
    "schema": 1, "area": "foundations", "stem": "depth", "question": "Do shortcuts help deep nets?",
    "scale": "full", "settings": {"steps": 3}, "seeds": [0], "commit": "abc",
    "created": "2026-01-01T00:00:00+00:00", "machine": {"cores": 2}, "versions": {"torch": "2"},
    "seconds": 1.5, "controls": [], "verdicts": [VERDICT], "ablations": {"no_shortcut": [VERDICT]},
    "measured": [{"a": 1.0}],
}  # fmt: skip
FILES = {
    "src/orrery/systems/foundations/resnet.py": SYSTEM,
    "src/orrery/systems/foundations/__init__.py": '"""Area."""\n',
    "src/orrery/experiments/foundations/depth.py": EXPERIMENT,
    "src/orrery/experiments/foundations/__init__.py": '"""Area."""\n',
    "tests/systems/foundations/test_resnet.py": "",
    "tests/systems/foundations/test_resnet_weights.py": "",
    "tests/systems/foundations/test_other.py": "",
    "records/foundations/depth.json": json.dumps(RECORD),
}


def build(folder: Path, changes: dict[str, str | None] | None = None) -> Path:
    """Write the checkout, with other files or without some; returns its package."""
    for name, text in {**FILES, **(changes or {})}.items():
        if text is not None:
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return folder / "src" / "orrery"
