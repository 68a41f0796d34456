"""What do four bits and a cache buy a language model on this machine, and what do they cost?

SmolLM2 with 135 million weights is read twice from one file: with its weights left in four bits,
and worked out to single precision. Both score the same excerpts of the King James Bible, and the
packed one writes on from them, once with a cache of keys and values and once reading the whole
text again for each token. Times are from one process, taken in turns.
"""

import time
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import king_james, smollm2
from orrery.inference.gguf import Gguf
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.gguf_llama import read_llama, read_vocabulary
from orrery.systems.language.packed_llama import PackedLlama

ARMS = ("cached", "reread")

CLAIMS = (
    Finding(
        "with a cache a token takes less than half the time of reading the whole text again",
        effect=lambda m: m["reread/token-seconds"] / m["cached/token-seconds"],
        margin=2.0,
    ),
    Finding(
        "the weights in four bits take under a quarter of the memory of single precision",
        effect=lambda m: 0.25 - m["packed/bytes"] / m["whole/bytes"],
    ),
    Finding(
        "and score the text as well, to a fiftieth of a nat a token",
        effect=lambda m: 0.02 - (m["packed/loss"] - m["whole/loss"]),
    ),
    Control(
        "the model knows English: under half the loss of guessing",
        effect=lambda m: 0.5 - m["whole/loss"] / m["guessing"],
    ),
    Control(
        "both ways of writing score the next token the same, to a hundredth of a nat on average",
        effect=lambda m: 0.01 - abs(m["cached/loss"] - m["reread/loss"]),
    ),
)
ABLATIONS = ("no_cache",)
SCALES = {
    "smoke": {"excerpts": 1, "prompt": 12, "tokens": 2},
    "large": {"excerpts": 200, "prompt": 1_000, "tokens": 500},
}


class LocalDeploymentSettings(Settings):
    """A smoke run scores one short excerpt."""

    excerpts: Annotated[int, Range(1, 1_000)] = 3
    """Texts to score and to write on."""
    prompt: Annotated[int, Range(2, 4_000, "tokens")] = 120
    """Of an excerpt, before what is written on."""
    tokens: Annotated[int, Range(2, 4_000)] = 16
    """Of an excerpt that are then given one at a time, as if they were written."""


def run(settings: LocalDeploymentSettings, lab: Lab) -> Measured:
    """Read the model, score and write."""
    file = Gguf(smollm2.load())
    tokens = excerpts(FastBpe(read_vocabulary(file)), settings, lab)
    measured = lab.measure("whole", lambda: whole(file, tokens))
    packed = PackedLlama(file)
    measured |= lab.measure("packed", lambda: scored(packed, tokens))
    with_cache = not lab.ablated("no_cache")
    return measured | lab.measure("times", lambda: written(packed, tokens, settings, with_cache))


def excerpts(tokenizer: FastBpe, settings: LocalDeploymentSettings, lab: Lab) -> Tensor:
    """Excerpts as tokens, from places drawn by chance."""
    text = king_james.load()
    length = settings.prompt + settings.tokens
    rows = []
    places = torch.randint(
        len(text) - 40 * length, (settings.excerpts,), generator=lab.rng("excerpts")
    )
    for start in places:
        begin = text.index("\n", int(start)) + 1
        rows.append(tokenizer.encode(text[begin : begin + 20 * length])[:length])
    return torch.tensor(rows)


@torch.inference_mode()
def whole(file: Gguf, tokens: Tensor) -> Measured:
    """Loss and size of the model in single precision."""
    model = read_llama(file)
    losses = [float(model.loss(row[None, :-1], row[None, 1:])) for row in tokens]
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    guessing = float(torch.tensor(float(model.config.vocab)).log())
    return {"whole/loss": sum(losses) / len(losses), "whole/bytes": size, "guessing": guessing}


@torch.inference_mode()
def scored(packed: PackedLlama, tokens: Tensor) -> Measured:
    """Loss and size in four bits."""
    losses = []
    for row in tokens:
        scores = packed.head.scores(packed.model.read(row[None, :-1]))
        losses.append(float(F.cross_entropy(scores[0], row[1:])))
    return {"packed/loss": sum(losses) / len(losses), "packed/bytes": float(packed.bytes)}


def written(
    packed: PackedLlama, tokens: Tensor, settings: LocalDeploymentSettings, with_cache: bool
) -> Measured:
    """Time a token and loss of both ways of writing: the text is given, what is timed the same."""
    spent, losses = dict.fromkeys(ARMS, 0.0), dict.fromkeys(ARMS, 0.0)
    for row in tokens:
        cache = KeyValueCache()
        packed(row[None, : settings.prompt - 1], cache)
        for i in range(settings.prompt, len(row)):
            for arm in ARMS:
                start = time.perf_counter()
                if arm == "cached" and with_cache:
                    scores = packed(row[None, i - 1 : i], cache)
                else:
                    scores = packed(row[None, :i], KeyValueCache())
                spent[arm] += time.perf_counter() - start
                losses[arm] += float(F.cross_entropy(scores, row[i : i + 1]))
    count = len(tokens) * settings.tokens
    return {
        **{f"{arm}/token-seconds": spent[arm] / count for arm in ARMS},
        **{f"{arm}/loss": losses[arm] / count for arm in ARMS},
    }


def draw(results: Sequence[Measured], settings: LocalDeploymentSettings) -> dict[str, Figure]:
    """Time a token, and memory."""
    figure, axes = new_figure(6.4, 3.0, columns=2)
    mean, half = over_seeds(results, [f"{arm}/token-seconds" for arm in ARMS])
    axes[0].bar(ARMS, mean, yerr=half, color=COLOURS[:2], ecolor="#9aa0aa")
    axes[0].set(title="Time a token", ylabel="seconds")
    mean, _ = over_seeds(results, ["packed/bytes", "whole/bytes"])
    axes[1].bar(("four bits", "32 bits"), [m / 1e6 for m in mean], color=COLOURS[2:4])
    axes[1].set(title="Weights", ylabel="MB")
    return {"cost": figure}
