"""Do examples in the prompt help a larger GPT more?

Three GPT-2s of GPT-3's proportions, deeper and wider from one to the next, read pairs of a key and
an answer. Which answer belongs to which key is drawn anew for every text, so only the examples
before a key can tell. All are trained on the same texts; then, their weights fixed, they are asked
after 0, 1, 2, ... examples of new rules. That larger models use what their context says better is
from Brown et al. 2020, arXiv:2005.14165, section 1 and figure 1.2.

The best there is, is known: give the key's answer if the key was shown, else guess. Looking it up
takes two layers (one marks each answer with the key before it, the next looks for that mark), which
the smallest has not.
"""

from collections.abc import Sequence
from math import log
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Generator, Tensor

from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.language.gpt2 import Gpt2, Gpt2Config
from orrery.systems.language.gpt3 import parameters
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

DEPTHS = {"small": 1, "middle": 2, "large": 4}
"""Blocks of each; the width is a multiple of the depth."""
Texts = Int[Tensor, "b t"]


def most(m: Measured) -> int:
    """Most examples before a key that was asked for."""
    return sum(key.startswith("best/") for key in m) - 1


def gain(m: Measured, arm: str, examples: int | None = None) -> float:
    """In accuracy, from so many examples; from all if not given."""
    return m[f"{arm}/{most(m) if examples is None else examples}"] - m[f"{arm}/0"]


def off_the_line(m: Measured) -> float:
    """How far the middle's gain is from the line through the others, over the log of the size."""
    small, middle, large = (log(m[f"{arm}/size"]) for arm in DEPTHS)
    rise = (gain(m, "large") - gain(m, "small")) / (large - small)
    return abs(gain(m, "middle") - gain(m, "small") - rise * (middle - small))


CLAIMS = (
    Finding(
        "all examples gain the largest more than the smallest, by a tenth of all answers",
        effect=lambda m: gain(m, "large") - gain(m, "small"),
        margin=0.1,
    ),
    Finding(
        "and more than the middle one, by a twentieth",
        effect=lambda m: gain(m, "large") - gain(m, "middle"),
        margin=0.05,
    ),
    Finding(
        "every size gains from examples, the smallest too: a twentieth at least",
        effect=lambda m: min(gain(m, arm) for arm in DEPTHS),
        margin=0.05,
    ),
    Finding(
        "one example gains all sizes alike, to a twentieth: the only answer shown is repeated",
        effect=lambda m: 0.05 - abs(gain(m, "large", 1) - gain(m, "small", 1)),
    ),
    Finding(
        "the gain is a line over the logarithm of the size, to a tenth of all answers",
        effect=lambda m: 0.1 - off_the_line(m),
    ),
    Finding(
        "the largest comes within a twentieth of the best there is",
        effect=lambda m: 0.05 - (m[f"best/{most(m)}"] - m[f"large/{most(m)}"]),
    ),
    Control(
        "without an example every size guesses, to three hundredths",
        effect=lambda m: 0.03 - max(abs(m[f"{arm}/0"] - m["best/0"]) for arm in DEPTHS),
    ),
    Control(
        "every size learns: its loss falls by half a nat an answer",
        effect=lambda m: min(m[f"{arm}/untrained"] - m[f"{arm}/loss"] for arm in DEPTHS),
        margin=0.5,
    ),
)
ABLATIONS = ("shuffled_answers",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 3, "batch": 4, "tests": 64, "head_size": 8},
    "tour": {"keys": 4, "steps": 400},
    "large": {"keys": 16, "examples": 32, "steps": 50_000, "head_size": 64},
}


class ShotsBySizeSettings(Settings):
    """A smoke run takes a few steps; a tour has fewer keys, which is easier."""

    keys: Annotated[int, Range(2, 256)] = 6
    """Different keys, and as many different answers."""
    examples: Annotated[int, Range(2, 256)] = 8
    """Pairs before the last key asked for."""
    steps: Annotated[int, Range(1, 1_000_000)] = 900
    """Optimiser steps of each model."""
    batch: Annotated[int, Range(1, 4_096, "texts")] = 32
    """Texts in a batch, each of a rule of its own."""
    head_size: Annotated[int, Range(2, 128)] = 16
    """Numbers a head; a model has as many heads as blocks."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.005
    """Highest learning rate."""
    tests: Annotated[int, Range(1, 100_000, "texts")] = 4_000
    """New rules on which accuracy is measured."""


def run(settings: ShotsBySizeSettings, lab: Lab) -> Measured:
    """Train every size on the same texts, then ask each about the same new rules."""
    new = draw_texts(settings.tests, settings, lab.rng("tests"), lab.ablated("shuffled_answers"))
    measured = {f"best/{i}": best(settings.keys, i) for i in range(settings.examples + 1)}
    for arm, depth in DEPTHS.items():
        config = Gpt2Config(
            vocab=2 * settings.keys, context=2 * settings.examples + 2, depth=depth, heads=depth,
            width=depth * settings.head_size, dropout=0.0,
        )  # fmt: skip
        torch.manual_seed(lab.rng("weights").initial_seed())
        model = Gpt2(config).to(lab.device)
        use_fast_products(model)
        measured[f"{arm}/size"] = float(parameters(config))
        measured[f"{arm}/untrained"] = asked(model, new)["loss"]
        train(arm, model, settings, lab)
        measured |= {f"{arm}/{name}": value for name, value in asked(model, new).items()}
    return measured


def draw_texts(
    count: int, settings: ShotsBySizeSettings, generator: Generator, shuffled: bool
) -> Texts:
    """Key, answer, key, answer, ...; shuffled, answers have nothing to do with keys."""
    n, rng, where = settings.keys, generator, generator.device
    keys = torch.randint(n, (count, settings.examples + 1), generator=rng, device=where)
    rules = torch.randint(n, (count, n), generator=rng, device=where)
    answers = rules.gather(1, keys)
    if shuffled:
        answers = torch.randint(n, keys.shape, generator=rng, device=where)
    return torch.stack([keys, n + answers], dim=2).flatten(1)


def best(keys: int, examples: int) -> float:
    """The share of right answers that looking up gives: a key that was not shown is guessed."""
    unseen = (1 - 1 / keys) ** examples
    return 1 - unseen + unseen / keys


def train(arm: str, model: Gpt2, settings: ShotsBySizeSettings, lab: Lab) -> None:
    """Muon and AdamW on every answer of every text."""
    optimisers = muon_and_adamw(model, settings.rate)
    shuffled = lab.ablated("shuffled_answers")
    for step in lab.steps(arm, settings.steps, state=(model, *optimisers)):
        texts = draw_texts(settings.batch, settings, lab.rng("batch", step), shuffled)
        _, loss = forecast(model, texts)
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, settings.steps, warmup=10))
            optimiser.step()
        lab.log(loss=loss)


def forecast(model: Gpt2, texts: Texts) -> tuple[Tensor, Float[Tensor, ""]]:
    """Scores of what follows every key, and their mean cross-entropy in nats."""
    scores = model(texts[:, :-1]).logits[:, ::2]
    return scores, F.cross_entropy(scores.flatten(0, 1), texts[:, 1::2].flatten())


@torch.no_grad()
def asked(model: Gpt2, texts: Texts) -> Measured:
    """The loss, and the share of right answers after 0, 1, 2, ... examples."""
    scores, loss = forecast(model, texts)
    right = (scores.argmax(dim=-1) == texts[:, 1::2]).double().mean(dim=0)
    return {"loss": float(loss)} | {str(i): share for i, share in enumerate(right.tolist())}


def draw(results: Sequence[Measured], settings: ShotsBySizeSettings) -> dict[str, Figure]:
    """Accuracy by the number of examples, a line a size."""
    figure, (axis,) = new_figure(6.0, 3.6)
    shown = range(settings.examples + 1)
    for colour, arm in zip(COLOURS, DEPTHS, strict=False):
        mean, half = over_seeds(results, [f"{arm}/{i}" for i in shown])
        size = f"{results[0][f'{arm}/size']:,.0f} parameters"
        axis.errorbar(shown, mean, yerr=half, color=colour, marker="o", markersize=3, label=size)
    ideal = [best(settings.keys, i) for i in shown]
    axis.plot(shown, ideal, color="#9aa0aa", linestyle="--", label="best possible")
    axis.set(title="New rules", xlabel="examples in the prompt", ylabel="right", ylim=(0, 1))
    axis.legend()
    return {"by-examples": figure}
