"""Does fine-tuning under a hundredth of the weights learn a new domain, and forget less?

A small decoder learns Shakespeare. From there it is fine-tuned on the King James Bible, with all
of its weights and with adapters of rank 1 on every map of its blocks, each at three learning rates.
The best rate of each way is the one that does best on text put aside for choosing. What that run
gained is measured on books it has not seen, and what it forgot on plays that it has not seen.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from orrery.data import king_james, shakespeare
from orrery.data.batches import sample_windows
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.nn.low_rank import adapters
from orrery.systems.language.bpe import BpeConfig
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.bpe_trainer import train as train_bpe
from orrery.systems.language.llama import Llama, LlamaConfig
from orrery.systems.language.llm_finetune import (
    FinetuneConfig,
    held_out_loss,
    learning_share,
    prepare,
)
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

RATES = {"full": (0.0003, 0.001, 0.003), "low_rank": (0.003, 0.01, 0.03)}
"""LoRA's are ten times as high: its change is a product of two small maps."""


def gained(m: Measured, arm: str) -> float:
    """Nats a token on the new domain."""
    return m["before/new"] - m[f"{arm}/new"]


def forgotten(m: Measured, arm: str) -> float:
    """Nats a token on the old domain."""
    return m[f"{arm}/old"] - m["before/old"]


CLAIMS = (
    Finding(
        "low-rank fine-tuning gains at least half of what full fine-tuning gains",
        effect=lambda m: gained(m, "low_rank") - 0.5 * gained(m, "full"),
    ),
    Finding(
        "each at its own best rate, low-rank fine-tuning forgets less than full",
        effect=lambda m: forgotten(m, "full") - forgotten(m, "low_rank"),
    ),
    Control(
        "less than one per cent of the parameters learn in low rank",
        effect=lambda m: 0.01 - m["low_rank/share"],
    ),
    Control(
        "before fine-tuning the losses of both arms are equal, to a thousandth of a nat",
        effect=lambda m: 0.001 - abs(m["low_rank/start"] - m["full/start"]),
    ),
    Control("full fine-tuning gains", effect=lambda m: gained(m, "full"), margin=0.1),
)
ABLATIONS = ("frozen_b",)
SEEDS = 4
SCALES = {
    "smoke": {"characters": 40_000, "vocab": 300, "first_steps": 3, "steps": 2, "windows": 4,
              "context": 16, "depth": 1, "width": 32},
    "tour": {"characters": 300_000, "first_steps": 200, "steps": 40, "windows": 32},
    "large": {"first_steps": 10_000, "steps": 2_000, "batch": 64, "depth": 8, "width": 512},
}  # fmt: skip


class FinetuneLoraSettings(Settings):
    """A smoke run takes a few steps; a tour reads a third of the text."""

    characters: Annotated[int, Range(20_000, 5_000_000)] = 1_000_000
    """Of each text to learn from."""
    vocab: Annotated[int, Range(256, 65_536, "tokens")] = 512
    """Tokens that BPE learns from the old text, bytes included."""
    context: Annotated[int, Range(8, 1_024, "tokens")] = 64
    """Length of a window."""
    batch: Annotated[int, Range(1, 512, "windows")] = 8
    """Windows in a batch."""
    first_steps: Annotated[int, Range(1, 1_000_000)] = 500
    """Optimiser steps on the old text."""
    steps: Annotated[int, Range(1, 1_000_000)] = 60
    """Optimiser steps of each fine-tuning."""
    windows: Annotated[int, Range(1, 10_000)] = 32
    """Of each held-out text."""
    depth: Annotated[int, Range(1, 48)] = 4
    """Blocks of the decoder."""
    width: Annotated[int, Range(32, 2_048)] = 192
    """Of the stream; a multiple of 32, which is a head."""
    rank: Annotated[int, Range(1, 64)] = 1
    """Of each map's change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """Tokens to learn from, and windows to score."""

    old: Tensor
    new: Tensor
    scored: dict[str, tuple[Tensor, Tensor]]
    """Held out: of the old text, of the new one, and of the new one for choosing a rate."""


def run(settings: FinetuneLoraSettings, lab: Lab) -> Measured:
    """Train on the old text, fine-tune both ways at every rate, keep each way's best."""
    texts = read(settings, lab)
    torch.manual_seed(lab.rng("weights").initial_seed())
    model = Llama(LlamaConfig(
        vocab=settings.vocab, context=settings.context, depth=settings.depth, tied=True,
        heads=settings.width // 32, width=settings.width, inner=8 * settings.width // 3,
    )).to(lab.device)  # fmt: skip
    use_fast_products(model)
    learning = prepare(model, FinetuneConfig(method="full"))
    train(model, learning, "first training", texts.old, settings.first_steps, 0.003, settings, lab)
    measured = {f"before/{name}": held_out_loss(model, *w) for name, w in texts.scored.items()}
    for arm, rates in RATES.items():
        for rate in rates:
            for name, value in fine_tuned(deepcopy(model), arm, rate, texts, settings, lab).items():
                measured[f"{arm} {rate:g}/{name}"] = value
        best = min(rates, key=lambda rate: measured[f"{arm} {rate:g}/choosing"])
        measured[f"{arm}/rate"] = best
        for name in ("new", "old", "start", "share"):
            measured[f"{arm}/{name}"] = measured[f"{arm} {best:g}/{name}"]
    return measured


def read(settings: FinetuneLoraSettings, lab: Lab) -> Texts:
    """Both texts in the old one's tokens."""
    (old, old_held), (new, new_held) = shakespeare.split(), king_james.split()
    place = lab.numpy_rng("texts")

    def part(text: str) -> str:
        start = int(place.integers(max(1, len(text) - settings.characters)))
        return text[start : start + settings.characters]

    old, new = part(old), part(new)
    bpe = FastBpe(train_bpe([old], BpeConfig(vocab=settings.vocab)))

    def tokens(text: str) -> Tensor:
        return torch.from_numpy(bpe.encode_array(text)).long().to(lab.device)

    half = len(new_held) // 2
    held_out = {"old": old_held, "new": new_held[half:], "choosing": new_held[:half]}
    return Texts(old=tokens(old), new=tokens(new), scored={
        name: sample_windows(tokens(text), settings.context, settings.windows, lab.rng(name))
        for name, text in held_out.items()
    })  # fmt: skip


def train(
    model: Llama, learning: list[nn.Parameter], phase: str, text: Tensor, steps: int,
    rate: float, settings: FinetuneLoraSettings, lab: Lab,
) -> None:  # fmt: skip
    """AdamW on windows drawn at random."""
    optimiser = torch.optim.AdamW(learning, lr=rate, weight_decay=0.0)
    for step in lab.steps(phase, steps, state=(model, optimiser)):
        batch = sample_windows(text, settings.context, settings.batch, lab.rng("batch", step))
        loss = model.loss(*batch)
        optimiser.zero_grad()
        loss.backward()
        scale_rates(optimiser, trapezoid(step, steps, warmup=5))
        optimiser.step()
        lab.log(loss=loss)


def fine_tuned(
    model: Llama, arm: str, rate: float, texts: Texts, settings: FinetuneLoraSettings, lab: Lab
) -> Measured:
    """Losses after fine-tuning one way at one rate, and the first one before it."""
    low = FinetuneConfig(rank=settings.rank, alpha=2.0 * settings.rank)
    config = low if arm == "low_rank" else FinetuneConfig(method="full")
    learning: list[nn.Parameter] = prepare(model, config, lab.rng("adapters"))
    share, start = learning_share(model), held_out_loss(model, *texts.scored["new"])
    if lab.ablated("frozen_b") and arm == "low_rank":
        learning = [one.a for _, one in adapters(model)]
    train(model, learning, f"{arm} at {rate:g}", texts.new, settings.steps, rate, settings, lab)
    after = {name: held_out_loss(model, *w) for name, w in texts.scored.items()}
    return {"share": share, "start": start, **after}


def draw(results: Sequence[Measured], settings: FinetuneLoraSettings) -> dict[str, Figure]:
    """What each way gained and forgot at every rate, of every seed."""
    figure, (axis,) = new_figure(4.8, 3.4)
    for colour, (arm, rates) in zip(COLOURS, RATES.items(), strict=False):
        runs = [(m, f"{arm} {rate:g}") for m in results for rate in rates]
        x, y = ([what(*one) for one in runs] for what in (forgotten, gained))
        axis.scatter(x, y, color=colour, label=arm.replace("_", " "))
    axis.set(title="Three rates each", xlabel="nats forgotten", ylabel="nats gained")
    axis.legend()
    return {"gained": figure}
