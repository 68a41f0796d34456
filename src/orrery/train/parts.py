"""A part of the batch for each thread, rather than every thread in each operation.

torch gives all threads to one operation after another, and each time they wait for the slowest,
and for whatever in between runs on one thread alone. The rows of a batch have nothing to do with
one another: so each thread can take some of them through the whole network, and wait once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Parts:
    """Does the same with every part of a batch, side by side."""

    def __init__(self, threads: int) -> None:
        """Parts for so many threads.

        Raises:
            ValueError: there is no thread.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.threads = threads

    def each(self, rows: int, work: Callable[[slice], T]) -> list[T]:
        """`work(part)` for each part of the rows, in order; within it torch has one thread."""
        cuts = [rows * i // self.threads for i in range(self.threads + 1)]
        parts = [slice(start, stop) for start, stop in pairwise(cuts)]
        parts = [part for part in parts if part.start < part.stop]
        before, grad = torch.get_num_threads(), torch.is_grad_enabled()

        def alone(part: slice) -> T:
            with torch.set_grad_enabled(grad):  # a new thread would not know
                return work(part)

        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(self.threads) as pool:
                return list(pool.map(alone, parts))
        finally:
            torch.set_num_threads(before)

    def backward(
        self, rows: int, loss: Callable[[slice], Tensor], parameters: Sequence[Tensor]
    ) -> Tensor:
        """Set the gradients of the mean loss over all rows; the mean loss.

        Args:
            rows: of the batch.
            loss: the mean over some of the rows.
            parameters: what the loss depends on, all of them.
        """

        def learn(part: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
            share = loss(part) * ((part.stop - part.start) / rows)
            return share.detach(), torch.autograd.grad(share, parameters)

        losses, gradients = zip(*self.each(rows, learn), strict=True)
        # laid out in memory as the parameters are: optimisers may rely on it
        total = [
            torch.empty_like(p).copy_(g) for p, g in zip(parameters, gradients[0], strict=True)
        ]
        for more in gradients[1:]:  # one after the other, so that the sum is always the same
            torch._foreach_add_(total, more)
        for parameter, gradient in zip(parameters, total, strict=True):
            parameter.grad = gradient
        return torch.stack(losses).sum()
