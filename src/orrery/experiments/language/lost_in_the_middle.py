"""Does a language model find a fact in the middle of its context as well as at the ends?

SmolLM2 (135 million weights, four bits) reads pairs of a word and a number and is asked for each
number. What is compared are the first, the middle and the last third of the places, in short and
in long contexts. In the ablation the places are dealt out anew before they are compared, so that
none can be worse than another.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor

from orrery.data import smollm2
from orrery.inference.gguf import Gguf
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.bpe_fast import FastBpe
from orrery.systems.language.gguf_llama import read_vocabulary
from orrery.systems.language.lost_in_the_middle import by_part, found
from orrery.systems.language.lost_in_the_middle import draw as draw_pairs
from orrery.systems.language.packed_llama import PackedLlama

PARTS = ("first", "middle", "last")
LENGTHS = ("short", "long")


def ends(m: Measured, length: str) -> float:
    """The worse of the two ends."""
    return min(m[f"{length}/first"], m[f"{length}/last"])


CLAIMS = (
    Claim(
        "lost-middle",
        effect=lambda m: ends(m, "long") - m["long/middle"],
        text="of a long list a small language model finds the middle third less often than either "
        "end",
    ),
    Finding(
        "the last third is found more often than the first",
        effect=lambda m: m["long/last"] - m["long/first"],
    ),
    Finding(
        "more is found in short lists: a tenth more of all",
        effect=lambda m: (
            sum(m[f"short/{part}"] for part in PARTS) - sum(m[f"long/{part}"] for part in PARTS)
        ) / 3,
        margin=0.1,
    ),
    Control(
        "the task is understood: in short lists more than a third is found",
        effect=lambda m: sum(m[f"short/{part}"] for part in PARTS) / 3,
        margin=1 / 3,
    ),
)  # fmt: skip
ABLATIONS = ("dealt_places",)
SCALES = {
    "smoke": {"short": 3, "long": 3, "lists": 1},
    "large": {"long": 32, "lists": 500},
}


class LostInTheMiddleSettings(Settings):
    """A smoke run asks about three pairs."""

    short: Annotated[int, Range(3, 32, "pairs")] = 3
    """Of a short list."""
    long: Annotated[int, Range(3, 32, "pairs")] = 18
    """Of a long list."""
    lists: Annotated[int, Range(1, 10_000)] = 10
    """Lists of each length."""


def run(settings: LostInTheMiddleSettings, lab: Lab) -> Measured:
    """Ask for every pair of every list."""
    file = Gguf(smollm2.load())
    model, tokenizer = PackedLlama(file), FastBpe(read_vocabulary(file))

    def read(tokens: Tensor, cache: KeyValueCache) -> Tensor:
        with torch.inference_mode():
            return model.head.scores(model.model.read(tokens, cache=cache)[0])

    def asked(length: str) -> Measured:
        count, lists = getattr(settings, length), []
        for i in range(settings.lists):
            answers = found(read, tokenizer.encode, draw_pairs(count, lab.rng(length, i)))
            if lab.ablated("dealt_places"):
                order = torch.randperm(count, generator=lab.rng(f"deal {length}", i))
                answers = [answers[j] for j in order.tolist()]
            lists.append(answers)
        places = [sum(place) / len(lists) for place in zip(*lists, strict=True)]
        thirds = zip(PARTS, by_part(places), strict=True)
        return {f"{length}/{part}": share for part, share in thirds} | {
            f"{length}/place-{i}": share for i, share in enumerate(places)
        }

    return lab.measure("short", lambda: asked("short")) | lab.measure("long", lambda: asked("long"))


def draw(results: Sequence[Measured], settings: LostInTheMiddleSettings) -> dict[str, Figure]:
    """The share that is found by place in a long list."""
    figure, (axis,) = new_figure(6.0, 3.2)
    places = range(settings.long)
    mean, half = over_seeds(results, [f"long/place-{i}" for i in places])
    axis.errorbar([i + 1 for i in places], mean, yerr=half, color=COLOURS[0], marker="o")
    axis.set(title="Found, by place", xlabel="place in the list", ylabel="share", ylim=(0, 1.05))
    return {"by-place": figure}
