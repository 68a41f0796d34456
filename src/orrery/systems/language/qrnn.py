"""A quasi-recurrent network: convolutions over time make the gates, only pooling is recurrent.

Source: Bradbury, Merity, Xiong and Socher 2016, "Quasi-Recurrent Neural Networks",
arXiv:1611.01576, section 2, equations 1 to 5.
Differs from the paper: no zoneout and no dense connections; `pooling` chooses f, fo or ifo.

Symbols: x the inputs, `window` of them seen at once; z the candidate; f, o, i the forget, output
and input gates; c the cell, h the output; * a convolution over time that never looks ahead; sigma
the logistic function.

    z, f, o, i = tanh(W_z * x), sigma(W_f * x), sigma(W_o * x), sigma(W_i * x)
    c' = f c + (1 - f) z      h = c        f-pooling
                              h = o c      fo-pooling
    c' = f c + i z            h = o c      ifo-pooling

No gate reads the state, so all gates of all steps come from one matrix product, and what is
done step by step is element by element.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.element_recurrence import element_recurrence
from orrery.nn.stacked import StackedLinear

SYSTEM = System(
    stem="qrnn", area="language", title="QRNN", year=2016, papers=("arXiv:1611.01576",),
    builds_on=(), realises=("qrnn",),
)  # fmt: skip

Sequence = Float[Tensor, "b t i"]
Outputs = Float[Tensor, "b t d"]
GATES = {"f": 2, "fo": 3, "ifo": 4}  # blocks of weights, the candidate's included


@dataclass(frozen=True, kw_only=True, slots=True)
class QrnnConfig:
    """Sizes of a stack of layers."""

    inputs: int = 64
    width: int = 64
    depth: int = 1
    window: int = 2
    """Inputs that a gate sees: its own step's and those just before."""
    pooling: Literal["f", "fo", "ifo"] = "fo"

    def __post_init__(self) -> None:
        for name in ("inputs", "width", "depth", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.pooling not in GATES:
            raise ValueError(f"pooling must be one of {', '.join(GATES)}, got {self.pooling!r}")


class QrnnLayer(nn.Module):
    """One layer: gates for all steps at once, then the pooling."""

    def __init__(self, inputs: int, config: QrnnConfig) -> None:
        super().__init__()
        self.config = config
        self.gates = StackedLinear(inputs * config.window, config.width, GATES[config.pooling])

    def forward(self, x: Sequence) -> Outputs:
        """The outputs at every step, from a cell of zeros."""
        window = self.config.window
        seen = F.pad(x, (0, 0, window - 1, 0)).unfold(1, window, 1).flatten(-2)  # [b, t, i window]
        z, *gates = self.gates(seen).transpose(0, 1).chunk(GATES[self.config.pooling], dim=-1)
        f, *rest = (gate.sigmoid() for gate in gates)
        let_in = rest.pop() if self.config.pooling == "ifo" else 1 - f
        c = element_recurrence(f, let_in * z.tanh(), torch.zeros_like(f[0]))
        return (rest[0] * c if rest else c).transpose(0, 1)


class Qrnn(nn.Module):
    """Layer upon layer."""

    def __init__(self, config: QrnnConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [config.inputs] + [config.width] * (config.depth - 1)
        self.layers = nn.ModuleList(QrnnLayer(size, config) for size in sizes)

    def forward(self, x: Sequence) -> Outputs:
        """The outputs of the last layer at every step."""
        for layer in self.layers:
            x = layer(x)
        return x
