"""A residual net as Euler's method: layers are steps along a differential equation.

x + F(x) is one Euler step of dx/dt = F(x, t). Whether a whole net follows the equation is another
matter. It does so only if each branch is scaled by 1/L and the weights change smoothly with depth;
then L layers end within order 1/L of where the equation leads, and a net may be given more or fewer
layers after the fact. Here both are built in: the weights are smooth functions of t, a sum of a few
cosines, and every depth reads the same functions.

Source: Chen, Rubanova, Bettencourt, Duvenaud 2018, "Neural Ordinary Differential Equations",
arXiv:1806.07366, equations 1 and 2; Sander, Ablin, Peyre 2022, "Do Residual Neural Networks
discretize Neural Ordinary Differential Equations?", arXiv:2205.14612, section 2, for the two
conditions.
Differs from the papers: weights are cosine series in t, which makes their smoothness a number.

Symbols: L the depth, t = l / L the place of layer l, K the number of cosines.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="resnet_euler", area="foundations", title="Residual nets as Euler steps", year=2018,
    papers=("arXiv:1806.07366", "arXiv:2205.14612"), builds_on=(), realises=(),
)  # fmt: skip

Units = Float[Tensor, "b width"]
Weights = Float[Tensor, "rows columns"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EulerConfig:
    """Sizes, and how fast the weights may change with depth."""

    width: int = 8
    hidden: int = 16
    """Units inside a branch."""
    modes: int = 3
    """K: cosines of which each weight is a sum; the more, the rougher."""
    scale: float = 1.0
    """Spread of what a branch gives at the start."""

    def __post_init__(self) -> None:
        for name in ("width", "hidden", "modes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.scale > 0:
            raise ValueError(f"scale must be above 0, got {self.scale}")


class SmoothWeights(nn.Module):
    """W(t) = A_0 + sum over k from 1 to K - 1 of A_k cos(pi k t)."""

    def __init__(self, rows: int, columns: int, modes: int, spread: float) -> None:
        super().__init__()
        start = torch.randn(modes, rows, columns) * spread / math.sqrt(modes * columns)
        self.amplitudes = nn.Parameter(start)

    def forward(self, t: float) -> Weights:
        """The weights at one place, from 0 to 1."""
        k = torch.arange(len(self.amplitudes)).to(self.amplitudes)
        return torch.tensordot(torch.cos(math.pi * k * t), self.amplitudes, dims=1)


class EulerResNet(nn.Module):
    """A net of as many layers as it is asked for: x + F(x, l / L) / L, for l from 0 to L - 1."""

    def __init__(self, config: EulerConfig) -> None:
        super().__init__()
        self.config = config
        self.inner = SmoothWeights(config.hidden, config.width + 1, config.modes, 1.0)
        self.outer = SmoothWeights(config.width, config.hidden, config.modes, config.scale)

    def branch(self, x: Units, t: float) -> Units:
        """F(x, t), the right-hand side of the equation."""
        weights = self.inner(t)
        return torch.tanh(x @ weights[:, :-1].T + weights[:, -1]) @ self.outer(t).T

    def forward(self, x: Units, depth: int, *, scaled: bool = True) -> Units:
        """The units after `depth` layers.

        Args:
            x: the units before.
            depth: L, at least 1.
            scaled: divide each branch by L; without it, each layer is a step of size 1.

        Raises:
            ValueError: depth is below 1.
        """
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        step = 1 / depth if scaled else 1.0
        for layer in range(depth):
            x = x + step * self.branch(x, layer / depth)
        return x
