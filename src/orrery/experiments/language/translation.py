"""Do attention and the Transformer translate better than a fixed vector and than phrase tables?

Short verses of the Bible, English to Spanish, in four ways: phrases with an n-gram language model;
an LSTM that reads a verse into one vector; a writer that looks back by additive attention; and a
Transformer. All see the same verses and vocabularies; what is scored, in BLEU, are verses of books
that none of them has seen.

The corpus is small, some thousand verses, which is where phrase tables are at their best.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch.nn.utils import clip_grad_norm_

from orrery.experiments.language._one_table import OneTable
from orrery.experiments.language._verses import Verses
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.language.attention_bahdanau import BahdanauAttention
from orrery.systems.language.seq2seq import Seq2Seq, Seq2SeqConfig
from orrery.systems.language.smt import Smt, SmtConfig
from orrery.systems.language.translator import PADDING, START, UNKNOWN, Translator
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("smt", "seq2seq", "attention", "transformer")
Model = Seq2Seq | BahdanauAttention | OneTable
PARTS = ("short", "long")

CLAIMS = (
    Finding(
        "attention beats the fixed vector on long verses by two points of BLEU",
        effect=lambda m: m["attention/long"] - m["seq2seq/long"],
        margin=2.0,
    ),
    Finding(
        "the fixed vector keeps a smaller share of its BLEU on long verses than attention does",
        effect=lambda m: kept(m, "attention") - kept(m, "seq2seq"),
    ),
    Finding(
        "the fixed vector beats phrase tables",
        effect=lambda m: m["seq2seq/all"] - m["smt/all"],
    ),
    Finding(
        "attention beats phrase tables",
        effect=lambda m: m["attention/all"] - m["smt/all"],
    ),
    Finding(
        "the Transformer beats attention in a recurrent net",
        effect=lambda m: m["transformer/all"] - m["attention/all"],
    ),
    Control(
        "phrase tables translate: more than four times the BLEU of copying the English",
        effect=lambda m: m["smt/all"] / m["copied/all"],
        margin=4.0,
    ),
    Control(
        "the fixed vector learns: it beats itself untrained",
        effect=lambda m: m["seq2seq/all"] - m["untrained/all"],
    ),
)
ABLATIONS = ("no_attention",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 3, "held_out": 12, "width": 8, "batch": 4, "longest": 8, "vocab": 300},
    "large": {"steps": 20_000, "longest": 40, "vocab": 10_000, "width": 512, "held_out": 1_000},
}


def kept(m: Measured, arm: str) -> float:
    """BLEU of the long verses over that of the short ones."""
    return m[f"{arm}/long"] / max(m[f"{arm}/short"], 1e-9)


class TranslationSettings(Settings):
    """A smoke run learns for a moment, on the shortest verses."""

    longest: Annotated[int, Range(6, 200, "words")] = 16
    """Of a verse, in either language."""
    vocab: Annotated[int, Range(10, 50_000, "words")] = 2_000
    """That are told apart in each language, the most frequent ones."""
    held_out: Annotated[int, Range(4, 10_000, "verses")] = 200
    """That are scored."""
    steps: Annotated[int, Range(1, 1_000_000)] = 500
    """Optimiser steps of each network."""
    batch: Annotated[int, Range(1, 4_096, "verses")] = 32
    """Verses in a batch."""
    width: Annotated[int, Range(2, 4_096)] = 128
    """Of the networks."""
    dropout: Annotated[float, Range(0.0, 0.9)] = 0.3
    """While training."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.003
    """Highest learning rate."""


def run(settings: TranslationSettings, lab: Lab) -> Measured:
    """Let every arm learn the same verses, and score all on others."""
    s = settings
    verses = Verses.load(s.longest, s.vocab, s.held_out, lab.rng("held out"))
    found = {"copied": verses.scores(verses.sources)}
    sizes = Seq2SeqConfig(
        source_vocab=len(verses.english), target_vocab=len(verses.spanish), width=s.width,
        dropout=s.dropout,
    )  # fmt: skip
    found["smt"] = lab.measure("smt", lambda: verses.scores(phrases(verses)))
    torch.manual_seed(lab.rng("weights").initial_seed())
    fixed = Seq2Seq(sizes)
    looks = BahdanauAttention(sizes, attends=not lab.ablated("no_attention"))
    found["untrained"] = verses.scores(written(verses, fixed, lab, "untrained"))
    whole = OneTable(verses, s.width, s.dropout)
    networks: dict[str, Model] = {"seq2seq": fixed, "attention": looks, "transformer": whole}
    for arm, model in networks.items():
        model.train()
        train(arm, model, verses, settings, lab)
        found[arm] = verses.scores(written(verses, model, lab, arm))
    lab.figure("alignment", alignment(looks, verses))
    return {
        f"{arm}/{part}": score for arm, scores in found.items() for part, score in scores.items()
    }


def phrases(verses: Verses) -> list[list[str]]:
    """Translations by phrase table and language model; a word without a translation is a mark."""
    config = SmtConfig(target_vocab=len(verses.spanish), unknown=UNKNOWN, separator=PADDING, beam=8)
    sources, targets = zip(*verses.pairs, strict=True)
    smt = Smt(config, sources, targets)
    return [
        verses.spanish.decode(smt.translate(verses.english.encode(source)))
        for source in verses.sources
    ]


def train(arm: str, model: Model, verses: Verses, settings: TranslationSettings, lab: Lab) -> None:
    """Teach a network; every arm sees the same batches. Norms behind the sums need a warm-up."""
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
    warmup = settings.steps // 5 if arm == "transformer" else 0
    for step in lab.steps(arm, settings.steps, state=(model, optimiser)):
        batch = verses.batch(settings.batch, lab.rng("batch", step))
        loss = model.loss(batch.source, batch.target, batch.after)
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        scale_rates(optimiser, trapezoid(step, settings.steps, warmup=warmup, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)


def written(verses: Verses, model: Model, lab: Lab, name: str) -> list[list[str]]:
    """Translations by a network, of which the first ten are kept to be read."""
    translator = Translator(verses.english, verses.spanish, model.eval())
    found = translator.translate(verses.sources)
    rows = zip(verses.sources[:10], found, verses.references, strict=False)
    lab.sample(name, "\n\n".join("\n".join(map(" ".join, row)) for row in rows))
    return found


def alignment(model: BahdanauAttention, verses: Verses) -> Figure:
    """Where the writer looks while it writes the reference of the first verse."""
    english, spanish = verses.sources[0], verses.references[0]
    source = torch.tensor([verses.english.encode(english)])
    target = torch.tensor([[START, *verses.spanish.encode(spanish)]])
    with torch.no_grad():
        weights = model(source, target).alignment[0]
    figure, (axis,) = new_figure(4.2, 4.2)
    axis.imshow(weights.sqrt().numpy(), cmap="Blues", vmin=0, vmax=1)  # the root shows small ones
    axis.set_xticks(range(len(english)), english, rotation=90)
    axis.set_yticks(range(len(spanish) + 1), [*spanish, "(end)"])
    axis.grid(visible=False)
    return figure


def draw(results: Sequence[Measured], settings: TranslationSettings) -> dict[str, Figure]:
    """BLEU of every arm on short and on long verses."""
    figure, (axis,) = new_figure(6.0, 3.2)
    for i, part in enumerate(PARTS):
        mean, half = over_seeds(results, [f"{arm}/{part}" for arm in ARMS])
        places = [k + 0.4 * i for k in range(len(ARMS))]
        axis.bar(places, mean, 0.38, yerr=half, color=COLOURS[i], ecolor="#9aa0aa", label=part)
    axis.set_xticks([k + 0.2 for k in range(len(ARMS))], ARMS)
    axis.set(title="English to Spanish, short and long verses", ylabel="BLEU")
    axis.legend()
    return {"bleu": figure}
