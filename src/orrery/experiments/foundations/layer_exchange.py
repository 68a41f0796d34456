"""What does a Transformer's layer consist of, and what are depth and width good for?

Eight tokens each point at another one. Two nets with as many weights, four narrow layers and one
twice as wide, learn two tasks: to tell where two, three and four pointers in a row lead (complex:
step upon step), and to tell the eight values that the token pointed at holds (rich: much at once).
If depth is complexity and width richness, each net should be ahead at its own task.

Then parts are left out of every layer. Without exchange, and without the residual connection, the
deep net learns to follow pointers again; without the local non-linearity the wide net learns to add
two values to those pointed at, modulo eight, which no sum of what is known of each can tell.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from pydantic import field_validator

from orrery.experiments.foundations._pointers import (
    PARTS,
    PLACES,
    Draw,
    PointerNet,
    combined,
    composed,
    rich,
)
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.optimisers import Adam
from orrery.train.schedule import scale_rates, trapezoid

SHAPES = {"deep": (4, 1), "wide": (1, 2)}
"""Layers, and times the narrow width: with as many weights in the layers."""
TASKS: dict[str, Draw] = {"composed": composed, "rich": rich, "combined": combined}
LESIONS = {"exchange": "deep/composed", "residual": "deep/composed", "local": "wide/combined"}
"""By part left out: the shape and the task that should miss it."""

CLAIMS = (
    Claim(
        "layer-exchange",
        effect=lambda m: min(
            m["deep/composed"] - m["wide/composed"], m["wide/rich"] - m["deep/rich"]
        ),
        margin=0.1,
        text="of two nets with as many weights, the deep one is ahead at following four pointers "
        "in a row and the wide one at carrying eight values, by a tenth of the answers each",
    ),
    Finding(
        "exchange is needed: without it a fifth of the answers about pointers is lost",
        effect=lambda m: m["deep/composed"] - m["no-exchange/deep/composed"],
        margin=0.2,
    ),
    Finding(
        "the residual connection is needed: without it a fifth of them is lost as well",
        effect=lambda m: m["deep/composed"] - m["no-residual/deep/composed"],
        margin=0.2,
    ),
    Finding(
        "the local non-linearity is needed: without it a fifth of the sums is lost",
        effect=lambda m: m["wide/combined"] - m["no-local/wide/combined"],
        margin=0.2,
    ),
    Control(
        "each task is learned by one of the nets: nine of ten answers are right",
        effect=lambda m: min(m["deep/composed"], m["wide/rich"], m["wide/combined"]) - 0.9,
    ),
    Control(
        "both follow two pointers: nine of ten answers are right",
        effect=lambda m: min(m["deep/composed/first"], m["wide/composed/first"]) - 0.9,
    ),
    Control(
        "the nets have as many weights in their layers, to a twentieth",
        effect=lambda m: 0.05 - abs(m["deep/rich/weights"] / m["wide/rich/weights"] - 1),
    ),
)
ABLATIONS = ("one_hop",)
SCALES = {
    "smoke": {"steps": 2, "batch": 8},
    "tour": {"steps": 300},
    "large": {"steps": 5_000, "width": 32, "hops": 5, "values": 16},
}


class LayerExchangeSettings(Settings):
    """A smoke run hardly trains."""

    hops: Annotated[int, Range(2, 8)] = 4
    """Pointers in a row, at most."""
    values: Annotated[int, Range(1, 64)] = 8
    """Values a token holds, in the rich task."""
    width: Annotated[int, Range(2, 4_096)] = 16
    """Of the deep net; even."""
    steps: Annotated[int, Range(1, 1_000_000)] = 900
    """Optimiser steps of each net."""
    batch: Annotated[int, Range(1, 65_536, "sequences")] = 64
    """Sequences in a batch; none comes twice."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 5e-3
    """Highest learning rate."""

    @field_validator("width")
    @classmethod
    def _even(cls, width: int) -> int:
        if width % 2:
            raise ValueError("must be even: there are two heads")
        return width


def run(settings: LayerExchangeSettings, lab: Lab) -> Measured:
    """Train both shapes at the first two tasks, then the nets that a part is missing from."""
    hops = 2 if lab.ablated("one_hop") else settings.hops
    amounts = {"composed": hops, "rich": settings.values, "combined": 2}
    trained = [(shape, task, PARTS) for shape in SHAPES for task in ("composed", "rich")]
    trained.append(("wide", "combined", PARTS))
    for part, own in LESIONS.items():
        shape, task = own.split("/")
        trained.append((shape, task, PARTS - {part}))
    measured: Measured = {}
    for shape, task, parts in trained:
        missing = "".join(f"no-{part}/" for part in PARTS - parts)
        name = f"{missing}{shape}/{task}"
        found = learn(name, shape, task, amounts[task], parts, settings, lab)
        measured |= {f"{name}{key}": value for key, value in found.items()}
    return measured


def learn(
    name: str, shape: str, task: str, amount: int, parts: frozenset[str],
    settings: LayerExchangeSettings, lab: Lab,
) -> Measured:  # fmt: skip
    """Train one net; the share of right answers to sequences it has not seen.

    What counts in the composed task is the longest row of pointers.
    """
    draw_examples = TASKS[task]
    shown, asked = draw_examples(1_024, amount, lab.rng(task))
    layers, times = SHAPES[shape]
    torch.manual_seed(lab.rng("weights").initial_seed())
    width = times * settings.width
    net = PointerNet(shown.shape[1], asked.shape[2], width, layers, parts).to(lab.device)
    optimiser = Adam(net.parameters(), settings.rate)
    for step in lab.steps(name.replace("/", "-"), settings.steps, state=(net, optimiser)):
        x, y = draw_examples(settings.batch, amount, lab.rng(task, step))
        loss = F.cross_entropy(net(x).flatten(0, 2), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, settings.steps, warmup=50, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    with torch.no_grad():
        right = (net(shown).argmax(-1) == asked).float().mean((0, 1))
    score = right[-1] if task == "composed" else right.mean()
    weights = sum(weight.numel() for weight in net.layers.parameters())
    return {"": float(score), "/first": float(right[0]), "/weights": float(weights)}


def draw(results: Sequence[Measured], settings: LayerExchangeSettings) -> dict[str, Figure]:
    """Right answers by task, shape and missing part, with intervals over the seeds."""
    figure, (shapes, parts) = new_figure(8.4, 3.4, columns=2)
    for i, (shape, colour) in enumerate(zip(SHAPES, COLOURS, strict=False)):
        mean, half = over_seeds(results, [f"{shape}/{task}" for task in ("composed", "rich")])
        shapes.bar(
            [0.4 * i, 1 + 0.4 * i], mean, 0.38, yerr=half, color=colour, ecolor="#9aa0aa",
            label=f"{shape}: {SHAPES[shape][0]} layers",
        )  # fmt: skip
    shapes.set_xticks([0.2, 1.2], ["composed", "rich"])
    shapes.set(title="As many weights, two shapes", ylabel="right answers")
    shapes.legend()
    for i, (part, own) in enumerate(LESIONS.items()):
        mean, half = over_seeds(results, [own, f"no-{part}/{own}"])
        colours = [COLOURS[0], COLOURS[1]]
        parts.bar([i, i + 0.4], mean, 0.38, yerr=half, color=colours, ecolor="#9aa0aa")
    parts.set_xticks([i + 0.2 for i in range(len(LESIONS))], [f"no {part}" for part in LESIONS])
    parts.set(title="Whole (left) and with a part missing", ylabel="right answers")
    for axis in (shapes, parts):
        axis.set_ylim(0, 1)
        axis.axhline(1 / PLACES, color=COLOURS[7], linestyle="--")
    return {"layers": figure}
