"""What an experiment can be wrong about: claims, findings and controls."""

from collections.abc import Callable
from dataclasses import dataclass

Measured = dict[str, float]
"""What one seed of an experiment measured: "arm/quantity" -> number."""

Effect = Callable[[Measured], float]


@dataclass(frozen=True, slots=True)
class Claim:
    """A checkable sentence of the plan; it holds where `effect` exceeds `margin` beyond doubt.

    The plan's sentence, its correction and its source stand in the plan's content under `id`.
    """

    id: str
    effect: Effect
    margin: float = 0.0
    text: str = ""
    """What is put to the test here, where that is narrower than the plan's sentence."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A question of our own, judged like a claim."""

    text: str
    effect: Effect
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Control:
    """What must come out as expected before anything is judged."""

    text: str
    effect: Effect
    margin: float = 0.0


Question = Claim | Finding | Control
