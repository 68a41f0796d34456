"""Four small tasks on which optimisers are compared; batches are pure functions of the step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from orrery.data.batches import sample_batch
from orrery.data.passages import Passages

Stream = Callable[[int], Generator]
"""The random numbers of a step."""
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Task:
    """The batch of a step, an untrained model, and the loss of its outputs."""

    batch: Callable[[int], Batch]
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy


def pictures(x: Tensor, labels: Tensor, batch: int, width: int, stream: Stream) -> Task:
    """A network of two layers tells ten kinds of pictures apart in small batches."""

    def draw(step: int) -> Batch:
        chosen = sample_batch(len(x), batch, stream(step))
        return x[chosen], labels[chosen]

    return Task(draw, nn.Sequential(nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, 10)))


def drift(still: Task, period: int) -> Task:
    """The same task, but every class changes its number once in `period` steps."""

    def draw(step: int) -> Batch:
        inputs, targets = still.batch(step)
        return inputs, (targets + step // period) % 10

    return Task(draw, still.model, still.loss)


def words(works: Mapping[str, str], vocab: int, batch: int, stream: Stream) -> Task:
    """A linear model tells the ten longest works apart by sixteen words, most of them rare."""
    passages = Passages.from_works(works, longest=10, vocab=vocab)
    bag = nn.EmbeddingBag(len(passages.vocabulary), 10, mode="sum")
    nn.init.zeros_(bag.weight)
    return Task(lambda step: passages.draw(batch, 16, stream(step)), bag)


def whole(x: Tensor, labels: Tensor) -> Task:
    """Least squares on all pictures at once: a badly conditioned bowl without noise."""
    everything = (x, F.one_hot(labels, 10).to(x.dtype))

    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum(1).mean()

    return Task(lambda step: everything, nn.Linear(x.shape[1], 10), squared)


def rare_rate(squares: Tensor) -> float:
    """AdaGrad's median rate for the rarer half of the words it saw, over that for the other half.

    Args:
        squares: its sums of squared gradients, a row for each word, the most frequent word first.
    """
    rates = torch.stack([row.mean().rsqrt() for row in squares if row.any()])
    half = len(rates) // 2
    return float(rates[half:].median() / rates[:half].median())
