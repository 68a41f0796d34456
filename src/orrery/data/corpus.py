"""A text in numbers: a part to learn from and a part that is held out."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from orrery.data.characters import Characters


@dataclass(frozen=True, slots=True)
class Corpus:
    """Characters, and the two parts as their ids."""

    characters: Characters
    training: Int64[Tensor, " n"]
    held_out: Int64[Tensor, " m"]

    @classmethod
    def from_split(cls, texts: tuple[str, str], *, at_least: int = 1) -> "Corpus":
        """Number the characters of both parts; those not learnt from are unknown.

        Args:
            texts: the part to learn from and the part held out.
            at_least: how often a character must occur in the first part to be known.
        """
        characters = Characters.from_text(texts[0], unknown=True, at_least=at_least)
        training, held_out = (torch.from_numpy(characters.encode(text)) for text in texts)
        return cls(characters, training, held_out)
