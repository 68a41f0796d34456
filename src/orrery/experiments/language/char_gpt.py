"""Does a character-level GPT need to be told where its characters stand?

On each text a GPT, the same GPT without embeddings of positions, an LSTM of as many parameters
and Kneser-Ney n-grams read the same number of characters. They are scored in bits a character on
the second half of held-out windows, where each has half a window of past.

A causal decoder can learn where things stand without being told, so the claim that positional
encodings supply the structure can fail; it holds if leaving them out costs a twentieth of a bit.
The plan has attention weights explain a model, corrected to: not reliably. That holds if they rank
characters by the effect of changing them hardly better (by a tenth) than mere nearness does.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from matplotlib.figure import Figure
from pydantic import Field
from torch import Tensor

from orrery.data import shakespeare, tang_poems
from orrery.data.batches import sample_windows
from orrery.data.corpus import Corpus
from orrery.experiments.language._char_gpt_figures import bits_by_arm
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.heat_maps import heat_maps
from orrery.metrics.compression import bits
from orrery.systems.language.attention_map import (
    attention_maps,
    effect_of,
    rank_correlation,
    weight_of,
)
from orrery.systems.language.autoregressive import surprise
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.language.lstm_lm import LstmLm, of_size
from orrery.systems.language.ngram import Ngram, NgramConfig
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

Text = Literal["shakespeare", "tang_poems"]
TEXTS = {"shakespeare": shakespeare, "tang_poems": tang_poems}
KEPT_FROM = {"shakespeare": 1, "tang_poems": 100}  # rarer characters count as one unknown
ARMS, KEY_SIZES = ("gpt", "no_positions", "lstm", "ngram", "unigram"), (16, 64, 256)


def texts(m: Measured) -> list[str]:
    """Those that were read."""
    return [name for name in TEXTS if f"{name}/gpt" in m]


def lead(m: Measured, worse: str) -> float:
    """Bits a character by which GPT beats an arm, on the text where it does so least."""
    return min(m[f"{name}/{worse}"] - m[f"{name}/gpt"] for name in texts(m))


CLAIMS = (
    Claim("positions-structure", effect=lambda m: lead(m, "no_positions"), margin=0.05,
        text="without positions a GPT loses a twentieth of a bit a character",
    ),
    Claim(
        "attention-sqrt-dk",
        effect=lambda m: 0.05 - max(abs(m[f"variance/{d}"] / d - 1) for d in KEY_SIZES),
        text="the product of random queries and keys has variance d, to a twentieth",
    ),
    Claim(
        "attention-interpretable",
        effect=lambda m: 0.1 - max(m[f"{t}/weight"] - m[f"{t}/nearness"] for t in texts(m)),
        text="attention weights rank characters by their effect hardly better than nearness does",
    ),
    Finding("GPT beats an LSTM of as many parameters", effect=lambda m: lead(m, "lstm")),
    Finding("GPT beats n-grams of as many characters", effect=lambda m: lead(m, "ngram")),
    Control(
        "GPT beats the frequencies of single characters by half a bit",
        effect=lambda m: lead(m, "unigram"), margin=0.5,
    ),
    Control(
        "an untrained GPT takes all characters for equally likely, to a tenth of a bit",
        effect=lambda m: 0.1 - max(abs(m[f"{t}/untrained"] - m[f"{t}/uniform"]) for t in texts(m)),
    ),
)  # fmt: skip
ABLATIONS = ("no_positions",)
SEEDS = 4
SCALES = {
    "smoke": {"texts": ("shakespeare",), "steps": 3, "context": 16, "head_size": 8, "held_out": 8},
    "tour": {"texts": ("shakespeare",), "steps": 150, "context": 32, "held_out": 128},
    "large": {"steps": 5_000, "batch": 64, "context": 256, "depth": 6, "heads": 6, "head_size": 64},
}  # fmt: skip


class CharGptSettings(Settings):
    """A smoke run trains smaller networks for a few steps; a tour reads one text."""

    texts: Annotated[tuple[Text, ...], Field(min_length=1)] = ("shakespeare", "tang_poems")
    """English plays; Chinese poems, which need npm to be fetched."""
    steps: Annotated[int, Range(1, 100_000)] = 400
    """Optimiser steps of each network."""
    batch: Annotated[int, Range(1, 512, "windows")] = 8
    """Windows in a batch."""
    context: Annotated[int, Range(8, 1_024, "characters")] = 64
    """Length of a window."""
    depth: Annotated[int, Range(1, 24)] = 2
    """Blocks of the GPT."""
    heads: Annotated[int, Range(1, 16)] = 3
    """Attention heads in a block."""
    head_size: Annotated[int, Range(4, 256)] = 32
    """Of a head's keys; the GPT is `heads` times as wide."""
    order: Annotated[int, Range(2, 8, "characters")] = 6
    """Longest gram that is counted."""
    rate: Annotated[float, Range(1e-6, 0.1)] = 0.01
    """Highest learning rate."""
    held_out: Annotated[int, Range(1, 10_000, "windows")] = 256
    """Held-out windows that are scored."""


def run(settings: CharGptSettings, lab: Lab) -> Measured:
    """Let every arm read each text."""
    drawn = {d: torch.randn(2, 20_000, d, generator=lab.rng("keys", d)) for d in KEY_SIZES}
    measured = {f"variance/{d}": float((q * k).sum(dim=-1).var()) for d, (q, k) in drawn.items()}
    for name in dict.fromkeys(settings.texts):
        found = read(name, settings, lab)
        measured |= {f"{name}/{key}": value for key, value in found.items()}
    return measured


def read(name: str, settings: CharGptSettings, lab: Lab) -> Measured:
    """Let every arm read one text, score all on the same windows, and look into the GPT."""
    corpus = Corpus.from_split(TEXTS[name].split(), at_least=KEPT_FROM[name])
    vocab, context = len(corpus.characters), settings.context
    x, y = sample_windows(corpus.held_out, context, settings.held_out, lab.rng("held out"))
    windows = torch.cat([x, y[:, -1:]], dim=1).to(lab.device)
    gpt = Gpt(GptConfig(
        vocab=vocab, context=context, depth=settings.depth, heads=settings.heads,
        width=settings.heads * settings.head_size,
        positions="none" if lab.ablated("no_positions") else "learned",
    )).to(lab.device)  # fmt: skip
    blind = Gpt(replace(gpt.config, positions="none")).to(lab.device)
    lstm = LstmLm(of_size(sum(p.numel() for p in gpt.parameters()), vocab=vocab)).to(lab.device)
    arms: dict[str, Gpt | LstmLm] = {"gpt": gpt, "no_positions": blind, "lstm": lstm}
    found = {"uniform": math.log2(vocab), "untrained": score(surprise(gpt, windows))}
    for arm, network in arms.items():
        train(f"{name}-{arm}", network, corpus.training, settings, lab)
        found[arm] = score(surprise(network, windows))
    seen = corpus.training[: settings.steps * settings.batch * context].numpy()
    for arm, order in {"ngram": settings.order, "unigram": 1}.items():
        ngram = Ngram(NgramConfig(vocab=vocab, order=order), seen)
        found[arm] = score(torch.from_numpy(ngram.surprise(windows.cpu().numpy())[:, 1:]))
    return found | look_inside(name, gpt, windows[:, :-1], corpus, lab)


def score(nats: Tensor) -> float:
    """Bits a character over the second half of the windows, where every arm has a past."""
    return bits(float(nats[:, nats.shape[1] // 2 :].mean()))


def look_inside(name: str, gpt: Gpt, windows: Tensor, corpus: Corpus, lab: Lab) -> Measured:
    """Where the GPT looks, whether that matters to it, and what it writes."""
    rows, line = windows[:16], windows[:1, :32]
    effect = effect_of(gpt, rows, substitutes=windows[0, :2])
    nearness = torch.arange(float(rows.shape[1]), device=lab.device).expand(rows.shape)
    near, weight = (rank_correlation(m, effect).mean() for m in (nearness, weight_of(gpt, rows)))
    maps = attention_maps(gpt, line)[:, 0].cpu().numpy()
    lab.figure(f"{name}-attention", heat_maps(maps, corpus.characters.decode(line[0].tolist())))
    written = gpt.generate(line[:, :16], 4 * rows.shape[1], generator=lab.rng("sample"))
    lab.sample(f"{name}-gpt", corpus.characters.decode(written[0].tolist()))
    return {"weight": float(weight), "nearness": float(near)}


def train(
    phase: str, model: Gpt | LstmLm, tokens: Tensor, settings: CharGptSettings, lab: Lab
) -> None:
    """Muon for the matrices, AdamW for the rest; every arm sees the same batches."""
    use_fast_products(model)
    optimisers = muon_and_adamw(model, settings.rate)
    for step in lab.steps(phase, settings.steps, state=(model, *optimisers)):
        batch = sample_windows(tokens, settings.context, settings.batch, lab.rng("batch", step))
        loss = model.loss(*(part.to(lab.device) for part in batch))
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, settings.steps, warmup=20))
            optimiser.step()
        lab.log(bits=bits(loss.item()))


def draw(results: Sequence[Measured], settings: CharGptSettings) -> dict[str, Figure]:
    """Bits a character of each arm, with intervals over the seeds."""
    return {"bits": bits_by_arm(results, settings.texts, ARMS)}
