"""Is it better to guess hidden letters from both sides, or always the next one?

An encoder and a decoder of equal sizes read the same text, byte by byte, for as many steps: BERT
guesses bytes that are hidden, GPT the next one. Then both fill a gap in books they have not read,
and go on with a text: BERT from a gap at its end. At last each is fine-tuned to tell from a few
labelled verses which kind of book a verse is from, and so are their like from random weights.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data.batches import sample_batch, sample_windows
from orrery.experiments.language import _scripture as scripture
from orrery.experiments.language._masked_or_next_figures import bytes_and_kinds
from orrery.experiments.language._pretraining import bert_and_gpt, bert_classifier, learn
from orrery.experiments.language._scripture import (
    FIRST,
    LAST_BOOKS,
    MASK,
    VOCAB,
    Scripture,
    with_first,
)
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.systems.language.bert import BertClassifier, BertMaskedLm
from orrery.systems.language.gpt1 import Gpt1
from orrery.systems.language.gpt1_classifier import Gpt1Classifier
from orrery.systems.language.masked_lm import MaskingConfig, corrupt
from orrery.train.precision import use_fast_products

TUNED = ("bert", "bert from scratch", "gpt", "gpt from scratch", "gpt without its old task")

CLAIMS = (
    Claim(
        "bert-vs-gpt",
        effect=lambda m: min(m["bert/gap"] - m["gpt/gap"], m["gpt/next"] - m["bert/next"]),
        text="of equal models that read the same text, the masked one fills more gaps rightly, "
        "and the next-byte one foretells more next bytes",
    ),
    Finding(
        "tuned on few labels, the masked model tells kinds better than the next-byte one",
        effect=lambda m: m["bert/kind"] - m["gpt/kind"],
    ),
    Finding(
        "on few labels the masked model is five points better than from scratch",
        effect=lambda m: m["bert/kind"] - m["bert from scratch/kind"], margin=0.05,
    ),
    Finding(
        "on few labels the next-byte model is five points better than from scratch",
        effect=lambda m: m["gpt/kind"] - m["gpt from scratch/kind"], margin=0.05,
    ),
    Finding(
        "the old task beside the new one helps the next-byte model",
        effect=lambda m: m["gpt/kind"] - m["gpt without its old task/kind"],
    ),
    Control(
        "both fill gaps better than the commonest byte does, by a tenth",
        effect=lambda m: min(m["bert/gap"], m["gpt/gap"]) - m["commonest"], margin=0.1,
    ),
    Control(
        "from labels alone both learn: better than guessing",
        effect=lambda m: min(m[f"{arm} from scratch/kind"] for arm in ("bert", "gpt")),
        margin=1 / len(LAST_BOOKS),
    ),
)  # fmt: skip
ABLATIONS = ("left_only",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 3, "batch": 2, "length": 16, "tuning": 2, "labels": 2, "tests": 2,
              "windows": 4, "width": 16, "depth": 1},
    "tour": {"steps": 200, "tuning": 20, "tests": 50},
    "large": {"steps": 50_000, "batch": 256, "length": 256, "width": 512, "depth": 8},
}  # fmt: skip


class MaskedOrNextSettings(Settings):
    """A smoke run takes a few steps with tiny models; a tour pre-trains shortly."""

    steps: Annotated[int, Range(1, 1_000_000)] = 1_000
    """Optimiser steps of each pre-training."""
    batch: Annotated[int, Range(1, 4_096, "windows")] = 32
    """Windows in a batch, also of verses."""
    length: Annotated[int, Range(8, 1_024, "bytes")] = 32
    """Of a window, and of what is read of a verse."""
    chosen: Annotated[float, Range(0.01, 0.9)] = 0.3
    """Share of the bytes that are to be guessed."""
    tuning: Annotated[int, Range(1, 100_000)] = 100
    """Optimiser steps of each fine-tuning."""
    labels: Annotated[int, Range(1, 500, "verses of each kind")] = 100
    """Learnt when fine-tuning."""
    tests: Annotated[int, Range(1, 500, "verses of each kind")] = 200
    """Judged when fine-tuned."""
    windows: Annotated[int, Range(1, 100_000)] = 1_500
    """Of held-out books, each with one gap in its middle."""
    width: Annotated[int, Range(8, 2_048)] = 96
    """Of the stream; a multiple of 4 heads."""
    depth: Annotated[int, Range(1, 48)] = 3
    """Layers."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.01
    """Highest learning rate of pre-training; half of it when fine-tuning."""


def run(settings: MaskedOrNextSettings, lab: Lab) -> Measured:
    """Pre-train both, fill gaps and go on with texts; then tell kinds of books."""
    data = scripture.read(settings.length, settings.labels, settings.tests, lab.numpy_rng("data"))

    def models() -> tuple[BertMaskedLm, Gpt1]:
        torch.manual_seed(lab.rng("weights").initial_seed())
        both = bert_and_gpt(settings.length, settings.width, settings.depth)
        return both[0].to(lab.device), both[1].to(lab.device)

    bert, gpt = models()
    masking = MaskingConfig(vocab=VOCAB, mask=MASK, chosen=settings.chosen)

    def windows(step: int) -> Tensor:
        rng = lab.rng("windows", step)
        drawn, _ = sample_windows(data.text, settings.length, settings.batch, rng)
        return with_first(drawn).to(lab.device)

    def guess_hidden(step: int) -> Tensor:
        rows = windows(step)
        return bert.loss(*corrupt(rows, masking, lab.rng("gaps", step), special=rows == FIRST))

    def guess_next(step: int) -> Tensor:
        rows = windows(step)
        scores = gpt(rows).logits[:, :-1]
        return F.cross_entropy(scores.flatten(0, 1).float(), rows[:, 1:].flatten())

    learn("bert", bert, guess_hidden, settings.steps, settings.rate, lab)
    learn("gpt", gpt, guess_next, settings.steps, settings.rate, lab)
    rng = lab.rng("held out")
    held_out, _ = sample_windows(data.held_out, settings.length, settings.windows, rng)
    rows = with_first(held_out).to(lab.device)
    measured = lab.measure("gaps", lambda: gaps(bert, gpt, rows, lab.ablated("left_only")))
    for arm in TUNED:
        fresh = models() if arm.endswith("scratch") else (bert, gpt)
        measured[f"{arm}/kind"] = told_kinds(arm, *fresh, data, settings, lab)
    return measured


@torch.no_grad()
def gaps(bert: BertMaskedLm, gpt: Gpt1, rows: Tensor, left_only: bool) -> Measured:
    """How often each model names the byte in the middle, with what follows and without."""
    place = rows.shape[1] // 2
    asked, hidden = rows[:, place], rows.clone()
    hidden[:, place] = MASK
    seen = {"gap": hidden[:, : place + 1] if left_only else hidden, "next": hidden[:, : place + 1]}
    foretold = gpt(rows[:, :place]).logits[:, -1].argmax(-1)
    right = {f"bert/{what}": bert(ids).logits[:, place].argmax(-1) for what, ids in seen.items()}
    right |= {"gpt/gap": foretold, "gpt/next": foretold, "commonest": asked.mode().values}
    return {name: float((told == asked).double().mean()) for name, told in right.items()}


def told_kinds(
    arm: str, bert: BertMaskedLm, gpt: Gpt1, data: Scripture, settings: MaskedOrNextSettings,
    lab: Lab,
) -> float:  # fmt: skip
    """Fine-tune a copy of an arm's model on labelled verses; share of test verses told rightly."""
    torch.manual_seed(lab.rng("last layer").initial_seed())
    model: BertClassifier | Gpt1Classifier
    if arm.startswith("bert"):
        model = bert_classifier(bert, len(LAST_BOOKS))
    else:
        auxiliary = 0.0 if arm == "gpt without its old task" else 0.5
        model = Gpt1Classifier(deepcopy(gpt), len(LAST_BOOKS), auxiliary=auxiliary)
    use_fast_products(model.to(lab.device))
    rows, kinds = (part.to(lab.device) for part in data.labelled)

    def loss(step: int) -> Tensor:
        drawn = sample_batch(len(rows), settings.batch, lab.rng("verses", step)).to(lab.device)
        if isinstance(model, Gpt1Classifier):
            return model.loss(with_first(rows[drawn]), kinds[drawn])
        return F.cross_entropy(model(with_first(rows[drawn])).logits.float(), kinds[drawn])

    learn(f"tune {arm}", model, loss, settings.tuning, settings.rate / 2, lab)
    asked, answers = (part.to(lab.device) for part in data.test)
    with torch.no_grad():
        told = model(with_first(asked)).logits.argmax(-1)
    return float((told == answers).double().mean())


def draw(results: Sequence[Measured], settings: MaskedOrNextSettings) -> dict[str, Figure]:
    """Gaps and next bytes; and the kinds of books."""
    return bytes_and_kinds(results, settings.labels, len(LAST_BOOKS))
