"""Is a good predictor a good compressor, and does it still win when its weights are counted?

On each text (Shakespeare, Python code, Tang poems in UTF-8) a GPT learns to predict bytes; then it
and an arithmetic coder compress an excerpt of the held-out part, and decompress it again. Beside
it: context mixing that starts from nothing or has read as many bytes as the GPT, and gzip, bzip2,
xz and zstd, alone or with those bytes before the excerpt. Everything is in bits a character.

The GPT codes with its weights rounded to half precision, two bytes each, because that is how they
are counted. Cross-entropy is computed apart from the coder, on whole windows at a time.

The plan's formula, bits a character = cross-entropy / log 2, lacks a division by the characters a
token; it is tested with it, on Chinese too, where a token is a third of a character. That
language models are the strongest compressors is tested as corrected: against the classics they
win, in English and Chinese, if their weights are free, and lose if they are counted. Code is told
apart: most of what a file of it says it has said before, and that is what the classics look for.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal, get_args

import torch
from matplotlib.figure import Figure
from pydantic import Field

from orrery.data import python_stdlib, shakespeare, tang_poems
from orrery.data.batches import sample_windows
from orrery.experiments.theory._coding import by_gpt, by_others, by_stored_gpt, piece
from orrery.experiments.theory._compressor_figures import agreement, rows, sizes
from orrery.experiments.theory._compressor_scores import concord, gap, least, on_code, texts
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.metrics.compression import bits
from orrery.systems.language.gpt import Gpt, GptConfig
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

Text = Literal["shakespeare", "python_stdlib", "tang_poems"]
TEXTS = {"shakespeare": shakespeare, "python_stdlib": python_stdlib, "tang_poems": tang_poems}
STAGES = (0.0, 0.1, 0.3, 1.0)  # of the training: where the GPT is asked to compress

CLAIMS = (
    Claim("predict-is-compress", effect=lambda m: least(m, "gpt", "best"),
        text="a GPT that has learnt a language, its weights free, beats the best classic in it",
    ),
    Claim("bpc-formula", effect=lambda m: 0.01 - max(gap(m, t, len(STAGES) - 1) for t in texts(m)),
        text="coded size is cross-entropy / ln 2 / characters a token, to a hundredth",
    ),
    Claim(
        "ce-equivalence",
        effect=lambda m: min(
            concord(m, t, "entropy", q) for t in texts(m) for q in ("coded", "errors")
        ),
        margin=0.9,
        text="as the GPT learns, cross-entropy, coded size and wrong guesses fall together",
    ),
    Claim(
        "llm-best-compressor",
        effect=lambda m: min(least(m, "gpt", "best"), least(m, "best", "gpt+weights")),
        text="in a language the GPT wins if its weights are free, and loses if they are counted",
    ),
    Finding(
        "on code, which repeats itself further back than the GPT sees, the best classic beats it",
        effect=lambda m: on_code(m, "best", "gpt"),
    ),
    Finding("context mixing from nothing beats the classics", lambda m: least(m, "mixing", "best")),
    Finding(
        "the GPT beats the classics that had as many bytes before",
        effect=lambda m: least(m, "gpt", "best+past"),
    ),
    Finding(
        "the GPT beats context mixing that had as many bytes before",
        effect=lambda m: least(m, "gpt", "mixing+past"),
    ),
    Control("every file comes back byte for byte", lambda m: min(
        m[f"{t}/{a}/exact"] for t in texts(m) for a in ("gpt", "mixing")
    ), margin=0.5),
    Control(
        "random bytes do not become shorter",
        effect=lambda m: min(m[f"{t}/{a}/noise"] for t in texts(m) for a in ("gpt", "mixing")) - 8,
    ),
    Control(
        "an untrained GPT takes all bytes for nearly equally likely, to half a bit",
        effect=lambda m: 0.5 - max(abs(m[f"{t}/coded/0"] / m[f"{t}/bytes"] - 8) for t in texts(m)),
    ),
)  # fmt: skip
ABLATIONS = ("no_learning",)
SCALES = {
    "smoke": {"texts": ("shakespeare",), "steps": 10, "context": 16, "head_size": 8,
              "excerpt": 512},
    "tour": {"texts": ("shakespeare",), "steps": 260, "excerpt": 4_096},
    "large": {"steps": 20_000, "batch": 64, "context": 256, "depth": 6, "heads": 6,
              "head_size": 64, "excerpt": 262_144},
}  # fmt: skip


class LmCompressorSettings(Settings):
    """A smoke run trains a smaller network for a few steps; a tour reads one text."""

    texts: Annotated[tuple[Text, ...], Field(min_length=1)] = get_args(Text)
    """English plays; code; Chinese poems, which need npm to be fetched."""
    steps: Annotated[int, Range(10, 100_000)] = 600
    """Optimiser steps of the GPT on each text."""
    batch: Annotated[int, Range(1, 512, "windows")] = 8
    """Windows in a batch."""
    context: Annotated[int, Range(2, 1_024, "bytes")] = 64
    """Length of a window."""
    depth: Annotated[int, Range(1, 24)] = 2
    """Blocks of the GPT."""
    heads: Annotated[int, Range(1, 16)] = 4
    """Attention heads in a block."""
    head_size: Annotated[int, Range(4, 256)] = 32
    """Of a head's keys; the GPT is `heads` times as wide."""
    rate: Annotated[float, Range(1e-6, 0.1)] = 0.01
    """Highest learning rate."""
    excerpt: Annotated[int, Range(64, 2**24, "bytes")] = 16_384
    """Held-out text that is compressed; the seed decides which."""
    lanes: Annotated[int, Range(1, 256)] = 32
    """Parts of the excerpt that the GPT reads side by side."""


def run(settings: LmCompressorSettings, lab: Lab) -> Measured:
    """Learn each text, and compress what was held out of it."""
    measured: Measured = {}
    for name in dict.fromkeys(settings.texts):
        training, held_out = (part.encode() for part in TEXTS[name].split())
        data = piece(held_out, settings.excerpt, lab.numpy_rng(f"{name} excerpt"))
        amount = settings.steps * settings.batch * settings.context  # bytes the GPT reads
        past = piece(training, amount, lab.numpy_rng(f"{name} past"))
        noise = lab.numpy_rng(f"{name} noise").bytes(settings.excerpt // 4)
        found = lab.measure(f"{name}-others", partial(by_others, data, past, noise))
        found |= by_stages(name, training, data, noise, settings, lab)
        measured |= {f"{name}/{key}": value for key, value in found.items()}
    lab.table("sizes", rows(measured))
    return measured


def by_stages(
    name: str, training: bytes, data: bytes, noise: bytes, settings: LmCompressorSettings, lab: Lab
) -> Measured:
    """Train a GPT on bytes, and stop at each stage to let it compress `data`."""
    tokens = torch.frombuffer(bytearray(training), dtype=torch.uint8).long()
    gpt = Gpt(GptConfig(
        vocab=256, context=settings.context, depth=settings.depth, heads=settings.heads,
        width=settings.heads * settings.head_size,
    )).to(lab.device)  # fmt: skip
    use_fast_products(gpt)
    optimisers = muon_and_adamw(gpt, settings.rate)
    steps = 0 if lab.ablated("no_learning") else settings.steps
    found: Measured = {}
    done = 0
    for stage, share in enumerate(STAGES):
        for _ in lab.steps(
            f"{name}-{stage}", round(share * steps) - done, state=(gpt, *optimisers)
        ):
            batch = sample_windows(tokens, settings.context, settings.batch, lab.rng(name, done))
            loss = gpt.loss(*(part.to(lab.device) for part in batch))
            gpt.zero_grad()
            loss.backward()
            for optimiser in optimisers:
                scale_rates(optimiser, trapezoid(done, settings.steps, warmup=20))
                optimiser.step()
            done += 1
            lab.log(bits=bits(loss.item()))
        done = round(share * steps)  # also where the phase was loaded
        coded = lab.measure(f"{name}-at-{stage}", partial(by_gpt, gpt, data, settings.lanes))
        found |= {f"{key}/{stage}": value for key, value in coded.items()}
    final = partial(by_stored_gpt, gpt, data, noise, settings.lanes)
    return found | lab.measure(f"{name}-stored", final)


def draw(results: Sequence[Measured], settings: LmCompressorSettings) -> dict[str, Figure]:
    """The sizes of all arms, and coded size against cross-entropy at every stage."""
    return {
        "sizes": sizes(results, settings.texts), "agreement": agreement(results, settings.texts)
    }  # fmt: skip
