"""Learning rates as pure functions of the step, so that a resumed run has the same ones."""

import math

from torch.optim import Optimizer


def warmup_cosine(step: int, steps: int, *, warmup: int = 0, floor: float = 0.1) -> float:
    """Share of the peak rate: up in a line, then down half a cosine to `floor`.

    Args:
        step: from 0 to steps - 1.
        steps: length of the training.
        warmup: steps on the way up; the first of them already moves.
        floor: share of the peak that the last step comes near to.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def trapezoid(step: int, steps: int, *, warmup: int = 0, cooldown: float = 0.4) -> float:
    """Share of the peak rate: up in a line, level, and down in a line over the last part to 0.

    Args:
        step: from 0 to steps - 1.
        steps: length of the training.
        warmup: steps on the way up; the first of them already moves.
        cooldown: share of the training spent on the way down.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return min(1.0, (steps - step) / max(1.0, cooldown * steps))


def scale_rates(optimiser: Optimizer, share: float) -> None:
    """Set every group's rate to `share` of the rate it was made with."""
    for group in optimiser.param_groups:
        peak = group.setdefault("peak_lr", group["lr"])
        group["lr"] = peak * share
