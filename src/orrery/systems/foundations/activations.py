"""Activations: ReLU and its rivals, each written out, and the share of units that are dead.

    relu        max(0, x)                          slope 1 for x > 0, else 0
    leaky_relu  x for x > 0, else a x              slope a for x < 0
    elu         x for x > 0, else a (exp x - 1)    runs into -a
    sigmoid     1 / (1 + exp(-x))                  slope s (1 - s), at most 1/4, at 0
    tanh        2 sigmoid(2x) - 1                  slope 1 - tanh^2, at most 1, at 0
    gelu        x Phi(x)                           Phi: distribution function of a unit Gaussian
    gelu_tanh   x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    silu        x sigmoid(x)                       also called swish

A unit is dead when its slope is 0 for every example: no gradient reaches it, so it stays so.

Source: Nair and Hinton 2010, "Rectified Linear Units Improve Restricted Boltzmann Machines";
Krizhevsky, Sutskever, Hinton 2012, section 3.1 (relu against tanh); Maas, Hannun, Ng 2013 (leaky
relu); Clevert, Unterthiner, Hochreiter 2015, arXiv:1511.07289 (elu); Hendrycks and Gimpel 2016,
arXiv:1606.08415 (gelu, silu).
Differs from the papers: at 0 the slope of relu and of leaky_relu is that for x < 0, as is the
custom of libraries.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="activations", area="foundations", title="ReLU and other activations", year=2010,
    papers=("Nair and Hinton 2010", "Krizhevsky, Sutskever, Hinton 2012", "Maas, Hannun, Ng 2013",
            "arXiv:1511.07289", "arXiv:1606.08415"),
    builds_on=(), realises=("relu",),
)  # fmt: skip

Numbers = Float[Tensor, "*shape"]
Inputs = Float[Tensor, "n units"]  # what n examples put into each unit
Function = Callable[[Tensor], Tensor]


def relu(x: Numbers) -> Numbers:
    """What is positive stays, the rest becomes 0."""
    return torch.where(x <= 0, 0.0, x)


def leaky_relu(x: Numbers, slope: float = 0.01) -> Numbers:
    """What is positive stays, the rest is made small."""
    return torch.where(x <= 0, slope * x, x)


def elu(x: Numbers, floor: float = 1.0) -> Numbers:
    """What is positive stays, the rest bends smoothly towards -floor."""
    return torch.where(x > 0, x, floor * torch.expm1(x.clamp(max=0)))


def sigmoid(x: Numbers) -> Numbers:
    """From 0 to 1; exp(-log(1 + exp(-x))) overflows on neither side."""
    return torch.exp(-torch.logaddexp(torch.zeros_like(x), -x))


def tanh(x: Numbers) -> Numbers:
    """A sigmoid from -1 to 1."""
    return 2 * sigmoid(2 * x) - 1


def gelu(x: Numbers) -> Numbers:
    """The number times the chance that a unit Gaussian lies below x."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Numbers) -> Numbers:
    """GELU by an approximation that needs no error function."""
    return x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def silu(x: Numbers) -> Numbers:
    """The number times its own sigmoid."""
    return x * sigmoid(x)


RIVALS: dict[str, Function] = {
    "relu": relu, "leaky_relu": leaky_relu, "elu": elu, "sigmoid": sigmoid, "tanh": tanh,
    "gelu": gelu, "gelu_tanh": gelu_tanh, "silu": silu,
}  # fmt: skip


class Activation(nn.Module):
    """An activation by its name, as a layer."""

    def __init__(self, name: str) -> None:
        """Look the name up.

        Raises:
            ValueError: it is not one of RIVALS.
        """
        super().__init__()
        if name not in RIVALS:
            raise ValueError(f"name must be one of {', '.join(RIVALS)}, got {name!r}")
        self.name = name

    def forward(self, x: Numbers) -> Numbers:
        """The activation of every number."""
        return RIVALS[self.name](x)


def slope(function: Function, x: Numbers) -> Numbers:
    """The derivative of `function` at every number."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x).sum(), x)[0]


def dead_rate(function: Function, inputs: Inputs, below: float = 0.0) -> float:
    """Share of the units whose slope is 0 on every example.

    Args:
        function: the activation of the units.
        inputs: what goes into them.
        below: a slope of no more than this counts as 0; sigmoids saturate without ever getting
            there.
    """
    return float((slope(function, inputs).abs() <= below).all(0).double().mean())
