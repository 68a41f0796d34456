"""Can one text-to-text model do several tasks, told apart by a prefix, and does pre-training help?

A small T5 reads a stretch of a verse after the name of a task and writes the first word, the last
word, all words in reverse, or a gist: the rarest words in the order of the text. All four are
learnt by one model from mixed batches. That the prefix is what tells it the task is seen when the
same texts come with another task's prefix.

Then a T5 that was pre-trained on cut-out stretches, and a BART that was pre-trained to write
damaged texts whole, both for a few hundred steps, are fine-tuned on few examples of each task,
beside models that begin untrained and take the same steps on the same examples. Rates of learning
were chosen on verses that are learnt from; all scores are of greedy answers on unread books.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Generator

from orrery.experiments.language._prefixed import TASKS, Pair, PrefixedVerses
from orrery.experiments.language._text_to_text_figures import pictured
from orrery.inference.encoder_decoder import EncoderDecoder
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.systems.language.bart import Bart, BartConfig
from orrery.systems.language.t5 import T5, T5Config
from orrery.train.muon import muon_and_adamw
from orrery.train.schedule import scale_rates, trapezoid

RATES = {"t5": 0.015, "bart": 0.01}
ALONE = "first"  # the task of a model of its own
Pairs = Callable[[Generator], list[Pair]]


def mean(m: Measured, arm: str, what: str = "tokens") -> float:
    """Over the tasks."""
    return sum(m[f"{arm}/{task}/{what}"] for task in TASKS) / len(TASKS)


def helped(m: Measured, kind: str) -> float:
    """Share of tokens that pre-training adds after few examples."""
    return mean(m, f"{kind} pre-trained") - mean(m, f"{kind} from scratch")


CLAIMS = (
    Finding(
        "the prefix tells one model its task: with another task's, the share of right answers is "
        "lower by a fifth of all",
        effect=lambda m: mean(m, "one", "exact") - mean(m, "misled", "exact"),
        margin=0.2,
    ),
    Finding(
        "one model gives first words as well as one of its own that saw as many, to a tenth",
        effect=lambda m: 0.1 + m[f"one/{ALONE}/exact"] - m[f"alone/{ALONE}/exact"],
    ),
    Finding(
        "with few examples T5 is better pre-trained on cut-out stretches, by a twentieth of tokens",
        effect=lambda m: helped(m, "t5"),
        margin=0.05,
    ),
    Finding(
        "with few examples BART is better pre-trained on damaged texts, by a twentieth of tokens",
        effect=lambda m: helped(m, "bart"),
        margin=0.05,
    ),
    Finding(
        "with few examples BART's gists are better pre-trained, by a twentieth of tokens",
        effect=lambda m: m["bart pre-trained/gist/tokens"] - m["bart from scratch/gist/tokens"],
        margin=0.05,
    ),
    Control(
        "untrained, both have hardly a token right",
        effect=lambda m: 0.05 - max(mean(m, f"{k} untrained") for k in RATES),
    ),
    Control(
        "a model of its own learns to give the first word",
        effect=lambda m: m[f"alone/{ALONE}/exact"],
        margin=0.1,
    ),
    Control(
        "both kinds of pre-training are learnt: a nat less on unread books",
        effect=lambda m: min(m[f"{k}/noise before"] - m[f"{k}/noise after"] for k in RATES),
        margin=1.0,
    ),
)  # fmt: skip
ABLATIONS = ("no_prefix",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 4, "noise_steps": 2, "few_steps": 2, "few": 4, "tests": 8, "width": 16,
              "depth": 1, "batch": 8, "vocab": 300},
    "tour": {"steps": 200, "noise_steps": 100, "few_steps": 50, "tests": 64},
    "large": {"steps": 20_000, "noise_steps": 50_000, "few_steps": 1_000, "few": 1_024, "words": 12,
              "noise_words": 40, "width": 256, "depth": 4, "vocab": 4_096},
}  # fmt: skip


class TextToTextSettings(Settings):
    """A smoke run takes a few steps of smaller models."""

    vocab: Annotated[int, Range(256, 65_536, "tokens")] = 1_024
    """Tokens that BPE learns, bytes included."""
    words: Annotated[int, Range(2, 40)] = 5
    """Of a task's text."""
    noise_words: Annotated[int, Range(4, 40)] = 10
    """Of a text to pre-train on."""
    steps: Annotated[int, Range(4, 1_000_000)] = 300
    """Optimiser steps on all tasks; a quarter of them on one task alone."""
    noise_steps: Annotated[int, Range(1, 1_000_000)] = 250
    """Of each pre-training."""
    few_steps: Annotated[int, Range(1, 1_000_000)] = 100
    """On few examples."""
    few: Annotated[int, Range(1, 100_000, "examples")] = 256
    """Of each task, to fine-tune on."""
    batch: Annotated[int, Range(4, 4_096, "texts")] = 32
    """Of which each task has a quarter."""
    tests: Annotated[int, Range(1, 10_000, "texts")] = 128
    """Judged of each task."""
    width: Annotated[int, Range(8, 2_048)] = 64
    """Of the models; a multiple of 4, their heads."""
    depth: Annotated[int, Range(1, 24)] = 2
    """Blocks of each encoder and of each decoder."""


def run(settings: TextToTextSettings, lab: Lab) -> Measured:
    """One model for all tasks and one of its own for one; then both kinds of pre-training."""
    s = settings
    verses = PrefixedVerses.load(
        vocab=s.vocab, longest=max(s.words, s.noise_words), words=s.words, tests=s.tests,
        told=not lab.ablated("no_prefix"), lab=lab,
    )  # fmt: skip

    def examples(*tasks: str) -> Pairs:
        return lambda rng: verses.examples(tasks, s.batch, s.words, rng)

    one, alone = build("t5", verses, s, lab), build("t5", verses, s, lab)
    learn("all tasks", one, s.steps, examples(*TASKS), verses, lab)
    measured = verses.scores("one", one) | verses.scores("misled", one, misled=True)
    lab.sample("answers", verses.shown(one))
    learn("one task", alone, s.steps // len(TASKS), examples(ALONE), verses, lab)
    measured |= verses.scores("alone", alone)
    for kind in RATES:
        measured |= pre_trained(kind, verses, s, lab)
    return measured


def build(kind: str, v: PrefixedVerses, s: TextToTextSettings, lab: Lab) -> EncoderDecoder:
    """An untrained model, the same each time."""
    torch.manual_seed(lab.rng(f"weights of {kind}").initial_seed())
    if kind == "t5":
        return T5(T5Config(
            vocab=v.vocab, depth=s.depth, heads=4, width=s.width, head_size=s.width // 4,
            inner=4 * s.width, farthest=64, dropout=0.0, start=v.padding, padding=v.padding,
            end=v.end,
        )).to(lab.device)  # fmt: skip
    return Bart(BartConfig(
        vocab=v.vocab, context=1024, depth=s.depth, heads=4, width=s.width, inner=4 * s.width,
        dropout=0.0, start=v.padding, padding=v.padding, end=v.end,
    )).to(lab.device)  # fmt: skip


def learn(
    phase: str, model: EncoderDecoder, steps: int, pairs: Pairs, verses: PrefixedVerses, lab: Lab
) -> None:
    """Muon and AdamW on the mean cross-entropy of the targets."""
    optimisers = muon_and_adamw(model, RATES[model.kind])
    for step in lab.steps(phase, steps, state=(model, *optimisers)):
        batch = verses.batch(pairs(lab.rng("batch", step)))
        loss = model.loss(batch.source, batch.target, batch.seen)
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, steps, warmup=10))
            optimiser.step()
        lab.log(loss=loss)


def pre_trained(kind: str, verses: PrefixedVerses, s: TextToTextSettings, lab: Lab) -> Measured:
    """Scores after few examples, from scratch and from a model that was pre-trained."""
    few = verses.examples(TASKS, s.few * len(TASKS), s.words, lab.rng("few"))

    def some(rng: Generator) -> list[Pair]:
        return [few[i] for i in torch.randint(len(few), (s.batch,), generator=rng).tolist()]

    scratch, model = build(kind, verses, s, lab), build(kind, verses, s, lab)
    measured = verses.scores(f"{kind} untrained", scratch)
    measured[f"{kind}/noise before"] = verses.noise_loss(kind, model, lab.rng("noise"))
    learn(f"{kind} on noise", model, s.noise_steps,
          lambda rng: verses.noise(kind, s.batch, s.noise_words, rng), verses, lab)  # fmt: skip
    measured[f"{kind}/noise after"] = verses.noise_loss(kind, model, lab.rng("noise"))
    for start, starting in (("from scratch", scratch), ("pre-trained", model)):
        learn(f"{kind} {start}", starting, s.few_steps, some, verses, lab)
        measured |= verses.scores(f"{kind} {start}", starting)
    return measured


def draw(results: Sequence[Measured], settings: TextToTextSettings) -> dict[str, Figure]:
    """Tokens right of each task: of one model by its prefix, and after few examples."""
    return {"tasks": pictured(results, tuple(RATES))}
