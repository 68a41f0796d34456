"""Weights that are small to read and exact to train: bfloat16 in the model, float32 beside it.

Source: Micikevicius et al. 2018, "Mixed Precision Training", arXiv:1710.03740, section 3.1.

A model whose weights are bfloat16 needs no casts, half the memory traffic, and the fast products.
But bfloat16 has eight bits of mantissa: a step smaller than a 256th of the weight is rounded
away, and late in training all steps are. So the optimiser works on a float32 copy, the master,
and the model's weights are what the master rounds to.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class MasterWeights:
    """Exact copies of a model's weights; each step goes gradient -> master -> weight."""

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
        """Copy the weights, then turn the model's own into `dtype`."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        exact = [p.detach().clone() for p in parameters]
        model.to(dtype)
        self._pairs: dict[Tensor, Tensor] = dict(zip(parameters, exact, strict=True))

    def of(self, parameters: Iterable[Tensor]) -> list[Tensor]:
        """The masters of some of the model's parameters: what the optimiser is given."""
        return [self._pairs[p] for p in parameters]

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Hand the model's gradients to the masters, and clear them; before the optimiser."""
        for weight, master in self._pairs.items():
            master.grad = None if weight.grad is None else weight.grad.to(master.dtype)
            weight.grad = None

    @torch.no_grad()
    def give_weights(self) -> None:
        """Round the masters into the model; after the optimiser."""
        torch._foreach_copy_(list(self._pairs), list(self._pairs.values()))

    def state_dict(self) -> dict[str, Any]:
        """The masters, in the order of the model's parameters."""
        return {"masters": list(self._pairs.values())}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the model's weights follow."""
        torch._foreach_copy_(list(self._pairs.values()), state["masters"])
        self.give_weights()
