"""The simple recurrent unit: gates from the input alone, an element-wise state, and a highway.

Source: Lei and Zhang 2017, "Training RNNs as Fast as CNNs", arXiv:1709.02755, first version,
section 2.1.
Differs from the paper: where input and width differ the highway carries a linear map of the input,
as the authors' later version does; no dropout. The later version (Lei et al. 2018) lets its gates
look at the cell, element by element; this one does not.

Symbols: x the input, v the candidate; f, r the forget and reset gates; c the cell, h the output;
W the weights, sigma the logistic function.

    v = W x      f = sigma(W_f x + b_f)      r = sigma(W_r x + b_r)
    c' = f c + (1 - f) v
    h = r tanh(c') + (1 - r) x      the highway: what is not of the cell is the input

All matrix products of all steps are one; step by step there is only a product and a sum.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.element_recurrence import element_recurrence
from orrery.nn.stacked import StackedLinear

SYSTEM = System(
    stem="sru", area="language", title="SRU", year=2017, papers=("arXiv:1709.02755",),
    builds_on=(), realises=("sru",),
)  # fmt: skip

Sequence = Float[Tensor, "b t i"]
Outputs = Float[Tensor, "b t d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SruConfig:
    """Sizes of a stack of layers."""

    inputs: int = 64
    width: int = 64
    depth: int = 1
    highway: bool = True
    """False drops the second term of h."""

    def __post_init__(self) -> None:
        for name in ("inputs", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class SruLayer(nn.Module):
    """One layer: candidate and gates for all steps at once, then the cell."""

    def __init__(self, inputs: int, config: SruConfig) -> None:
        super().__init__()
        self.highway = config.highway
        self.candidate = nn.Linear(inputs, config.width, bias=False)
        self.gates = StackedLinear(inputs, config.width, 2)
        same = inputs == config.width or not config.highway
        self.carry = nn.Identity() if same else nn.Linear(inputs, config.width, bias=False)

    def forward(self, x: Sequence) -> Outputs:
        """The outputs at every step, from a cell of zeros."""
        v = self.candidate(x).transpose(0, 1)
        f, r = self.gates(x).sigmoid().transpose(0, 1).chunk(2, dim=-1)
        c = element_recurrence(f, (1 - f) * v, torch.zeros_like(v[0]))
        h = r * c.tanh()
        if self.highway:
            h = h + (1 - r) * self.carry(x).transpose(0, 1)
        return h.transpose(0, 1)


class Sru(nn.Module):
    """Layer upon layer."""

    def __init__(self, config: SruConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [config.inputs] + [config.width] * (config.depth - 1)
        self.layers = nn.ModuleList(SruLayer(size, config) for size in sizes)

    def forward(self, x: Sequence) -> Outputs:
        """The outputs of the last layer at every step."""
        for layer in self.layers:
            x = layer(x)
        return x
