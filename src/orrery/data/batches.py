"""Batches as a pure function of a generator: no epochs, no order to remember across a restart."""

import torch
from jaxtyping import Int64
from torch import Generator, Tensor

Indices = Int64[Tensor, " b"]
Windows = Int64[Tensor, "b t"]


def sample_batch(count: int, batch: int, generator: Generator) -> Indices:
    """`batch` places below `count`, each as likely as any other, drawn with replacement.

    Raises:
        ValueError: count or batch is below 1.
    """
    if min(count, batch) < 1:
        raise ValueError(f"count and batch must be at least 1, got {count} and {batch}")
    return torch.randint(count, (batch,), generator=generator, device=generator.device)


def sample_windows(
    tokens: Int64[Tensor, " n"], block: int, batch: int, generator: Generator
) -> tuple[Windows, Windows]:
    """`batch` windows of `block` tokens, and for each token the one that follows it.

    Raises:
        ValueError: the text is too short for one window.
    """
    if not 1 <= block < len(tokens):
        raise ValueError(f"block must be from 1 to {len(tokens) - 1}, got {block}")
    starts = sample_batch(len(tokens) - block, batch, generator).to(tokens.device)
    windows = tokens[starts[:, None] + torch.arange(block + 1, device=tokens.device)]
    return windows[:, :-1], windows[:, 1:]
