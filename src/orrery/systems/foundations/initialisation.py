"""Xavier's and He's initialisation: weights that keep signals as large as they came.

A linear layer makes its input n_in Var(W) times as large in mean square, and a gradient on the way
back n_out Var(W) times. Near 0, tanh passes both on unchanged; relu passes half of each:

    Xavier   Var(W) = 2 / (n_in + n_out)    the compromise between 1/n_in and 1/n_out (tanh)
    He       Var(W) = 2 / n_in              twice as much, for the half that relu takes (relu)

A uniform draw from -a to a has variance a^2 / 3, so a = sqrt(3 Var). With Xavier's weights a relu
stack of equal widths halves the mean square in every layer; with He's it stays.

Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural
networks", equations 10 to 16; He, Zhang, Ren, Sun 2015, arXiv:1502.01852, equations 5 to 14.
Differs from the papers: He's weights may be drawn uniformly, too.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="initialisation", area="foundations", title="Xavier and He initialisation", year=2010,
    papers=("Glorot and Bengio 2010", "arXiv:1502.01852"), builds_on=(),
    realises=("xavier-init", "he-init"),
)  # fmt: skip

Weight = Float[Tensor, "outputs inputs *kernel"]
Mode = Literal["fan_in", "fan_out"]


def fans(weight: Weight) -> tuple[int, int]:
    """Numbers that go into one unit, and units that one number goes into.

    The kernel of a convolution counts in both.
    """
    outputs, inputs, *kernel = weight.shape
    return inputs * math.prod(kernel), outputs * math.prod(kernel)


def xavier_variance(weight: Weight) -> float:
    """2 / (n_in + n_out) (equation 12)."""
    return 2 / sum(fans(weight))


def he_variance(weight: Weight, mode: Mode = "fan_in") -> float:
    """2 / n_in, or 2 / n_out to keep gradients instead (equations 10 and 14)."""
    n_in, n_out = fans(weight)
    return 2 / (n_in if mode == "fan_in" else n_out)


def xavier_uniform_(weight: Weight, generator: Generator, gain: float = 1.0) -> Weight:
    """Draw Xavier's weights evenly from -a to a (equation 16), in place.

    Args:
        weight: to be filled.
        generator: draws.
        gain: multiplies the standard deviation.
    """
    return _uniform_(weight, gain**2 * xavier_variance(weight), generator)


def xavier_normal_(weight: Weight, generator: Generator, gain: float = 1.0) -> Weight:
    """Draw Xavier's weights from a Gaussian, in place."""
    return _normal_(weight, gain**2 * xavier_variance(weight), generator)


def he_uniform_(weight: Weight, generator: Generator, mode: Mode = "fan_in") -> Weight:
    """Draw He's weights evenly, in place."""
    return _uniform_(weight, he_variance(weight, mode), generator)


def he_normal_(weight: Weight, generator: Generator, mode: Mode = "fan_in") -> Weight:
    """Draw He's weights from a Gaussian, in place."""
    return _normal_(weight, he_variance(weight, mode), generator)


def relu_mean_square(q: float, depth: int, scale: float) -> float:
    """Mean square of the pre-activations after `depth` more relu layers: q (scale / 2)^depth.

    Args:
        q: at the start.
        depth: layers in between.
        scale: fan-in times the variance of a weight: 1 for Xavier, 2 for He at equal widths.
    """
    return q * (scale / 2) ** depth


def tanh_mean_square(q: float, depth: int, scale: float) -> float:
    """The same under tanh while signals are small: q <- scale (q - 2 q^2), to second order.

    With scale 1 it decays, but like 1 / (2 depth) and not exponentially.
    """
    for _ in range(depth):
        q = scale * (q - 2 * q**2)
    return q


@torch.no_grad()
def _uniform_(weight: Weight, variance: float, generator: Generator) -> Weight:
    bound = math.sqrt(3 * variance)
    return weight.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def _normal_(weight: Weight, variance: float, generator: Generator) -> Weight:
    return weight.normal_(0, math.sqrt(variance), generator=generator)
