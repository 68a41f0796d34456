"""Six update rules at eleven learning rates each, and what their losses say."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from orrery.lab import Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.systems.foundations.optimisers import (
    AdaGrad,
    Adam,
    AdamW,
    Momentum,
    RmsProp,
    Sgd,
    UpdateRule,
)

RULES: dict[str, Callable[[list[dict[str, Any]]], UpdateRule]] = {
    "sgd": Sgd, "momentum": Momentum, "adagrad": AdaGrad,
    "rmsprop": RmsProp, "adam": Adam, "adamw": AdamW,
}  # fmt: skip
RATES = 11
STYLES = {"adamw": ":"}  # it lies on top of adam
WORST = 10.0  # losses are cut off here: a rate that diverges is no better than any other


def decades(rule: str) -> list[float]:
    """The rates of a rule as powers of ten, half a decade apart; rules differ in their range."""
    lowest = -3.5 if rule in ("sgd", "adagrad") else -4.5
    return [lowest + 0.5 * i for i in range(RATES)]


def losses(m: Measured, task: str, rule: str) -> list[float]:
    """The loss at each rate."""
    return [m[f"{task}/{rule}/{i}"] for i in range(RATES)]


def best(m: Measured, task: str, rule: str) -> float:
    """The loss at the best rate."""
    return min(losses(m, task, rule))


def inside(m: Measured, task: str, rule: str) -> bool:
    """Whether the best rate has a worse one on either side."""
    found = losses(m, task, rule)
    return 0 < found.index(min(found)) < RATES - 1


def usable(m: Measured, task: str, rule: str) -> float:
    """Decades of rates that come within a tenth of a nat of the best."""
    good = [loss < best(m, task, rule) + 0.1 for loss in losses(m, task, rule)]
    return 0.5 * sum(good)


def given_away(m: Measured, tasks: tuple[str, ...], rule: str) -> float:
    """Nats lost, on the worst of the tasks, by the one rate that is best for all of them."""
    lost = ([loss - best(m, task, rule) for loss in losses(m, task, rule)] for task in tasks)
    return min(map(max, *lost))


def curves_figure(curves: dict[str, dict[str, Tensor]]) -> Figure:
    """The loss of every rule at its best rate, step by step."""
    figure, axes = new_figure(10.5, 2.9, columns=len(curves))
    for axis, (task, rules) in zip(axes, curves.items(), strict=True):
        for colour, (rule, losses) in zip(COLOURS, rules.items(), strict=False):
            window = 1 if task == "whole" else max(1, len(losses) // 40)
            smooth = F.avg_pool1d(losses.cpu()[None], window)[0]
            steps = torch.arange(len(smooth)) * window
            axis.plot(steps, smooth, STYLES.get(rule, "-"), color=colour, label=rule)
        axis.set(title=task, xlabel="step", yscale="log" if task == "whole" else "linear")
        if task != "whole":
            axis.set_ylim(top=3.0)
    axes[0].set_ylabel("training loss at the best rate")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
