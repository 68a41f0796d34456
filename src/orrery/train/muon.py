"""Muon: momentum whose steps are orthogonal matrices, for the hidden layers of a network.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the scale
of the step that lets it share AdamW's learning rate is from Liu et al. 2025, "Muon is Scalable
for LLM Training", arXiv:2502.16982, equation 4.
Differs from the sources: matrices of one shape are stacked and iterated together, a few large
products in place of many small ones; the iteration runs in the type it is told, because
bfloat16, in which it is usual, is emulated on most processors; a parameter that holds several
matrices one above the other is taken apart first.

Symbols: M the momentum, M = U S V' its singular value decomposition. A plain step along M hardly
moves the directions whose singular values are small. Muon steps along U V', which moves all of
them alike.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from orrery.nn.stacked import StackedLinear

Matrices = Float[Tensor, "n y x"]

# p(s) = a s + b s^3 + c s^5: applied five times it sends every s in (0, 1] near 1, steep at 0.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalise(matrices: Matrices, *, iterations: int = ITERATIONS) -> Matrices:
    """U S' V' for each U S V': the singular values S' all near 1, roughly in 0.7 to 1.2.

    An odd polynomial of a matrix, M p(M' M), is the polynomial of its singular values, so the
    values are pulled to 1 by matrix products alone.
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT  # the smaller square product
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    a, b, c = QUINTIC
    for _ in range(iterations):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT


class Muon(Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        split: int = 1,
        iterate_in: torch.dtype | None = None,
    ) -> None:
        """Optimise matrices.

        Args:
            params: matrices, or groups of them.
            lr: learning rate, on AdamW's scale.
            momentum: share of the old direction that is kept.
            weight_decay: share of a weight, times lr, that is lost in a step.
            split: how many matrices, one above the other, each parameter of a group holds.
            iterate_in: type of the orthogonalisation; None: that of the parameter.

        Raises:
            ValueError: a parameter is not a matrix, or its rows do not split.
        """
        self.iterate_in = iterate_in
        defaults = {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "split": split,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2 or p.shape[0] % group["split"]:
                    raise ValueError(
                        f"params must be matrices of a multiple of split={group['split']} rows, "
                        f"got shape {tuple(p.shape)}"
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; matrices of the same shape go through the iteration as one stack."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append(p)
            for alike in shapes.values():
                self._step(alike, group)
        return loss

    def _step(self, params: list[Tensor], group: dict[str, Any]) -> None:
        keep, split = group["momentum"], group["split"]
        gradients = [p.grad for p in params if p.grad is not None]
        for p in params:
            self.state[p].setdefault("momentum", torch.zeros_like(p))
        momenta = [self.state[p]["momentum"] for p in params]
        torch._foreach_lerp_(momenta, gradients, 1 - keep)
        ahead = torch._foreach_lerp(gradients, momenta, keep)  # Nesterov: one step further on
        y, x = params[0].shape
        stack = torch.stack(ahead).view(-1, y // split, x)
        steps = orthogonalise(stack.to(self.iterate_in or stack.dtype)).to(stack.dtype)
        rate = group["lr"] * 0.2 * max(y // split, x) ** 0.5  # entries of about Adam's size
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, list(steps.reshape(-1, y, x).unbind()), alpha=-rate)


def hidden_matrices(model: nn.Module) -> tuple[list[dict[str, Any]], list[Tensor]]:
    """Groups of the weights of linear layers, for Muon, and all other parameters, for AdamW.

    Embeddings are tables of vectors, not maps between spaces; they belong to AdamW, and so does a
    head that shares its weight with one.
    """
    tables = {m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
    groups: dict[int, list[Tensor]] = defaultdict(list)
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.weight not in tables:
            groups[module.parts if isinstance(module, StackedLinear) else 1].append(module.weight)
    hidden = {weight for group in groups.values() for weight in group}
    rest: list[Tensor] = [p for p in model.parameters() if p not in hidden]
    return [{"params": group, "split": parts} for parts, group in groups.items()], rest


def muon_and_adamw(model: nn.Module, lr: float) -> tuple[Muon, AdamW]:
    """Muon for the hidden matrices, AdamW for the rest, as short runs of small models want them."""
    matrices, rest = hidden_matrices(model)
    return (
        Muon(matrices, lr=lr, momentum=0.9),
        AdamW(rest, lr=lr, betas=(0.9, 0.95), weight_decay=0.0),
    )
