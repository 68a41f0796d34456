"""Highway network: every layer learns how much of its input to let pass as it is.

A layer gives y = T(x) * H(x) + (1 - T(x)) * x, where H is an ordinary layer and the gate T a
sigmoid layer beside it. The gate's bias starts below zero, so that a deep net starts as nearly the
identity and can be trained at depths where a plain net of the same H's does not move.

Source: Srivastava, Greff, Schmidhuber 2015, "Highway Networks", arXiv:1505.00387, equations 2 to 5,
sections 2.2 and 4.1.
Differs from the paper: only the fully connected form; weights start by He's rule.

Symbols: H the transform, T its gate, C = 1 - T the carry gate.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="highway", area="foundations", title="Highway network", year=2015,
    papers=("arXiv:1505.00387",), builds_on=(), realises=("highway",),
)  # fmt: skip

Inputs = Float[Tensor, "b inputs"]
Units = Float[Tensor, "b width"]
Logits = Float[Tensor, "b classes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HighwayConfig:
    """Sizes; `gated=False` gives the plain net of the same transforms."""

    inputs: int = 64
    width: int = 50
    depth: int = 30
    """Layers between the first, which sets the width, and the last."""
    classes: int = 10
    gate_bias: float = -2.0
    """Where the bias of every gate starts; below zero, the layer carries."""
    activation: Literal["relu", "tanh"] = "relu"
    gated: bool = True

    def __post_init__(self) -> None:
        for name in ("inputs", "width", "depth", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.activation not in ("relu", "tanh"):
            raise ValueError(f"activation must be 'relu' or 'tanh', got {self.activation!r}")


class HighwayLayer(nn.Module):
    """y = T(x) * H(x) + (1 - T(x)) * x (equation 3)."""

    def __init__(self, config: HighwayConfig) -> None:
        super().__init__()
        self.transform = nn.Linear(config.width, config.width)
        self.gate = nn.Linear(config.width, config.width)
        self.activation = torch.relu if config.activation == "relu" else torch.tanh
        nn.init.constant_(self.gate.bias, config.gate_bias)

    def opening(self, x: Units) -> Units:
        """T, between 0 (carry) and 1 (transform)."""
        return torch.sigmoid(self.gate(x))

    def forward(self, x: Units) -> Units:
        """The units after the layer."""
        opening = self.opening(x)
        return opening * self.activation(self.transform(x)) + (1 - opening) * x


class PlainLayer(nn.Module):
    """y = H(x)."""

    def __init__(self, config: HighwayConfig) -> None:
        super().__init__()
        self.transform = nn.Linear(config.width, config.width)
        self.activation = torch.relu if config.activation == "relu" else torch.tanh

    def forward(self, x: Units) -> Units:
        """The units after the layer."""
        return self.activation(self.transform(x))


class Highway(nn.Module):
    """A layer to the width, highway layers, a linear layer to the classes."""

    def __init__(self, config: HighwayConfig) -> None:
        super().__init__()
        self.config = config
        layer = HighwayLayer if config.gated else PlainLayer
        self.enter = nn.Linear(config.inputs, config.width)
        self.layers = nn.ModuleList(layer(config) for _ in range(config.depth))
        self.classify = nn.Linear(config.width, config.classes)
        for name, module in self.named_modules():
            if name.endswith("transform"):
                nn.init.kaiming_normal_(module.weight, nonlinearity=config.activation)
                nn.init.zeros_(module.bias)

    def forward(self, x: Inputs) -> Logits:
        """A score for each class."""
        h = self.enter(x)
        for layer in self.layers:
            h = layer(h)
        return self.classify(h)

    def openings(self, x: Inputs) -> Float[Tensor, "depth b width"]:
        """How far every gate of every layer is open for each input.

        Raises:
            ValueError: the net has no gates.
        """
        if not self.config.gated:
            raise ValueError("a plain net has no gates: gated must be True")
        h, found = self.enter(x), []
        for layer in self.layers:
            assert isinstance(layer, HighwayLayer)
            found.append(layer.opening(h))
            h = layer(h)
        return torch.stack(found)
