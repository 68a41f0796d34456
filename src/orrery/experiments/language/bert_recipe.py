"""What of RoBERTa's recipe makes a masked model better, and what does ALBERT's sharing cost?

Small masked models of one size read bytes of the King James Bible, each arm with one thing more of
RoBERTa's recipe: BERT's gaps are fixed once and it is also told to say whether one part of a text
follows another; then gaps are drawn anew at every step; the second task is left out; there is more
text; there are more steps. Last, in place of that, one layer's weights serve at every depth.

All are judged by bytes hidden in books that none has read.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import king_james
from orrery.data.batches import sample_windows
from orrery.experiments.language._pretraining import learn
from orrery.experiments.language._recipes import (
    Examples,
    MaskedReader,
    MaskedRecipe,
    in_parts,
    in_windows,
)
from orrery.experiments.language._scripture import BETWEEN, FIRST, MASK, VOCAB, numbers
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.language.masked_lm import MaskingConfig, corrupt
from orrery.train.precision import use_fast_products

RECIPES = {
    "bert": MaskedRecipe(fixed_gaps=True, second_task=True),
    "gaps anew": MaskedRecipe(second_task=True),
    "one task": MaskedRecipe(),
    "more text": MaskedRecipe(more_text=True),
    "more steps": MaskedRecipe(more_text=True, more_steps=True),
    "albert": MaskedRecipe(more_text=True, shared=True),
}


def gain(m: Measured, before: str, after: str) -> float:
    """Nats a hidden byte that the second arm is better."""
    return m[f"{before}/loss"] - m[f"{after}/loss"]


CLAIMS = (
    Finding(
        "gaps drawn anew do better than gaps fixed once, on books not read",
        effect=lambda m: gain(m, "bert", "gaps anew"),
    ),
    Finding(
        "the masked model does better without the second task",
        effect=lambda m: gain(m, "gaps anew", "one task"),
    ),
    Finding(
        "more text does better, for as many steps",
        effect=lambda m: gain(m, "one task", "more text"),
    ),
    Finding(
        "twice the steps do better by a twentieth of a nat a byte",
        effect=lambda m: gain(m, "more text", "more steps"), margin=0.05,
    ),
    Finding(
        "all that RoBERTa changed brings a quarter of a nat a byte",
        effect=lambda m: gain(m, "bert", "more steps"), margin=0.25,
    ),
    Finding(
        "weights shared between layers cost less than a tenth of a nat a byte",
        effect=lambda m: 0.1 - gain(m, "albert", "more text"),
    ),
    Control(
        "sharing saves a third of the parameters",
        effect=lambda m: 1 - m["albert/parameters"] / m["more text/parameters"], margin=1 / 3,
    ),
    Control(
        "with layers of its own a model learns more than which bytes are common: half a nat a byte",
        effect=lambda m: m["common"] - max(m[f"{a}/loss"] for a in RECIPES if a != "albert"),
        margin=0.5,
    ),
)  # fmt: skip
ABLATIONS = ("fixed_gaps",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 3, "batch": 4, "text": 2_000, "windows": 4, "width": 16, "depth": 2},
    "tour": {"steps": 200},
    "large": {"steps": 50_000, "batch": 1_024, "text": 1_000_000, "width": 512, "depth": 8},
}  # fmt: skip


class BertRecipeSettings(Settings):
    """A smoke run takes a few steps with tiny models; a tour learns hardly more than bytes."""

    steps: Annotated[int, Range(1, 1_000_000)] = 550
    """Optimiser steps of each pre-training, half of those with more steps."""
    batch: Annotated[int, Range(1, 4_096, "windows")] = 32
    """Windows in a batch."""
    length: Annotated[int, Range(8, 1_024, "bytes")] = 32
    """Of a window, half of it before the seam."""
    text: Annotated[int, Range(1_000, 2_500_000, "bytes")] = 60_000
    """Of which the arms without more text read windows."""
    copies: Annotated[int, Range(1, 100)] = 2
    """Ways in which a window's gaps are fixed, as BERT had ten for forty passes."""
    chosen: Annotated[float, Range(0.01, 0.9)] = 0.3
    """Share of the bytes that are to be guessed."""
    windows: Annotated[int, Range(1, 100_000)] = 1_000
    """Of held-out books."""
    width: Annotated[int, Range(8, 2_048)] = 96
    """Of the stream; a multiple of 4 heads."""
    depth: Annotated[int, Range(2, 48)] = 2
    """Layers."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.01
    """Highest learning rate of pre-training."""


def run(settings: BertRecipeSettings, lab: Lab) -> Measured:
    """Pre-train and judge every arm."""
    text, held_out = (numbers(part).to(lab.device) for part in king_james.split())
    masking = MaskingConfig(vocab=VOCAB, mask=MASK, chosen=settings.chosen)
    everything = in_windows(text, settings.length)
    rng = lab.rng("texts")
    order = torch.randperm(len(everything), generator=rng, device=rng.device)
    few = everything[order[: settings.text // settings.length]]
    drawn, _ = sample_windows(held_out, settings.length, settings.windows, rng)
    rows = in_parts(drawn, drawn)
    judged = corrupt(rows, masking, rng, special=(rows == FIRST) | (rows == BETWEEN))
    commonness = (torch.bincount(text, minlength=VOCAB) + 1.0).log()
    common = F.cross_entropy(commonness.expand(judged[1].numel(), -1), judged[1].flatten())
    measured = {"common": float(common)}
    for arm, planned in RECIPES.items():
        recipe = replace(planned, fixed_gaps=True) if lab.ablated("fixed_gaps") else planned
        torch.manual_seed(lab.rng("weights").initial_seed())
        reader = MaskedReader(recipe, settings.length, settings.width, settings.depth).to(
            lab.device
        )
        use_fast_products(reader)
        windows = everything if recipe.more_text else few
        examples = Examples(recipe, windows, masking, settings.copies, lab.rng)

        def loss(step: int, reader: MaskedReader = reader, examples: Examples = examples) -> Tensor:
            return reader.loss(*examples.batch(step, settings.batch))

        steps = settings.steps * (2 if recipe.more_steps else 1)
        learn(arm, reader, loss, steps, settings.rate, lab)
        measured[f"{arm}/parameters"] = float(sum(p.numel() for p in reader.model.parameters()))
        measured |= lab.measure(f"judge {arm}", partial(judge, arm, reader, *judged))
    return measured


@torch.no_grad()
def judge(arm: str, reader: MaskedReader, rows: Tensor, asked: Tensor) -> Measured:
    """Nats a hidden byte."""
    scores = reader.model.score(reader.states(rows)).float()
    return {f"{arm}/loss": float(F.cross_entropy(scores.flatten(0, 1), asked.flatten()))}


def draw(results: Sequence[Measured], settings: BertRecipeSettings) -> dict[str, Figure]:
    """The loss of every arm."""
    figure, (axis,) = new_figure(5.6, 3.2)
    mean, half = over_seeds(results, [f"{arm}/loss" for arm in RECIPES])
    axis.errorbar(mean, range(len(mean)), xerr=half, fmt="o", color=COLOURS[0])
    axis.set_yticks(range(len(mean)), RECIPES)
    axis.invert_yaxis()
    axis.set(title="Books not read before", xlabel="nats a hidden byte")
    return {"recipes": figure}
