"""How should a Transformer be told where its tokens stand, and how far beyond does that carry?

Five small decoders that differ in nothing else are told of positions by sinusoids, by a learned
table, by turns of queries and keys (rotary), by biases that grow with the distance, or not at all.
They learn windows of plays, and are then given longer ones. The same characters are scored every
time, the last of a window: what changes is how far back the context goes and which positions the
characters have. Of the learned table the rows beyond the trained length are as they were drawn.
What is judged is the second half of the held-out plays; the amplitude of the sinusoids was chosen
on the first.

The plan has sinusoids extrapolate in theory, corrected to: a step is a fixed rotation, but models
degrade beyond the trained length. That is what is tested, and holds if at twice the length a
character costs a tenth of a nat more. Ablated, windows of all lengths are learnt. The rotary model
is also given other angles in place of those it learnt with, without learning on: slowed in
proportion (position interpolation), and by a base that grows with the text (dynamic).
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import shakespeare
from orrery.data.batches import sample_windows
from orrery.data.corpus import Corpus
from orrery.experiments.language._placed import WAYS, PlacedDecoder, Way, geometry, pictured
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.systems.language.autoregressive import surprise
from orrery.systems.language.llama import LlamaConfig
from orrery.systems.language.rope_scaling import Rope
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

TIMES = (1, 2, 4)  # the trained length


def rise(m: Measured, arm: str, times: int = 2) -> float:
    """Nats that a character costs more in windows so many times longer."""
    return m[f"{arm}/{times}"] - m[f"{arm}/1"]


CLAIMS = (
    Claim(
        "sinusoid-relative",
        effect=lambda m: rise(m, "sinusoidal"), margin=0.1,
        text="told by sinusoids a model loses more than a tenth of a nat a character at twice the "
        "length that it was trained on",
    ),
    Finding(
        "rotary positions lose less there than sinusoids, by a tenth of a nat",
        effect=lambda m: rise(m, "sinusoidal") - rise(m, "rotary"), margin=0.1,
    ),
    Finding(
        "rotary positions lose more than a tenth of a nat all the same",
        effect=lambda m: rise(m, "rotary"), margin=0.1,
    ),
    Finding(
        "angles of a base that grows with the text take off over half of that",
        effect=lambda m: rise(m, "rotary") / 2 - (m["dynamic/2"] - m["rotary/1"]),
    ),
    Finding(
        "interpolated angles take off nothing as long as the model does not learn on",
        effect=lambda m: m["interpolated/2"] - m["rotary/2"],
    ),
    Finding(
        "linear biases lose less than a fiftieth of a nat at four times the length",
        effect=lambda m: 0.02 - rise(m, "linear bias", 4),
    ),
    Finding(
        "not told at all, a causal model loses less than a tenth of a nat at twice the length",
        effect=lambda m: 0.1 - rise(m, "none"),
    ),
    Finding(
        "at the trained length rotary positions are better than those that are added",
        effect=lambda m: min(m["sinusoidal/1"], m["learned/1"]) - m["rotary/1"],
    ),
    Control(
        "rows that were never trained cost more than a tenth of a nat",
        effect=lambda m: rise(m, "learned"), margin=0.1,
    ),
    Control(
        "PE(pos + k) is PE(pos) turned, whatever pos is, to 1e-9",
        effect=lambda m: 1e-9 - m["rotation error"],
    ),
    Control(
        "without positions or a mask, shuffled tokens come out shuffled and otherwise the same, "
        "to 1e-9",
        effect=lambda m: 1e-9 - m["unordered/none"],
    ),
    Control(
        "with sinusoids they do not",
        effect=lambda m: m["unordered/sinusoidal"], margin=1e-3,
    ),
    Control(
        "told in any way it learns",
        effect=lambda m: m["untrained"] - max(m[f"{way}/1"] for way in WAYS), margin=1.0,
    ),
)  # fmt: skip
ABLATIONS = ("lengths_mixed",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 3, "context": 16, "batch": 4, "depth": 1, "windows": 4, "scored": 8},
    "tour": {"steps": 150},
    "large": {"steps": 10_000, "batch": 64, "context": 256, "depth": 6, "heads": 6,
              "head_size": 64, "windows": 1_000},
}  # fmt: skip


class PositionsSettings(Settings):
    """A smoke run takes a few steps on short windows."""

    steps: Annotated[int, Range(1, 1_000_000)] = 300
    """Optimiser steps of each model."""
    batch: Annotated[int, Range(4, 1_024, "windows")] = 8
    """Windows in a batch."""
    context: Annotated[int, Range(8, 4_096, "characters")] = 64
    """Length of a window."""
    depth: Annotated[int, Range(1, 48)] = 2
    """Blocks."""
    heads: Annotated[int, Range(1, 64)] = 4
    """Attention heads in a block."""
    head_size: Annotated[int, Range(2, 256)] = 24
    """Of a head's keys; the models are `heads` times as wide."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.01
    """Highest learning rate."""
    windows: Annotated[int, Range(1, 10_000)] = 256
    """Held-out windows, each four times as long as those that are learnt."""
    scored: Annotated[int, Range(1, 4_096, "characters")] = 32
    """Characters at the end of a window that count."""


def run(settings: PositionsSettings, lab: Lab) -> Measured:
    """Train every model, and score the same characters in windows of all lengths."""
    s, corpus = settings, Corpus.from_split(shakespeare.split())
    x, y = sample_windows(
        corpus.held_out[len(corpus.held_out) // 2 :], TIMES[-1] * s.context, s.windows,
        lab.rng("held out"),
    )  # fmt: skip
    windows = torch.cat([x, y[:, -1:]], dim=1).to(lab.device)
    config = LlamaConfig(
        vocab=len(corpus.characters), context=s.context, depth=s.depth, heads=s.heads,
        width=s.heads * s.head_size, inner=8 * s.heads * s.head_size // 3, tied=True,
    )  # fmt: skip
    measured = geometry(config.width, s.heads, lab)
    for way in WAYS:
        torch.manual_seed(lab.rng("weights").initial_seed())
        model = PlacedDecoder(config, way, places=TIMES[-1] * s.context).to(lab.device)
        if way == "none":
            measured["untrained"] = scored(model, windows, 1, s)
        train(way, model, corpus.training, s, lab)
        measured |= {f"{way}/{times}": scored(model, windows, times, s) for times in TIMES}
        if way == "rotary":
            for times in TIMES[1:]:
                for name, kind in (("dynamic", "dynamic"), ("interpolated", "linear")):
                    model.rope = Rope(rope_type=kind, factor=float(times))
                    measured[f"{name}/{times}"] = scored(model, windows, times, s)
    return measured


def train(
    way: Way, model: PlacedDecoder, tokens: Tensor, settings: PositionsSettings, lab: Lab
) -> None:
    """Muon and AdamW; every arm reads the same windows, ablated of all lengths in turns."""
    s = settings
    use_fast_products(model)
    optimisers = muon_and_adamw(model, s.rate)
    for step in lab.steps(way, s.steps, state=(model, *optimisers)):
        times = TIMES[step % len(TIMES)] if lab.ablated("lengths_mixed") else 1
        drawn = sample_windows(tokens, times * s.context, s.batch // times, lab.rng("batch", step))
        x, y = (part.to(lab.device) for part in drawn)
        loss = -model(x).gather(-1, y[..., None]).mean()
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, s.steps, warmup=20))
            optimiser.step()
        lab.log(loss=loss)


def scored(model: PlacedDecoder, windows: Tensor, times: int, settings: PositionsSettings) -> float:
    """Nats a character at the end of the windows, given so many times the trained length."""
    given = windows[:, -times * settings.context - 1 :]
    return float(surprise(model, given)[:, -settings.scored :].mean())


def draw(results: Sequence[Measured], settings: PositionsSettings) -> dict[str, Figure]:
    """The loss by the length of the windows, for every way."""
    return {"lengths": pictured(results, [times * settings.context for times in TIMES])}
