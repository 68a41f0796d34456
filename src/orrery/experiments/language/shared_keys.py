"""What do fewer key and value heads cost, and what do they save?

Three small Llamas learn Shakespeare on the same windows: with a head of keys and values for each
head of queries, with one for every four (grouped), and with one for all (multi-query). The weights
that sharing saves go into wider feed-forward blocks, so that all three have as many parameters, to
less than a hundredth. Compared are the loss on plays they have not seen, the bytes of a real cache,
and the time of a token late in a long text. That time includes copying the cache, which the cache
here does for every token, so it is this program's and not the least possible.

The first model is also turned into a grouped one as Ainslie et al. 2023, arXiv:2305.13245, section
2.1, do it: the maps of each group's keys and values are averaged, and the model learns on for a
twentieth of the steps. The rate for that is chosen on text that nothing else is judged on.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
from matplotlib.figure import Figure

from orrery.data.batches import sample_windows
from orrery.experiments.language._key_heads import Plays, averaged, pictured, token_seconds, weigh
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.systems.language.llama import Llama, LlamaConfig, parameters
from orrery.systems.language.llama2 import with_groups
from orrery.systems.language.llm_finetune import held_out_loss
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("many", "grouped", "single")
RATES = (0.001, 0.003, 0.01)
"""Of learning on after averaging."""

CLAIMS = (
    Finding(
        "grouped keys cost less than 0.02 nats a token against as many keys as queries",
        effect=lambda m: 0.02 - (m["grouped/loss"] - m["many/loss"]),
    ),
    Finding(
        "a single head of keys costs more than grouped keys",
        effect=lambda m: m["single/loss"] - m["grouped/loss"],
    ),
    Finding(
        "late in a long text a token takes less time with grouped keys than with many",
        effect=lambda m: m["many/seconds"] / m["grouped/seconds"],
        margin=1.0,
    ),
    Finding(
        "learning on for a twentieth of the steps regains most of what averaging lost",
        effect=lambda m: (
            (m["averaged/loss"] - m["learnt on/loss"]) / (m["averaged/loss"] - m["many/loss"])
        ),
        margin=0.5,
    ),
    Control(
        "after writing a text every cache has the bytes that the calculator says",
        effect=lambda m: 0.5 - max(abs(m[f"{a}/bytes"] - m[f"{a}/calculated"]) for a in ARMS),
    ),
    Control(
        "the three configs have as many parameters, to a hundredth",
        effect=lambda m: (
            1.01 - max(m[f"{a}/size"] for a in ARMS) / min(m[f"{a}/size"] for a in ARMS)
        ),
    ),
    Control(
        "averaging into as many heads as before changes nothing",
        effect=lambda m: 1e-4 - abs(m["unchanged/loss"] - m["many/loss"]),
    ),
    Control(
        "with many keys it learns",
        effect=lambda m: m["untrained/loss"] - m["many/loss"],
        margin=1.0,
    ),
)
ABLATIONS = ("keys_averaged",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 2, "context": 16, "depth": 1, "windows": 4, "long": 64, "rounds": 1,
              "characters": 40_000, "vocab": 300, "written": 8},
    "tour": {"steps": 100, "rounds": 5},
    "large": {"steps": 20_000, "batch": 64, "depth": 8, "heads": 16, "head_size": 32,
              "characters": 4_000_000},
}  # fmt: skip


class SharedKeysSettings(Settings):
    """A smoke run takes two steps; a tour learns for a moment."""

    characters: Annotated[int, Range(20_000, 5_000_000)] = 2_000_000
    """Of the plays to learn from."""
    vocab: Annotated[int, Range(256, 65_536, "tokens")] = 512
    """Tokens that BPE learns, bytes included."""
    context: Annotated[int, Range(8, 4_096, "tokens")] = 64
    """Length of a window."""
    batch: Annotated[int, Range(1, 512, "windows")] = 16
    """Windows in a batch."""
    steps: Annotated[int, Range(2, 1_000_000)] = 220
    """Optimiser steps of each model."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.01
    """Highest learning rate."""
    windows: Annotated[int, Range(1, 10_000)] = 128
    """Held out: so many to choose by, and as many to judge by."""
    depth: Annotated[int, Range(1, 48)] = 2
    """Blocks."""
    heads: Annotated[int, Range(4, 64)] = 8
    """Of queries; a multiple of four."""
    head_size: Annotated[int, Range(2, 256)] = 16
    """Numbers a head."""
    written: Annotated[int, Range(2, 4_096, "tokens")] = 64
    """That are written before a cache is weighed."""
    long: Annotated[int, Range(16, 131_072, "tokens")] = 8_192
    """In the cache when a token is timed."""
    rounds: Annotated[int, Range(1, 1_000)] = 21
    """Tokens timed, of which the median counts."""


def run(settings: SharedKeysSettings, lab: Lab) -> Measured:
    """Train the three, turn the first into a grouped one, weigh and time their caches."""
    s, models, measured = settings, dict[str, Llama](), Measured()
    plays = Plays.load(s.characters, s.vocab, s.context, s.windows, lab)
    for arm, config in configs(s).items():
        torch.manual_seed(lab.rng("weights").initial_seed())
        model = Llama(config).to(lab.device)
        use_fast_products(model)
        if arm == "many":
            measured["untrained/loss"] = held_out_loss(model, *plays.judging)
        if arm == "grouped" and lab.ablated("keys_averaged"):
            model = averaged(models["many"], s.heads // 4)
        else:
            train(arm, model, s.steps, s.rate, plays, s, lab)
        measured[f"{arm}/loss"] = held_out_loss(model, *plays.judging)
        measured[f"{arm}/size"] = float(parameters(config))
        for name, count in weigh(model, plays.text[:8], s.written).items():
            measured[f"{arm}/{name}"] = count
        models[arm] = model
    same = averaged(models["many"], s.heads)
    measured["unchanged/loss"] = held_out_loss(same, *plays.judging)
    measured |= converted(models["many"], plays, s, lab)
    times = lab.measure("times", lambda: token_seconds(models, plays.text, s.long, s.rounds))
    return measured | times


def configs(settings: SharedKeysSettings) -> dict[str, LlamaConfig]:
    """Of each arm; feed-forward blocks take up the weights that keys and values leave."""
    width = settings.heads * settings.head_size
    many = LlamaConfig(
        vocab=settings.vocab, context=settings.context, depth=settings.depth, tied=True,
        heads=settings.heads, width=width, inner=8 * width // 3,
    )  # fmt: skip
    found = {}
    for arm, groups in zip(ARMS, (settings.heads, settings.heads // 4, 1), strict=True):
        saved = 2 * (settings.heads - groups) * settings.head_size  # columns, as wide as a gate's
        found[arm] = replace(with_groups(many, groups), inner=many.inner + round(saved / 3))
    return found


def train(
    phase: str, model: Llama, steps: int, rate: float, plays: Plays,
    settings: SharedKeysSettings, lab: Lab,
) -> None:  # fmt: skip
    """Muon and AdamW on windows drawn at random; every arm sees the same ones."""
    optimisers = muon_and_adamw(model, rate)
    for step in lab.steps(phase, steps, state=(model, *optimisers)):
        batch = sample_windows(plays.text, settings.context, settings.batch, lab.rng("b", step))
        loss = model.loss(*batch)
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, steps, warmup=min(20, steps // 4)))
            optimiser.step()
        lab.log(loss=loss)


def converted(many: Llama, plays: Plays, settings: SharedKeysSettings, lab: Lab) -> Measured:
    """Losses after averaging, and after learning on at the rate that suits it best."""
    steps, tried = max(1, settings.steps // 20), dict[float, Llama]()
    for rate in RATES:
        tried[rate] = averaged(many, settings.heads // 4)
        train(f"learns on at {rate:g}", tried[rate], steps, rate, plays, settings, lab)
    best = min(RATES, key=lambda rate: held_out_loss(tried[rate], *plays.choosing))
    before = averaged(many, settings.heads // 4)
    return {
        "averaged/loss": held_out_loss(before, *plays.judging),
        "learnt on/loss": held_out_loss(tried[best], *plays.judging),
        "learnt on/rate": best,
    }


def draw(results: Sequence[Measured], settings: SharedKeysSettings) -> dict[str, Figure]:
    """What sharing costs, and what it saves."""
    return {"keys": pictured(results, ARMS, settings.long)}
