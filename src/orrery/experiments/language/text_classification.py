"""How many labels is a pre-trained encoder worth?

Sentences from reviews of films, for or against, are told apart with ever fewer labels: by MiniLM,
fine-tuned; by a linear probe of MiniLM as it is; by its architecture from random weights; and by a
bag of words. The test has sentences that no arm has seen, each far enough from neutral.

The plan has the cost of labels grow without end, and self-supervision remove that limit. Tested is
what pre-training saves here: it holds if a quarter of the labels, fine-tuned, are worth more than
all of them without pre-training, by whichever of the two ways is better.

How far the embeddings of MiniLM, which has read English, go on Chinese reviews is measured beside.
It saw no label of these reviews, but was tuned on pairs of sentences, some of them made by people.
"""

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Annotated, Literal

import torch
from matplotlib.figure import Figure
from pydantic import Field, field_validator

from orrery.data import chinese_reviews, movie_snippets
from orrery.experiments.language._fine_tuning import (
    Arm,
    UsedPieces,
    in_bfloat16,
    learn,
    published,
    stand_in,
    with_random_weights,
)
from orrery.experiments.language._reviews import ReviewParts, bag, probe
from orrery.experiments.language._text_classification_figures import accuracy_and_confusion
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.systems.language.sentence_embedding import SentenceEncoder, SentenceReader
from orrery.systems.language.text_classification import TextClassificationConfig, TextClassifier
from orrery.systems.language.wordpiece import UNKNOWN

Count = Annotated[int, Range(4, 8_000)]


def worth(m: Measured, arm: str, place: int = -1) -> float:
    """Accuracy of an arm with the most labels, or with the number at a place."""
    labels = sorted((key.split("/")[1] for key in m if key.startswith("bag/")), key=int)
    return m[f"{arm}/{labels[place]}"]


def without(m: Measured) -> float:
    """The best accuracy that all labels give without pre-training."""
    return max(worth(m, "scratch"), worth(m, "bag"))


CLAIMS = (
    Claim(
        "label-cost-linear",
        effect=lambda m: worth(m, "fine_tuned", -2) - without(m),
        text="a quarter of the labels, with pre-training, is worth more than all without",
    ),
    Finding("so is a sixteenth", effect=lambda m: worth(m, "fine_tuned", 0) - without(m)),
    Finding(
        "with all labels fine-tuning is right five points more often than a probe of MiniLM",
        effect=lambda m: worth(m, "fine_tuned") - worth(m, "probe"), margin=0.05,
    ),
    Finding(
        "with the fewest labels fine-tuning is already better than the probe",
        effect=lambda m: worth(m, "fine_tuned", 0) - worth(m, "probe", 0),
    ),
    Finding(
        "from random weights the encoder is worse than a bag of words",
        effect=lambda m: worth(m, "bag") - worth(m, "scratch"),
    ),
    Finding(
        "on Chinese reviews a bag of characters beats a probe of the English MiniLM",
        effect=lambda m: m.get("chinese/bag", 0.0) - m.get("chinese/probe", 0.0),
    ),
    Control(
        "a bag of words learns: ten points better than always naming the commoner side",
        effect=lambda m: worth(m, "bag") - m["commoner"], margin=0.1,
    ),
    Control(
        "from random weights the encoder learns: five points better than the commoner side",
        effect=lambda m: worth(m, "scratch") - m["commoner"], margin=0.05,
    ),
    Control(
        "nothing leaks: on labels dealt out anew a probe is within six points of a half",
        effect=lambda m: 0.06 - abs(m["shuffled"] - 0.5),
    ),
)  # fmt: skip
ABLATIONS = ("random_weights",)
SEEDS = 4
SCALES = {
    "smoke": {"encoder": "stand_in", "labels": (16, 32), "steps": 2, "tests": 32, "chinese": 0},
    "tour": {"labels": (100, 400), "steps": 40, "tests": 300, "chinese": 0},
    "large": {"labels": (100, 400, 1_600, 6_400), "steps": 800, "batch": 32, "chinese": 10_000},
}  # fmt: skip


class TextClassificationSettings(Settings):
    """A smoke run has a small encoder that knows nothing in place of MiniLM."""

    encoder: Literal["minilm", "stand_in"] = "minilm"
    """MiniLM, which is fetched with pip, or a small one of random weights."""
    labels: Annotated[tuple[Count, ...], Field(min_length=2)] = (100, 400, 1_600)
    """How many labels there are, rising; the fewer are among the more."""
    least: Annotated[float, Range(0.0, 3.0)] = 1.0
    """A sentence whose mean score is nearer to neutral is left out."""
    tests: Annotated[int, Range(8, 2_000, "sentences")] = 1_000
    """Most sentences that are tested on, and most that a regression's strength is chosen by."""
    longest: Annotated[int, Range(4, 512, "tokens")] = 48
    """Of a text; what comes after is not read."""
    steps: Annotated[int, Range(1, 100_000)] = 100
    """Optimiser steps, whatever the number of labels."""
    batch: Annotated[int, Range(1, 512, "sentences")] = 16
    """Sentences in a batch."""
    rate: Annotated[float, Range(1e-7, 1.0)] = 1e-4
    """Highest learning rate of the last layer when fine-tuning; lower layers learn more slowly."""
    scratch_rate: Annotated[float, Range(1e-7, 1.0)] = 5e-4
    """Highest learning rate of all layers from random weights, where batches are twice as large."""
    chinese: Annotated[int, Range(0, 15_000, "reviews")] = 800
    """Chinese reviews to train on; with 0 there are none."""
    bfloat16: bool = True
    """Products of the encoder in bfloat16, which is faster where a processor has it."""

    @field_validator("labels")
    @classmethod
    def _rise(cls, labels: tuple[int, ...]) -> tuple[int, ...]:
        if list(labels) != sorted(set(labels)):
            raise ValueError("must rise")
        return labels


def run(settings: TextClassificationSettings, lab: Lab) -> Measured:
    """Let every arm learn from the same labels, and test all on the same sentences."""
    s, most = settings, settings.labels[-1]
    films = ReviewParts.drawn(
        movie_snippets.split(), s.least, (most, s.tests), lab.numpy_rng("films")
    )
    torch.manual_seed(lab.rng("weights").initial_seed())
    encoder = published() if s.encoder == "minilm" else stand_in(films.train.texts)
    unlearnt = with_random_weights(encoder.to(lab.device))
    if lab.ablated("random_weights"):
        encoder = unlearnt
    measured = {"commoner": max(films.test.labels.mean(), 1 - films.test.labels.mean())}
    measured |= lab.measure("plain", lambda: plain(films, encoder, settings, lab))
    if s.chinese:
        measured |= lab.measure("chinese", lambda: on_chinese(encoder, settings, lab))
    texts = films.train.texts + films.test.texts
    pieces = UsedPieces(SentenceReader(encoder.reader.tokenizer, s.longest), texts)
    trained = partial(learn, lab=lab, steps=s.steps, bfloat16=s.bfloat16)
    tuned = TextClassificationConfig(rate=s.rate)
    same = TextClassificationConfig(rate=s.scratch_rate, decay=1.0)
    for arm, count, start, config, batch in [
        *(("fine_tuned", n, encoder, tuned, s.batch) for n in s.labels),
        ("scratch", most, unlearnt, same, 2 * s.batch),
    ]:
        torch.manual_seed(lab.rng("top").initial_seed())
        model = TextClassifier(pieces.cut(start.model), config).to(lab.device)
        learner = Arm(pieces, films.first(count), model, f"{arm}/{count}")
        measured |= lab.measure(learner.name, partial(trained, learner, batch=batch))
    return measured


def plain(
    films: ReviewParts, encoder: SentenceEncoder, settings: TextClassificationSettings, lab: Lab
) -> Measured:
    """What a bag of words and a probe make of ever more labels, and a probe of wrong ones."""
    with in_bfloat16(settings.bfloat16, lab.device):
        embeddings = [encoder.encode(part.texts) for part in films.parts]
    found: Measured = {}
    for count in settings.labels:
        fewer = films.first(count)
        found |= {f"bag/{count}": bag(fewer), f"probe/{count}": probe(fewer, embeddings)}
    dealt = [films.shuffled(lab.numpy_rng("dealt", i)) for i in range(5)]
    return found | {"shuffled": fmean(probe(corpus, embeddings) for corpus in dealt)}


def on_chinese(
    encoder: SentenceEncoder, settings: TextClassificationSettings, lab: Lab
) -> Measured:
    """The same two of Chinese reviews, and the share of pieces the encoder does not know."""
    counts = (settings.chinese, settings.chinese // 2)
    corpus = ReviewParts.drawn(chinese_reviews.split(), 0.0, counts, lab.numpy_rng("chinese"))
    reader = SentenceReader(encoder.reader.tokenizer, settings.longest)
    unknown = reader.tokenizer.vocabulary.pieces[UNKNOWN]
    tokens = [token for text in corpus.test.texts for token in reader.numbers(text)[1:-1]]
    with in_bfloat16(settings.bfloat16, lab.device):
        cut = SentenceEncoder(encoder.model, reader)
        embeddings = [cut.encode(part.texts) for part in corpus.parts]
    return {
        "chinese/unknown": tokens.count(unknown) / len(tokens),
        "chinese/bag": bag(corpus, characters=True), "chinese/probe": probe(corpus, embeddings),
    }  # fmt: skip


def draw(results: Sequence[Measured], settings: TextClassificationSettings) -> dict[str, Figure]:
    """Accuracy by the number of labels, and what is taken for what."""
    return {"labels": accuracy_and_confusion(results, settings.labels)}
