"""Can one command make a language model from raw text?

What `orrery pretrain` does to the works of Shakespeare, stage by stage: near-duplicates and what
gives the held-out documents away are taken out, byte-level BPE is learnt, a GPT is trained, and
the held-out documents are scored in bits a byte. That is the size of the file a coder driven by
the model would write, so it stands beside gzip, and beside n-grams of the same tokens.
"""

import gzip
import math
from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import shakespeare
from orrery.data.batches import sample_windows
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.metrics.compression import bits
from orrery.systems.language.bpe import BpeConfig
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.bpe_trainer import train as train_bpe
from orrery.systems.language.gpt import Gpt
from orrery.systems.language.small_lm import (
    SmallLmConfig,
    bits_per_byte,
    clean,
    documents_of,
    model_card,
    ngram_bits_per_byte,
    tokenised,
)
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("gzip", "n-grams", "gpt")

CLAIMS = (
    Finding(
        "the model stores held-out text in a tenth less than gzip does",
        effect=lambda m: 0.9 * m["gzip"] - m["gpt"],
    ),
    Finding(
        "it beats n-grams that have counted as many tokens",
        effect=lambda m: m["n-grams"] - m["gpt"],
    ),
    Control(
        "untrained, it takes all tokens for equally likely, to a twentieth",
        effect=lambda m: 0.05 - abs(m["untrained"] / m["uniform"] - 1),
    ),
    Control("the tokens decode to the text, every byte", effect=lambda m: m["whole"] - 0.5),
)
ABLATIONS = ("shuffled_tokens",)
SEEDS = 4
SCALES = {
    "smoke": {"characters": 60_000, "steps": 3, "vocab": 300, "width": 32, "depth": 1,
              "context": 16},
    "tour": {"characters": 400_000, "steps": 150, "vocab": 512},
    "large": {"characters": 6_000_000, "steps": 10_000, "batch": 64, "vocab": 4_096,
              "context": 256, "depth": 6, "heads": 6, "width": 384},
}  # fmt: skip


class SmallLmSettings(Settings):
    """A smoke run reads a little for a moment; a tour reads a fifth of the works."""

    characters: Annotated[int, Range(20_000, 6_000_000)] = 2_000_000
    """Characters of Shakespeare that are collected."""
    vocab: Annotated[int, Range(256, 65_536, "tokens")] = 1_024
    """Tokens that BPE learns, bytes included."""
    steps: Annotated[int, Range(1, 1_000_000)] = 500
    """Optimiser steps."""
    batch: Annotated[int, Range(1, 512, "windows")] = 8
    """Windows in a batch."""
    context: Annotated[int, Range(8, 1_024, "tokens")] = 64
    """Length of a window."""
    depth: Annotated[int, Range(1, 24)] = 3
    """Blocks of the GPT."""
    heads: Annotated[int, Range(1, 16)] = 4
    """Attention heads in a block."""
    width: Annotated[int, Range(16, 1_024)] = 128
    """Of the stream."""
    rate: Annotated[float, Range(1e-6, 0.1)] = 0.01
    """Highest learning rate."""


def run(settings: SmallLmSettings, lab: Lab) -> Measured:
    """Collect, clean, tokenise, train, evaluate, sample and describe."""
    config = SmallLmConfig(
        vocab=settings.vocab, context=settings.context, depth=settings.depth,
        heads=settings.heads, width=settings.width, seed=lab.seed,
    )  # fmt: skip
    text = shakespeare.load()
    start = int(lab.numpy_rng("text").integers(max(1, len(text) - settings.characters)))
    collected = documents_of(text[start : start + settings.characters], config.document)
    parts = clean(collected, config)
    vocabulary = train_bpe(parts["training"], BpeConfig(vocab=config.vocab))
    prepared = tokenised(parts, vocabulary)
    raw = "".join(parts["held out"]).encode()
    whole = FastBpe(vocabulary).decode(prepared.held_out.tolist()).encode() == raw
    torch.manual_seed(lab.rng("weights").initial_seed())
    gpt = Gpt(config.gpt(config.vocab)).to(lab.device)
    held_out = prepared.held_out.to(lab.device)
    untrained = bits_per_byte(gpt, held_out, len(raw))
    train(gpt, prepared.training, settings, lab)

    read = settings.steps * settings.batch * settings.context
    measured = {
        "gpt": bits_per_byte(gpt, held_out, len(raw)),
        "n-grams": ngram_bits_per_byte(prepared, config.order, read),
        "gzip": 8 * len(gzip.compress(raw, 9, mtime=0)) / len(raw),
        "untrained": untrained,
        "uniform": math.log2(config.vocab) * (len(held_out) - 1) / len(raw),
        "whole": float(whole), "bytes a token": len(raw) / len(held_out),
    }  # fmt: skip
    written = gpt.generate(held_out[None, :8], 120, generator=lab.rng("sample"))
    sample = FastBpe(vocabulary).decode(written[0].tolist())
    lab.sample("card", model_card(config, prepared, {arm: measured[arm] for arm in ARMS}, sample))
    return measured


def train(gpt: Gpt, tokens: Tensor, settings: SmallLmSettings, lab: Lab) -> None:
    """Muon for the matrices, AdamW for the rest, on windows drawn at random."""
    if lab.ablated("shuffled_tokens"):
        tokens = tokens[torch.randperm(len(tokens), generator=lab.rng("shuffle"))]
    use_fast_products(gpt)
    optimisers = muon_and_adamw(gpt, settings.rate)
    for step in lab.steps("train", settings.steps, state=(gpt, *optimisers)):
        batch = sample_windows(tokens, settings.context, settings.batch, lab.rng("batch", step))
        loss = gpt.loss(*(part.to(lab.device) for part in batch))
        gpt.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, settings.steps, warmup=20))
            optimiser.step()
        lab.log(bits=bits(loss.item()))


def draw(results: Sequence[Measured], settings: SmallLmSettings) -> dict[str, Figure]:
    """Bits a byte of each arm."""
    figure, (axis,) = new_figure(4.8, 3.2)
    mean, half = over_seeds(results, list(ARMS))
    axis.bar(range(len(ARMS)), mean, yerr=half, color=COLOURS[: len(ARMS)], ecolor="#9aa0aa")
    axis.set_xticks(range(len(ARMS)), list(ARMS))
    axis.set(title="Held-out text of Shakespeare", ylabel="bits a byte")
    return {"bits": figure}
