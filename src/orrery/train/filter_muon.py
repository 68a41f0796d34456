"""Muon for the filters of convolutions, whose size is held fixed.

Source: Jordan 2024, "94% on CIFAR-10 in 2.6 seconds" (the code of airbench94_muon), after "Muon:
An optimizer for hidden layers in neural networks", 2024.
Differs from the sources: the orthogonalisation runs in the type it is told, five times by default.

A filter bank of o outputs is read as a matrix of o rows, one a filter. Before each step it is
scaled so that its filters have length 1 in the mean square; a normalisation behind the
convolution makes its size meaningless, and so a rate of 0.1 turns every filter by about a tenth.

Symbols: W the filters, M the momentum, o outputs.

    M <- keep M + gradient        W <- W sqrt(o) / |W| - rate * orthogonal(gradient + keep M)
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from orrery.train.muon import ITERATIONS, orthogonalise


class FilterMuon(Optimizer):
    """Nesterov momentum, orthogonalised, for filters of length 1."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 0.24,
        momentum: float = 0.6,
        iterations: int = ITERATIONS,
        iterate_in: torch.dtype | None = None,
    ) -> None:
        """Optimise filters.

        Args:
            params: filter banks, or groups of them: outputs first, two dimensions or more.
            lr: learning rate, about the angle a filter turns by.
            momentum: share of the old direction that is kept.
            iterations: of the orthogonalisation.
            iterate_in: type of the orthogonalisation; None: that of the parameter.

        Raises:
            ValueError: a parameter has fewer than two dimensions.
        """
        self.iterations, self.iterate_in = iterations, iterate_in
        super().__init__(params, {"lr": lr, "momentum": momentum})
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim < 2:
                    raise ValueError(f"params must be filter banks, got shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every filter bank that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._step(p, p.grad, group["lr"], group["momentum"])
        return loss

    def _step(self, p: Tensor, gradient: Tensor, rate: float, keep: float) -> None:
        momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
        momentum.mul_(keep).add_(gradient)
        ahead = gradient.add(momentum, alpha=keep).flatten(1)[None]
        turned = orthogonalise(ahead.to(self.iterate_in or p.dtype), iterations=self.iterations)
        p.mul_(len(p) ** 0.5 / p.norm()).sub_(turned[0].to(p.dtype).view(p.shape), alpha=rate)
