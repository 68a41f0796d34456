"""What the claims of `lm_compressor` read from its measurements."""

from itertools import combinations

import numpy as np

from orrery.experiments.theory._classics import CLASSICS
from orrery.lab import Measured

CODE = "python_stdlib"


def texts(m: Measured) -> list[str]:
    """The texts that were read."""
    return [key.removesuffix("/gpt") for key in m if key.endswith("/gpt")]


def languages(m: Measured) -> list[str]:
    """The texts that people speak; all, if only code was read."""
    return [t for t in texts(m) if t != CODE] or texts(m)


def least(m: Measured, better: str, worse: str) -> float:
    """Bits a character by which one arm beats another, in the language where it does so least."""
    return min(arm(m, t, worse) - arm(m, t, better) for t in languages(m))


def on_code(m: Measured, better: str, worse: str) -> float:
    """The same on code; 0 where none was read."""
    return arm(m, CODE, worse) - arm(m, CODE, better) if CODE in texts(m) else 0.0


def arm(m: Measured, text: str, name: str) -> float:
    """Bits a character of an arm; `best` and `best+past` are those of the best classic."""
    if name.startswith("best"):
        return min(m[f"{text}/{c}{name.removeprefix('best')}"] for c in CLASSICS)
    return m[f"{text}/{name}"]


def gap(m: Measured, text: str, stage: int) -> float:
    """Relative difference between the coded size and the cross-entropy."""
    return abs(m[f"{text}/coded/{stage}"] / m[f"{text}/entropy/{stage}"] - 1)


def concord(m: Measured, text: str, one: str, other: str) -> float:
    """Kendall's tau over the stages: 1 where two quantities always fall together."""
    stages = sum(key.startswith(f"{text}/{one}/") for key in m)
    pairs = list(combinations(range(stages), 2))
    steps = [[np.sign(m[f"{text}/{q}/{j}"] - m[f"{text}/{q}/{i}"]) for i, j in pairs]
             for q in (one, other)]  # fmt: skip
    return float(np.mean(np.prod(steps, axis=0)))
