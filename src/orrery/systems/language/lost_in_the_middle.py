"""Lost in the middle: is a fact found wherever it stands in a long context?

A context of pairs, each a key and a value of three digits, and one question for each pair. The
context is read once and kept in a cache; each question is asked from there. An answer counts if
the model, taking the likeliest token each time, writes the value.

Source: Liu et al. 2023, "Lost in the Middle: How Language Models Use Long Contexts",
arXiv:2307.03172, section 3 (key-value retrieval).
Differs from the paper: keys are words and values three digits, in place of random identifiers of
32 digits, which a small model cannot copy; an answer is the first three digits, each its own token.

Symbols: n pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from orrery.catalog import System
from orrery.nn.key_value_cache import KeyValueCache

SYSTEM = System(
    stem="lost_in_the_middle", area="language", title="Lost in the Middle", year=2023,
    papers=("arXiv:2307.03172",), builds_on=(), realises=("lost-in-the-middle",),
)  # fmt: skip

KEYS = (
    "apple", "river", "house", "tiger", "piano", "cloud", "table", "horse", "stone", "bread",
    "chair", "ocean", "train", "lemon", "snake", "tower", "glass", "plant", "knife", "storm",
    "candle", "forest", "garden", "mirror", "bridge", "button", "castle", "dragon", "hammer",
    "island", "jacket", "ladder",
)  # fmt: skip
DIGITS = 3
Read = Callable[[Tensor, KeyValueCache], Tensor]
"""Fresh tokens [1 t] and a cache: scores [t v] of the token after each."""


@dataclass(frozen=True, slots=True)
class FactList:
    """One context."""

    keys: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def context(self) -> str:
        """All pairs, in their order."""
        pairs = zip(self.keys, self.values, strict=True)
        return "JSON data:\n{" + ", ".join(f'"{key}": "{value}"' for key, value in pairs) + "}\n"

    def question(self, place: int) -> str:
        """What comes after the context, up to where the value begins."""
        return f'\nThe value of "{self.keys[place]}" in the JSON data is "{self.keys[place]}": "'


def draw(count: int, generator: Generator) -> FactList:
    """So many pairs of different keys and different values.

    Raises:
        ValueError: count is not from 1 to the number of keys.
    """
    if not 1 <= count <= len(KEYS):
        raise ValueError(f"count must be in [1, {len(KEYS)}], got {count}")
    keys = torch.randperm(len(KEYS), generator=generator)[:count].tolist()
    values = torch.randperm(900, generator=generator)[:count] + 100
    return FactList(tuple(KEYS[i] for i in keys), tuple(str(int(value)) for value in values))


@torch.no_grad()
def found(read: Read, encode: Callable[[str], Sequence[int]], pairs: FactList) -> list[bool]:
    """Of each pair, in its order, whether the model gives its value when asked for it."""
    cache = KeyValueCache()
    read(torch.tensor([list(encode(pairs.context))]), cache)
    length, right = len(cache), list[bool]()
    for place, value in enumerate(pairs.values):
        asked, answer = list(encode(pairs.question(place))), list(encode(value))
        scores = read(torch.tensor([asked + answer[:-1]]), cache)[-len(answer) :]
        right.append(scores.argmax(dim=-1).tolist() == answer)
        cache.cut(length)
    return right


def by_part(right: Sequence[float | bool]) -> tuple[float, float, float]:
    """The share that was found in the first, the middle and the last third of the places."""
    third = len(right) / 3
    parts: tuple[list[float | bool], ...] = ([], [], [])
    for place, was in enumerate(right):
        parts[min(int(place / third), 2)].append(was)
    first, middle, last = (sum(part) / max(len(part), 1) for part in parts)
    return first, middle, last
