"""One model at several learning rates, trained side by side on the same batches."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

Loss = Callable[[Any, Any], Tensor]
Losses = Float[Tensor, " rates"]


class SideBySide(nn.Module):
    """Copies of a model, one for each rate; they all start alike and see the same batches.

    A copy whose loss is no longer a number worth following stands still, so that it does not stop
    the others. The losses of all steps are a buffer, and so part of every checkpoint.
    """

    losses: Float[Tensor, "steps rates"]

    def __init__(
        self, model: nn.Module, loss: Loss, rates: Sequence[float], *, steps: int, lost: float
    ) -> None:
        """Make the copies.

        Args:
            model: untrained.
            loss: of the model's outputs and the targets.
            rates: a learning rate for each copy.
            steps: of the training.
            lost: a loss above which a copy stands still.
        """
        super().__init__()
        self.models = nn.ModuleList(copy.deepcopy(model) for _ in rates)
        self.loss, self.rates, self.lost = loss, tuple(rates), lost
        self.register_buffer("losses", torch.zeros(steps, len(rates)))

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for an optimiser, each with the rate of its copy."""
        return [
            {"params": list(model.parameters()), "lr": rate}
            for model, rate in zip(self.models, self.rates, strict=True)
        ]

    def train_step(self, step: int, inputs: Any, targets: Any, optimiser: Optimizer) -> Losses:
        """Take one step with every copy; the losses before it."""
        losses = torch.stack([self.loss(model(inputs), targets) for model in self.models])
        followed = losses < self.lost  # False for NaN too
        optimiser.zero_grad()
        if followed.any():
            losses[followed].sum().backward()
            optimiser.step()
        self.losses[step] = losses.detach().nan_to_num(self.lost).clamp(max=self.lost)
        return self.losses[step]
