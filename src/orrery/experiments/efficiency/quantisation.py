"""How few bits can the weights of a trained language model have?

SmolLM2 with 135 million weights scores held-out verses with the weights of its blocks rounded to
8, 4, 3 and 2 bits, to three values and to two: to the nearest value, and, from 4 bits down, by GPTQ
and AWQ as well. What counts as whole are the weights of its file, which were in four bits
themselves, in smaller groups. Then a small GPT learns the same text twice: as it is, to be rounded
to three values afterwards, and with three values in every forward pass.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import king_james
from orrery.data.batches import sample_windows
from orrery.experiments.efficiency._rounded_llm import BITS, METHODS, Amounts, loss, rounded_llm
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.efficiency.quantisation import (
    BitGrid,
    keep_rounded,
    round_model,
    train_rounded,
)
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.train.muon import muon_and_adamw
from orrery.train.schedule import scale_rates, trapezoid

TERNARY = BitGrid(kind="ternary")


def cost(m: Measured, way: str) -> float:
    """Nats a token that SmolLM2 loses."""
    return m[way] - m["whole"]


def small_cost(m: Measured, arm: str) -> float:
    """Nats a byte that the small GPT loses."""
    return m[f"small/{arm}"] - m["small/whole"]


CLAIMS = (
    Claim(
        "quant-limit",
        effect=lambda m: min(
            cost(m, "nearest/2") - 10 * cost(m, "nearest/4"),
            small_cost(m, "rounded") - 2 * small_cost(m, "trained"),
        ),
        text="rounding to 2 bits costs more than ten times what 4 bits cost, and rounding to three "
        "values more than twice what training with them costs",
    ),
    Finding(
        "the best way to 4 bits costs less than a fifth of a nat a token",
        effect=lambda m: 0.2 - min(cost(m, f"{method}/4") for method in METHODS),
    ),
    Finding(
        "at 3 bits GPTQ costs less than the nearest value",
        effect=lambda m: m["nearest/3"] - m["gptq/3"],
    ),
    Finding(
        "at 3 bits AWQ costs less than the nearest value",
        effect=lambda m: m["nearest/3"] - m["awq/3"],
    ),
    Finding(
        "at 2 bits the best way still costs more than two nats",
        effect=lambda m: min(cost(m, f"{method}/2") for method in METHODS),
        margin=2.0,
    ),
    Control(
        "8 bits change next to nothing: a twentieth of a nat at most",
        effect=lambda m: 0.05 - abs(cost(m, "nearest/8")),
    ),
    Control(
        "as it is, the model is a nat better than counted tokens",
        effect=lambda m: m["unigram"] - m["whole"],
        margin=1.0,
    ),
    Control(
        "as it is, the small model has learnt: half of guessing",
        effect=lambda m: 0.5 * m["small/untrained"] - m["small/whole"],
    ),
)
ABLATIONS = ("unrounded",)
SEEDS = 4
SCALES = {
    "smoke": {"windows": 1, "context": 16, "calibration": 1, "characters": 2_000, "blocks": 1,
              "steps": 2, "batch": 2, "small_windows": 2, "depth": 1, "width": 32},
    "tour": {"windows": 1, "calibration": 1, "characters": 40_000, "blocks": 30, "steps": 60},
    "large": {"windows": 100, "calibration": 64, "steps": 5_000, "depth": 6, "width": 384},
}  # fmt: skip


class QuantisationSettings(Settings):
    """A smoke run uses one block of the model, and little text."""

    windows: Annotated[int, Range(1, 10_000)] = 3
    """Of held-out text, for SmolLM2."""
    context: Annotated[int, Range(8, 1_024, "tokens")] = 128
    """Length of a window."""
    calibration: Annotated[int, Range(1, 10_000, "windows")] = 8
    """Twice as long, that GPTQ and AWQ look at."""
    characters: Annotated[int, Range(1_000, 5_000_000)] = 200_000
    """Of each text that windows are drawn from."""
    blocks: Annotated[int, Range(1, 30)] = 30
    """Of SmolLM2 that are used."""
    steps: Annotated[int, Range(1, 1_000_000)] = 300
    """Optimiser steps of each training of the small GPT."""
    batch: Annotated[int, Range(1, 512, "windows")] = 8
    """Windows in a batch."""
    small_context: Annotated[int, Range(8, 1_024, "bytes")] = 64
    """Length of the small GPT's windows."""
    small_windows: Annotated[int, Range(1, 100_000)] = 256
    """Of held-out text, for the small GPT."""
    depth: Annotated[int, Range(1, 48)] = 2
    """Blocks of the small GPT."""
    width: Annotated[int, Range(32, 2_048)] = 128
    """Of its stream; a multiple of 32, which is a head."""


def run(settings: QuantisationSettings, lab: Lab) -> Measured:
    """Round the trained model in every way; train the small one in both."""
    amounts = Amounts(
        windows=settings.windows, context=settings.context, calibration=settings.calibration,
        characters=settings.characters, blocks=settings.blocks,
    )  # fmt: skip
    unrounded = lab.ablated("unrounded")
    measured = lab.measure("rounded", lambda: rounded_llm(amounts, lab, unrounded=unrounded))
    training, held_out = (
        torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()
        for text in king_james.split()
    )
    scored = sample_windows(
        held_out, settings.small_context, settings.small_windows, lab.rng("small windows")
    )
    for arm in ("whole", "trained"):
        torch.manual_seed(lab.rng("weights").initial_seed())
        model = Gpt(GptConfig(
            vocab=256, context=settings.small_context, depth=settings.depth,
            heads=settings.width // 32, width=settings.width,
        ))  # fmt: skip
        measured["small/untrained"] = loss(model, scored)
        train(model, arm, training, settings, lab, with_three=arm == "trained" and not unrounded)
        measured[f"small/{arm}"] = loss(model, scored)
        if arm == "whole":
            if not unrounded:
                round_model(model, TERNARY)
            measured["small/rounded"] = loss(model, scored)
    return measured


def train(
    model: Gpt, arm: str, text: Tensor, settings: QuantisationSettings, lab: Lab, *,
    with_three: bool,
) -> None:  # fmt: skip
    """The same recipe on the same windows for both arms."""
    optimisers = muon_and_adamw(model, 0.02)  # of the weights that rounding is to stand before
    if with_three:
        train_rounded(model, TERNARY)
    for step in lab.steps(arm, settings.steps, state=(model, *optimisers)):
        rng = lab.rng("batch", step)
        nats = model.loss(*sample_windows(text, settings.small_context, settings.batch, rng))
        model.zero_grad()
        nats.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, settings.steps, warmup=5))
            optimiser.step()
        lab.log(loss=nats)
    keep_rounded(model)


def draw(results: Sequence[Measured], settings: QuantisationSettings) -> dict[str, Figure]:
    """What each way costs SmolLM2 by the bits it takes, and three values the small GPT."""
    figure, (curve, small) = new_figure(7.2, 3.2, columns=2)
    ways = {"nearest": ("8", "4", "3", "2", "ternary", "binary"),
            **dict.fromkeys(METHODS[1:], tuple(map(str, BITS)))}  # fmt: skip
    for colour, (method, grids) in zip(COLOURS, ways.items(), strict=False):
        mean, half = (np.array(n) for n in over_seeds(results, [f"{method}/{g}" for g in grids]))
        bits, middle = [results[0][f"{grid}/bits"] for grid in grids], np.exp(mean)
        spread = middle - np.exp(mean - half), np.exp(mean + half) - middle
        curve.errorbar(bits, middle, yerr=spread, marker="o", color=colour, label=method)
    whole = np.exp(over_seeds(results, ["whole"])[0][0])
    curve.axhline(whole, color=COLOURS[-1], linestyle=":", label="as in the file")
    curve.set(title="SmolLM2, after training", xlabel="bits a weight", ylabel="perplexity",
              yscale="log")  # fmt: skip
    curve.legend()
    arms = ("whole", "trained", "rounded")
    losses, error = over_seeds(results, [f"small/{arm}" for arm in arms])
    labels = ("whole", "three values,\ntrained", "three values,\nrounded")
    small.bar(labels, losses, yerr=error, color=COLOURS[:3], ecolor="#9aa0aa")
    small.set(title="A small GPT", ylabel="nats a byte")
    return {"bits": figure}
