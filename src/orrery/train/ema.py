"""A running mean of a model's weights: smoother than the weights, and often a better model.

Source: Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; the
exponential form is that of the Adam and DDPM code bases.
"""

from copy import deepcopy
from typing import Any, Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class Ema(Generic[M]):
    """mean <- decay mean + (1 - decay) weights, after every step."""

    def __init__(self, model: M, *, decay: float = 0.999) -> None:
        """Start at the model's own weights.

        Raises:
            ValueError: decay is not in [0, 1).
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.updates = 0
        self.model: M = deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: M) -> None:
        """Take the model's weights in; what is not averaged (counts, statistics) is copied.

        Early on the mean is over the few weights there were: the decay grows into its value.
        """
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        mine, theirs = self.model.state_dict(), model.state_dict()
        trained = {name for name, _ in model.named_parameters()}
        names = [n for n in mine if n in trained and mine[n].is_floating_point()]
        torch._foreach_lerp_([mine[n] for n in names], [theirs[n] for n in names], 1 - decay)
        for name in mine.keys() - set(names):
            mine[name].copy_(theirs[name])

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights and how often they were updated."""
        return {"updates": self.updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.updates = state["updates"]
        self.model.load_state_dict(state["model"])
