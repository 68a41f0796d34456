"""A small language model from raw text: every stage a file, made once and never half.

Source: the course of a pre-training project as Brown et al. 2020 (GPT-3), arXiv:2005.14165,
section 2, and Mitchell et al. 2019, arXiv:1810.03993 (model cards), lay it out: collect, clean,
tokenise, train, evaluate, sample, describe.
Differs from the papers: sizes; of the data pipeline the stages that need no language of their own
are used, near-duplicates and the held-out text; the training loop stands where it can be seen, in
the command and in the experiment.

A stage's file is kept as long as what it was made from is the same: its record holds the hash of
its inputs and of its content, and a file that was cut short or changed is made anew.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orrery.catalog import System
from orrery.errors import OrreryError
from orrery.files import read_json, sha256, write_atomically, write_json
from orrery.metrics.compression import bits
from orrery.systems.language.bpe import BpeConfig, BpeVocabulary
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.bpe_trainer import train as train_bpe
from orrery.systems.language.decontamination import Decontamination, DecontaminationConfig
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.systems.language.minhash import MinHash, MinHashConfig
from orrery.systems.language.ngram import Ngram, NgramConfig
from orrery.systems.scaling.compute_6nd import training_compute

SYSTEM = System(
    stem="small_lm", area="language", title="Small language model from raw text", year=2020,
    papers=("arXiv:2005.14165", "arXiv:1810.03993"),
    builds_on=("bpe", "bpe_fast", "bpe_trainer", "compute_6nd", "decontamination", "gpt",
               "minhash", "ngram"),
    realises=("small-lm-pretrain",),
)  # fmt: skip

Ids = NDArray[np.int64]
HELD_OUT_EVERY = 10
PEAK_FLOPS, UTILISATION = 989e12, 0.4  # an H100's bfloat16, dense, by its data sheet; a good share
PRICE = 2.0  # dollars an hour of such a device, the price DeepSeek-V3's report reckons with
TOKENS_A_PARAMETER = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallLmConfig:
    """Sizes of everything."""

    vocab: int = 1_024
    context: int = 64
    depth: int = 3
    heads: int = 4
    width: int = 128
    document: int = 1_000
    """Characters of a document, about: a text is cut between lines."""
    order: int = 3
    """Longest gram, in tokens, of the model it is compared with."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.document < 1:
            raise ValueError(f"document must be at least 1, got {self.document}")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed must be in [0, 2^32), got {self.seed}")
        BpeConfig(vocab=self.vocab)
        NgramConfig(vocab=self.vocab, order=self.order)
        self.gpt(self.vocab)

    def gpt(self, vocab: int) -> GptConfig:
        """Of the model, for a vocabulary that has come out smaller, perhaps."""
        return GptConfig(vocab=vocab, context=self.context, depth=self.depth, heads=self.heads,
                         width=self.width)  # fmt: skip


class Stages:
    """The files of a folder, each with a record of what it was made from."""

    def __init__(self, folder: Path) -> None:
        """Open the folder.

        Raises:
            OrreryError: it holds files that no stage made, or its record is damaged.
        """
        self.folder, self._path = folder, folder / "stages.json"
        if self._path.exists():
            self._done: dict[str, list[str]] = read_json(self._path)
        elif folder.exists() and any(folder.iterdir()):
            raise OrreryError(f"{folder} holds other files; name an empty or a new folder")
        else:
            self._done = {}
        folder.mkdir(parents=True, exist_ok=True)

    def made(self, name: str, inputs: object, make: Callable[[], bytes | str]) -> bytes:
        """The content of a file, made if it is not there, not whole, or made from other inputs.

        Args:
            name: of the file.
            inputs: all that decides what `make` returns, as JSON can write it.
            make: returns the content.
        """
        key, path = sha256(json.dumps(inputs, sort_keys=True).encode()), self.folder / name
        if path.exists() and self._done.get(name) == [key, sha256(path.read_bytes())]:
            return path.read_bytes()
        content = make()
        raw = content.encode() if isinstance(content, str) else content
        write_atomically(path, raw)
        self._done[name] = [key, sha256(raw)]
        write_json(self._path, self._done)
        return raw


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Text that can be trained on."""

    vocabulary: BpeVocabulary
    training: Tensor
    held_out: Tensor
    held_out_bytes: int
    documents: dict[str, int]
    """How many there were, were near-duplicates, gave the test away, are trained on, are held
    out."""


def documents_of(text: str, size: int) -> list[str]:
    """A text cut between lines into documents of `size` characters or more, but for the last."""
    documents, start = list[str](), 0
    while start < len(text):
        end = text.find("\n", start + size - 1) + 1 or len(text)
        documents.append(text[start:end])
        start = end
    return documents


def clean(documents: Sequence[str], config: SmallLmConfig) -> dict[str, list[str]]:
    """Documents to train on and held out, near-duplicates and what gives the test away apart.

    Raises:
        OrreryError: too few documents are left.
    """
    minhash = MinHash(MinHashConfig(), np.random.default_rng(config.seed))
    kept = minhash.kept(documents)
    held_out = [documents[i] for i in kept[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]]
    check = Decontamination(DecontaminationConfig(), held_out)
    rest = [documents[place] for i, place in enumerate(kept, start=1) if i % HELD_OUT_EVERY]
    training = [text for text in rest if check.shared(text) == 0]
    if not training or not held_out:
        raise OrreryError(f"{len(documents)} documents are too few: give more text")
    first = set(kept)
    return {
        "training": training, "held out": held_out,
        "duplicates": [text for i, text in enumerate(documents) if i not in first],
        "leaks": [text for text in rest if check.shared(text) > 0],
    }  # fmt: skip


def prepare(text: str, config: SmallLmConfig) -> Prepared:
    """Clean a text, learn its tokens, and write it in them."""
    parts = clean(documents_of(text, config.document), config)
    vocabulary = train_bpe(parts["training"], BpeConfig(vocab=config.vocab))
    return tokenised(parts, vocabulary)


def tokenised(parts: dict[str, list[str]], vocabulary: BpeVocabulary) -> Prepared:
    """Both parts as tokens, documents one after another."""
    bpe = FastBpe(vocabulary)
    ids = {
        part: torch.from_numpy(bpe.encode_array("".join(parts[part])).astype(np.int64))
        for part in ("training", "held out")
    }
    return Prepared(
        vocabulary=vocabulary, training=ids["training"], held_out=ids["held out"],
        held_out_bytes=len("".join(parts["held out"]).encode()),
        documents={name: len(texts) for name, texts in parts.items()},
    )  # fmt: skip


@torch.no_grad()
def bits_per_byte(model: Gpt, tokens: Tensor, size: int) -> float:
    """Bits of every token of a text over its bytes; each has at least half a window of past.

    Args:
        model: scores windows of its context.
        tokens: of the whole text; the first one is taken as given.
        size: of the text in bytes.
    """
    context, total = model.config.context, 0.0
    half = max(1, context // 2)
    for start in range(0, len(tokens) - 1, half):
        begin = max(0, start - (context - half))
        window = tokens[begin : start + half + 1]
        logits = model(window[None, :-1]).logits[0, start - begin :].float()
        losses = torch.nn.functional.cross_entropy(
            logits, window[start - begin + 1 :], reduction="sum"
        )
        total += float(losses)
    return bits(total) / size


def ngram_bits_per_byte(prepared: Prepared, order: int, tokens: int) -> float:
    """The same of n-grams that have counted so many tokens of the same text."""
    seen = prepared.training[:tokens].numpy()
    vocab = max(prepared.vocabulary.tokens) + 1
    model = Ngram(NgramConfig(vocab=vocab, order=order), seen)
    return (
        bits(float(model.surprise(prepared.held_out.numpy())[1:].sum())) / prepared.held_out_bytes
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What training a model would take, by C = 6 N D."""

    parameters: float
    tokens: float
    operations: float
    device_hours: float
    dollars: float


def cost(parameters: float = 1e9, tokens: float | None = None) -> Cost:
    """Of a model of so many parameters, by default a billion and Chinchilla's tokens for them."""
    tokens = TOKENS_A_PARAMETER * parameters if tokens is None else tokens
    operations = training_compute(parameters, tokens)
    hours = operations / (PEAK_FLOPS * UTILISATION) / 3600
    return Cost(parameters=parameters, tokens=tokens, operations=operations, device_hours=hours,
                dollars=hours * PRICE)  # fmt: skip


def model_card(
    config: SmallLmConfig, prepared: Prepared, measured: dict[str, float], sample: str
) -> str:
    """What the model is, what it read, how good it is, and what a large one would cost."""
    documents, large = prepared.documents, cost()
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in measured.items())
    sizes = ", ".join(f"{name} {value}" for name, value in asdict(config).items())
    quoted = "\n".join(f"> {line}" for line in sample.splitlines())
    return f"""# A small language model

A GPT that was trained from scratch on one text, for learning; it knows nothing else, and what it
writes is not to be relied on.

## Data

{documents["training"]:,} documents to train on ({len(prepared.training):,} tokens), \
{documents["held out"]:,} held out ({prepared.held_out_bytes:,} bytes). Taken out: \
{documents["duplicates"]:,} near-duplicates, {documents["leaks"]:,} that share thirteen words with \
what is held out.

## Model

{sizes}.

## Evaluation

| measured | value |
| --- | --- |
{rows}

## A sample

{quoted}

## What a billion parameters would cost

{large.tokens:.0e} tokens (twenty a parameter), {large.operations:.1e} operations (6 N D): about \
{math.ceil(large.device_hours):,} hours of one H100 at {UTILISATION:.0%} of its peak, \
{large.dollars:,.0f} dollars at {PRICE:.0f} an hour.
"""
