"""Which of the things said about SGD, momentum, AdaGrad, RMSprop and Adam hold?

Six rules, each at eleven learning rates half a decade apart, train small models on four tasks; all
rates see the same batches from the same start. `pictures`: a network of two layers classifies
Fashion-MNIST in small batches. `drift`: the same, for twice as long, while every class
changes its number eight times. `words`: ten plays of Shakespeare are told apart by sixteen words,
most of which are rare. `whole`: least squares on all pictures at once, a badly conditioned bowl
without noise. A rule's loss is its mean over the second half of the training, at its best rate.

That momentum accelerates is tested where it is a theorem, on the bowl: steps of SGD for one step of
momentum. That AdaGrad's falling rate harms is tested under drift, against RMSprop. That Adam needs
little tuning is taken at its word: a single rate is to serve both pictures and words, and the loss
it gives away on the worse of the two is compared with what SGD gives away.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import fashion_mnist, shakespeare
from orrery.data.pictures import draw_pictures
from orrery.experiments.foundations._rates import (
    RATES,
    RULES,
    STYLES,
    WORST,
    best,
    curves_figure,
    decades,
    given_away,
    inside,
    usable,
)
from orrery.experiments.foundations._tasks import (
    Task,
    drift,
    pictures,
    rare_rate,
    whole,
    words,
)
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.train.side_by_side import SideBySide

TASKS = ("pictures", "drift", "words", "whole")
BOTH = ("pictures", "words")
TOP = 3.5  # of the losses that are drawn
LENGTHS = {"drift": 2}  # a rate that falls with the root of time needs time to do harm

CLAIMS = (
    Claim(
        "momentum-accelerates",
        effect=lambda m: m["whole/speedup"],
        margin=1.0,
        text="on a whole batch momentum needs fewer steps than plain gradient descent",
    ),
    Claim(
        "adagrad-decay",
        effect=lambda m: best(m, "drift", "adagrad") - best(m, "drift", "rmsprop"),
        text="where the task drifts, RMSprop's moving average beats AdaGrad's growing sum",
    ),
    Claim(
        "adam-robust",
        effect=lambda m: given_away(m, BOTH, "sgd") - given_away(m, BOTH, "adam"),
        text="with one rate for two tasks Adam gives away less than SGD",
    ),
    Finding(
        "on one task, too, more rates suit Adam than SGD",
        effect=lambda m: usable(m, "pictures", "adam") - usable(m, "pictures", "sgd"),
    ),
    Finding(
        "AdaGrad's rate is higher for the rarer half of the words than for the other",
        effect=lambda m: m["words/rare_rate"],
        margin=1.0,
    ),
    Finding(
        "on sparse words AdaGrad beats SGD by a tenth of a nat, each at its best rate",
        effect=lambda m: best(m, "words", "sgd") - best(m, "words", "adagrad"),
        margin=0.1,
    ),
    Finding(
        "under drift the averaged gradient harms: RMSprop beats Adam",
        effect=lambda m: best(m, "drift", "adam") - best(m, "drift", "rmsprop"),
    ),
    Control(
        "every rule learns pictures and words: under three quarters of the loss of guessing",
        effect=lambda m: (
            0.75 * math.log(10) - max(best(m, task, rule) for task in BOTH for rule in RULES)
        ),
    ),
    Control(
        "every best rate on pictures, drift and words has worse ones on both sides",
        effect=lambda m: float(all(inside(m, task, r) for task in TASKS[:3] for r in RULES)),
        margin=0.5,
    ),
)
ABLATIONS = ("no_momentum",)
SCALES = {
    "smoke": {"steps": 10, "images": 64, "whole": 64},
    "tour": {"steps": 60},
    "large": {"steps": 20_000, "images": 60_000, "whole": 60_000, "width": 512},
}


class OptimisersSettings(Settings):
    """A smoke run takes ten steps with few pictures; a tour fewer steps."""

    steps: Annotated[int, Range(10, 1_000_000)] = 300
    """Optimiser steps at each rate; twice as many under drift."""
    images: Annotated[int, Range(16, 60_000)] = 8_192
    """Pictures to train on."""
    whole: Annotated[int, Range(16, 60_000)] = 1_024
    """Pictures that are taken all at once."""
    width: Annotated[int, Range(1, 4_096)] = 64
    """Of the network's hidden layer."""
    batch: Annotated[int, Range(1, 4_096)] = 64
    """Pictures or passages in a batch."""
    vocab: Annotated[int, Range(2, 50_000, "words")] = 4_096
    """Words that are told apart, the most frequent ones."""


def run(settings: OptimisersSettings, lab: Lab) -> Measured:
    """Sweep the rates of every rule on every task."""
    measured: Measured = {}
    curves: dict[str, dict[str, Tensor]] = {}
    for name, task in tasks(settings, lab).items():
        steps = settings.steps * LENGTHS.get(name, 1)
        curves[name] = {}
        for rule, kind in RULES.items():
            rates = [10**decade for decade in decades(rule)]
            copies = SideBySide(task.model, task.loss, rates, steps=steps, lost=1e6)
            optimiser = kind(copies.to(lab.device).groups())
            if rule == "momentum" and lab.ablated("no_momentum"):
                for group in optimiser.param_groups:
                    group["momentum"] = 0.0
            for step in lab.steps(f"{name}-{rule}", steps, state=(copies, optimiser)):
                losses = copies.train_step(step, *task.batch(step), optimiser)
                lab.log(lowest=losses.min())
            last = copies.losses[steps // 2 :].clamp(max=WORST).mean(0)
            measured |= {f"{name}/{rule}/{i}": float(loss) for i, loss in enumerate(last)}
            curves[name][rule] = copies.losses[:, last.argmin()]
            if (name, rule) == ("words", "adagrad"):
                weight = next(copies.models[int(last.argmin())].parameters())
                measured["words/rare_rate"] = rare_rate(optimiser.state[weight]["sum"])
    slow, fast = curves["whole"]["sgd"], curves["whole"]["momentum"]
    measured["whole/speedup"] = settings.steps / (1 + int((fast > slow[-1]).sum()))
    lab.figure("curves", curves_figure(curves))
    return measured


def tasks(settings: OptimisersSettings, lab: Lab) -> dict[str, Task]:
    """The four tasks, each with the model that every rule starts from."""
    count = max(settings.images, settings.whole)
    train, _ = fashion_mnist.load()
    images, labels = draw_pictures(train, count, lab.rng("images"), halvings=1)
    x = images.flatten(1)
    torch.manual_seed(lab.rng("weights").initial_seed())
    still = pictures(
        x[: settings.images], labels, settings.batch, settings.width, partial(lab.rng, "pictures")
    )
    return {
        "pictures": still,
        "drift": drift(still, period=math.ceil(LENGTHS["drift"] * settings.steps / 8)),
        "words": words(
            shakespeare.works(), settings.vocab, settings.batch, partial(lab.rng, "words")
        ),
        "whole": whole(x[: settings.whole], labels[: settings.whole]),
    }


def draw(results: Sequence[Measured], settings: OptimisersSettings) -> dict[str, Figure]:
    """The loss at every rate, with intervals over the seeds."""
    figure, axes = new_figure(10.5, 2.9, columns=len(TASKS))
    for axis, task in zip(axes, TASKS, strict=True):
        for colour, rule in zip(COLOURS, RULES, strict=False):
            mean, half = over_seeds(results, [f"{task}/{rule}/{i}" for i in range(RATES)])
            half = [h if loss < TOP else 0.0 for h, loss in zip(half, mean, strict=True)]
            axis.errorbar(
                decades(rule), mean, half, fmt=f".{STYLES.get(rule, '-')}", color=colour, label=rule
            )
        floor = min(best(m, task, rule) for m in results for rule in RULES)
        axis.set(title=task, xlabel="log10 of the learning rate", ylim=(0.9 * floor, TOP))
    axes[0].set_ylabel("training loss")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return {"rates": figure}
