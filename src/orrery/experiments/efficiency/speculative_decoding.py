"""Does a small model make a large one faster without changing what it writes?

Two GPTs learn Shakespeare's characters from the same windows, one with some twenty times the
weights of the other. The small one drafts 1, 2, 4 or 8 characters, the large one judges them in
one pass. Counted are the large one's passes, whose number no other program on the machine changes,
and timed is its text against text written without a draft.

Whether the texts are the large one's own is tested by its chances: of each character, the chance
of all those that the small one would rather have written, and a random share of its own, is uniform
exactly where the character was drawn by the large one's chances (Rosenblatt 1952). The misfit is
the chi-square of twenty bins over its degrees of freedom: about 1 for the right texts.

SmolLM2, with 135 million weights, also writes on where code has begun to repeat, its drafts looked
up in what it has read.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import shakespeare
from orrery.data.batches import sample_windows
from orrery.data.characters import Characters
from orrery.experiments.efficiency._copied_code import copied
from orrery.experiments.efficiency._speculation import AHEAD, written
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

CLAIMS = (
    Claim(
        "spec-decoding-exact",
        effect=lambda m: min(m["4/tokens a pass"] - 1.5, 2 - m["misfit"]),
        text="with four drafted characters a pass of the large model yields more than one and a "
        "half, and the misfit of the texts to its chances stays below twice that of the right ones",
    ),
    Finding(
        "with four drafted characters a text takes less time than without a draft",
        effect=lambda m: m["plain/seconds"] / m["4/seconds"],
        margin=1.0,
    ),
    Finding(
        "the mean overlap of both models' chances predicts the characters a pass to a tenth",
        effect=lambda m: (
            0.1 - max(abs(m[f"{k}/tokens a pass"] / m[f"{k}/predicted"] - 1) for k in AHEAD)
        ),
    ),
    Finding(
        "eight drafted characters take more time than four",
        effect=lambda m: m["8/seconds"] / m["4/seconds"],
        margin=1.0,
    ),
    Finding(
        "where code repeats, looking drafts up makes SmolLM2 faster, and it writes the same",
        effect=lambda m: m["copied/same"] * m["copied/plain/seconds"] / m["copied/seconds"],
        margin=1.0,
    ),
    Control(
        "texts written without a draft have no misfit either",
        effect=lambda m: 2 - m["plain/misfit"],
    ),
    Control(
        "the small model's own texts have a misfit of more than four: the test sees them",
        effect=lambda m: m["draft/misfit"],
        margin=4.0,
    ),
    Control(
        "greedily, with drafts and without, the large model writes the same",
        effect=lambda m: m["greedy/same"],
        margin=0.9,
    ),
    Control(
        "the large model has learnt more than the small one",
        effect=lambda m: m["draft/loss"] - m["target/loss"],
    ),
)
ABLATIONS = ("no_rejection",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 2, "context": 32, "depth": 1, "width": 32, "texts": 2, "copied": 4},
    "tour": {"steps": 40, "texts": 4, "copied": 16},
    "large": {"steps": 5_000, "batch": 64, "depth": 12, "width": 768, "texts": 100},
}  # fmt: skip


class SpeculativeDecodingSettings(Settings):
    """A smoke run takes two steps and writes a little; a tour writes less."""

    steps: Annotated[int, Range(1, 1_000_000)] = 200
    """Optimiser steps of each model."""
    batch: Annotated[int, Range(1, 512, "windows")] = 4
    """Windows in a batch."""
    context: Annotated[int, Range(32, 2_048, "characters")] = 128
    """Length of a window, and of a text with its prompt."""
    depth: Annotated[int, Range(1, 48)] = 6
    """Blocks of the large model; the small one has a single one."""
    width: Annotated[int, Range(32, 2_048)] = 192
    """Of the large model's stream, a multiple of 32; the small one's is half of it."""
    texts: Annotated[int, Range(2, 10_000)] = 12
    """Written in each way."""
    copied: Annotated[int, Range(1, 1_000, "tokens")] = 48
    """That SmolLM2 writes."""


def run(settings: SpeculativeDecodingSettings, lab: Lab) -> Measured:
    """Train both, write in every way, and judge what was written."""
    text, held_out = shakespeare.split()
    characters = Characters.from_text(text, unknown=True, at_least=10)
    learnt, unseen = (torch.from_numpy(characters.encode(part)) for part in (text, held_out))
    scored = sample_windows(unseen, settings.context, 32, lab.rng("held out"))
    models, measured = dict[str, Gpt](), Measured()
    for arm, depth, width in (
        ("target", settings.depth, settings.width),
        ("draft", 1, settings.width // 2),
    ):
        torch.manual_seed(lab.rng("weights").initial_seed())
        model = models[arm] = Gpt(GptConfig(
            vocab=len(characters), context=settings.context, depth=depth, width=width,
            heads=max(1, width // 64),
        )).to(lab.device)  # fmt: skip
        train(arm, model, learnt, settings, lab)
        measured[f"{arm}/weights"] = float(sum(p.numel() for p in model.parameters()))
        with torch.no_grad():
            loss = model.loss(*(part.to(lab.device) for part in scored))
        measured[f"{arm}/loss"] = float(loss)
    prompts = sample_windows(unseen, 8, settings.texts, lab.rng("prompts"))[0].to(lab.device)
    measured |= lab.measure("writes", lambda: written(models, prompts, settings.context, lab))
    return measured | lab.measure("copied", lambda: copied(settings.copied, lab))


def train(
    arm: str, model: Gpt, text: Tensor, settings: SpeculativeDecodingSettings, lab: Lab
) -> None:
    """Muon and AdamW; both models see the same windows."""
    use_fast_products(model)
    optimisers = muon_and_adamw(model, 0.01)
    for step in lab.steps(arm, settings.steps, state=(model, *optimisers)):
        windows = sample_windows(text, settings.context, settings.batch, lab.rng("batch", step))
        loss = model.loss(*(part.to(lab.device) for part in windows))
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, settings.steps, warmup=10))
            optimiser.step()
        lab.log(loss=loss)


def draw(results: Sequence[Measured], settings: SpeculativeDecodingSettings) -> dict[str, Figure]:
    """Characters a pass and how many times faster, by the number of drafted characters."""
    figure, (left, right) = new_figure(7.2, 3.2, columns=2)
    for i, what in enumerate(("tokens a pass", "predicted")):
        mean, half = over_seeds(results, [f"{k}/{what}" for k in AHEAD])
        label = "measured" if i == 0 else "predicted by the overlap"
        left.errorbar(AHEAD, mean, yerr=half, marker="o", color=COLOURS[i], label=label)
    left.set(title="A pass of the large model", xlabel="drafted", ylabel="characters", xticks=AHEAD)
    left.legend()
    faster = [{f"{k}": m["plain/seconds"] / m[f"{k}/seconds"] for k in AHEAD} for m in results]
    mean, half = over_seeds(faster, [f"{k}" for k in AHEAD])
    right.errorbar(AHEAD, mean, yerr=half, marker="o", color=COLOURS[0])
    right.axhline(1, color="#9aa0aa")
    right.set(title="Speed", xlabel="drafted", ylabel="times that without a draft", xticks=AHEAD)
    return {"speculation": figure}
