"""A vocabulary of characters: text to numbers and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

UNKNOWN = "\ufffd"  # the Unicode replacement character

Ids = Int64[np.ndarray, " t"]


@dataclass(frozen=True, slots=True)
class Characters:
    """The characters a model knows; a character's id is its place here.

    Where `UNKNOWN` is among them it stands for every other character; else those are refused.
    """

    characters: str

    def __post_init__(self) -> None:
        if len(set(self.characters)) != len(self.characters) or not self.characters:
            raise ValueError("characters must be given, each of them once")

    @classmethod
    def from_text(cls, text: str, *, unknown: bool = False, at_least: int = 1) -> "Characters":
        """The characters that occur in the text at least so often, in Unicode's order.

        With `unknown`, `UNKNOWN` comes first: needed for text that has not been seen.
        """
        points, counts = np.unique(_points(text), return_counts=True)
        kept = "".join(map(chr, points[counts >= at_least]))
        return cls(UNKNOWN + kept.replace(UNKNOWN, "") if unknown else kept)

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Ids:
        """The id of every character.

        Raises:
            ValueError: a character is not known, and there is no `UNKNOWN`.
        """
        known = _points(self.characters)
        beyond = known.max() + 1  # stands for all that lies beyond the table
        table = np.full(beyond + 1, self.characters.find(UNKNOWN), dtype=np.int64)
        table[known] = np.arange(len(self))
        ids = table[np.minimum(_points(text), beyond)]
        if len(ids) and ids.min() < 0:
            stranger = text[int(ids.argmin())]
            raise ValueError(
                f"{stranger!r} is none of the {len(self)} known characters: build the vocabulary "
                "with unknown=True"
            )
        return ids

    def decode(self, ids: Ids | Sequence[int]) -> str:
        """The text of the ids.

        Raises:
            ValueError: an id is not below the number of characters.
        """
        for i in ids:
            if not 0 <= i < len(self):
                raise ValueError(f"ids must be from 0 to {len(self) - 1}, got {i}")
        return "".join(self.characters[i] for i in ids)


def _points(text: str) -> Int64[np.ndarray, " t"]:
    """The Unicode code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64)
