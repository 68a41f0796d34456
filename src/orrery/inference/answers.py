"""Prompts with the answers that are wanted, as tokens: to learn from, and to be examined by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from orrery.inference.causal_lm import CausalLm

Tokens = Int[Tensor, "b t"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt and its answer, the end of the text included."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Score:
    """How a model does on answers that it has not learnt."""

    loss: float
    """Mean cross-entropy of an answer's token, in nats."""
    exact: float
    """Share of the answers that the model gives itself, word for word, when it writes greedily."""


def padded(rows: Sequence[Answered]) -> tuple[Tokens, Tokens]:
    """Tokens of several, filled up at the right, and marks at those of the answers."""
    length = max(map(len, rows))
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    marks = torch.zeros_like(tokens)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor([*row.prompt, *row.answer])
        marks[i, len(row.prompt) : len(row)] = 1
    return tokens, marks


def batch_of(
    rows: Sequence[Answered], size: int, generator: torch.Generator
) -> tuple[Tokens, Tokens]:
    """Some of the rows by chance, none twice."""
    chosen = torch.randperm(len(rows), generator=generator)[:size].tolist()
    return padded([rows[i] for i in chosen])


@torch.no_grad()
def examine(model: CausalLm, rows: Sequence[Answered], *, size: int = 8) -> Score:
    """Of answers, the loss and the share that greedy writing gives.

    One reading tells both: an answer is what greedy writing gives if each of its tokens is the
    likeliest after those before it.

    Args:
        model: scores next tokens; it is put into eval mode and back.
        rows: at least one.
        size: read at once.
    """
    was_training = model.training
    model.eval()
    nats, tokens, exact = 0.0, 0, 0
    for part in _alike(rows, size):
        ids, marks = padded(part)
        asked = marks[:, 1:].bool()
        scores = model(ids[:, :-1]).logits.float()
        wanted = ids[:, 1:]
        nats += float(F.cross_entropy(scores[asked], wanted[asked], reduction="sum"))
        tokens += int(asked.sum())
        exact += int(((scores.argmax(dim=-1) == wanted) | ~asked).all(dim=1).sum())
    model.train(was_training)
    return Score(nats / tokens, exact / len(rows))


def _alike(rows: Sequence[Answered], size: int) -> Iterator[list[Answered]]:
    """Rows of like lengths together, so that little is filled up."""
    ordered = sorted(rows, key=len)
    for i in range(0, len(ordered), size):
        yield ordered[i : i + size]
