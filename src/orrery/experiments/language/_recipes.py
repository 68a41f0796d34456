"""Recipes to train a masked model by, the model of each, and what it reads at a step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64
from torch import Generator, Tensor, nn

from orrery.data.batches import sample_batch
from orrery.experiments.language._pretraining import start_near
from orrery.experiments.language._scripture import BETWEEN, FIRST, VOCAB
from orrery.systems.language.albert import AlbertConfig, AlbertEncoder, AlbertMaskedLm
from orrery.systems.language.bert import BertConfig, BertMaskedLm
from orrery.systems.language.masked_lm import MaskingConfig, corrupt
from orrery.systems.language.roberta import RobertaConfig, RobertaMaskedLm

Windows = Int64[Tensor, "b t"]
Rows = Int64[Tensor, "b u"]  # a start, half a window, a seam, half a window
Rng = Callable[..., Generator]
PADDING = 0  # no byte of a text


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedRecipe:
    """What an arm is trained with."""

    fixed_gaps: bool = False
    second_task: bool = False
    more_text: bool = False
    more_steps: bool = False
    shared: bool = False


class MaskedReader(nn.Module):
    """A masked model, and what tells whether the second part of a text follows the first."""

    def __init__(self, recipe: MaskedRecipe, length: int, width: int, depth: int) -> None:
        super().__init__()
        self.model = masked_model(recipe, length + 2, width, depth)
        encoder = self.model.encoder
        start_near(encoder.embed, encoder.place, encoder)
        if isinstance(encoder, AlbertEncoder):  # what is near stays near in the wider stream
            nn.init.orthogonal_(encoder.widen.weight, gain=2**0.5)
        self.follows = nn.Linear(width, 2) if recipe.second_task else None

    def states(self, rows: Rows) -> Tensor:
        """A vector for each byte."""
        if self.follows is None:
            return self.model.encoder(rows)
        kinds = torch.arange(rows.shape[1], device=rows.device) >= rows.shape[1] // 2
        return self.model.encoder(rows, None, kinds.long().expand_as(rows))

    def loss(self, rows: Rows, asked: Rows, follows: Bool[Tensor, " b"]) -> Tensor:
        """Nats a hidden byte, and those of the second task where there is one."""
        states = self.states(rows)
        loss = F.cross_entropy(self.model.score(states).flatten(0, 1).float(), asked.flatten())
        if self.follows is None:
            return loss
        return loss + F.cross_entropy(self.follows(states[:, 0]).float(), follows.long())


def masked_model(recipe: MaskedRecipe, places: int, width: int, depth: int) -> BertMaskedLm:
    """The model of a recipe: ALBERT, BERT or RoBERTa."""
    sizes: dict[str, Any] = {
        "vocab": VOCAB, "depth": depth, "heads": 4, "width": width, "inner": 4 * width,
        "dropout": 0.0, "padding": PADDING,
    }  # fmt: skip
    if recipe.shared:
        return AlbertMaskedLm(
            AlbertConfig(**sizes, context=places, segments=1, embedding=width // 2)
        )
    if recipe.second_task:
        return BertMaskedLm(BertConfig(**sizes, context=places))
    return RobertaMaskedLm(RobertaConfig(**sizes, context=places + PADDING + 1))


class Examples:
    """The batches of an arm, each a function of its step."""

    def __init__(
        self, recipe: MaskedRecipe, windows: Windows, masking: MaskingConfig, copies: int, rng: Rng
    ) -> None:
        """Fix the gaps, where the recipe has them fixed.

        Args:
            recipe: of the arm.
            windows: what it reads.
            masking: how much is hidden.
            copies: ways in which each window is hidden, where gaps are fixed.
            rng: a generator for a name and numbers.
        """
        self.recipe, self.windows, self.masking, self.rng = recipe, windows, masking, rng
        self.fixed = None
        if recipe.fixed_gaps:
            every = torch.arange(len(windows), device=windows.device).repeat(copies)
            self.fixed = self.hidden(every, rng("fixed gaps"))

    def hidden(self, drawn: Tensor, generator: Generator) -> tuple[Rows, Rows, Tensor]:
        """What is read of some windows, what is asked, and whether their second parts follow."""
        other, follows = drawn, torch.ones_like(drawn, dtype=torch.bool)
        if self.recipe.second_task:
            chance = torch.rand(drawn.shape, generator=generator, device=generator.device)
            follows = chance < 0.5
            other = torch.where(
                follows, drawn, sample_batch(len(self.windows), len(drawn), generator)
            )
        rows = in_parts(self.windows[drawn], self.windows[other])
        special = (rows == FIRST) | (rows == BETWEEN)
        return *corrupt(rows, self.masking, generator, special=special), follows

    def batch(self, step: int, size: int) -> tuple[Rows, Rows, Tensor]:
        """What `MaskedReader.loss` takes, at a step."""
        generator = self.rng("batch", step)
        if self.fixed is None:
            return self.hidden(sample_batch(len(self.windows), size, generator), generator)
        rows, asked, follows = self.fixed
        drawn = sample_batch(len(rows), size, generator)
        return rows[drawn], asked[drawn], follows[drawn]


def in_windows(text: Int64[Tensor, " n"], length: int) -> Windows:
    """A text cut into windows; what is left over is left out."""
    return text[: len(text) // length * length].view(-1, length)


def in_parts(first: Windows, second: Windows) -> Rows:
    """The first halves of some windows, a seam, and the second halves of others."""
    half, mark = first.shape[1] // 2, torch.ones_like(first[:, :1])
    return torch.cat([FIRST * mark, first[:, :half], BETWEEN * mark, second[:, half:]], dim=1)
