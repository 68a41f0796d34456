"""Vanishing and exploding gradients: signals and gradients layer by layer, measured and predicted.

For a stack h_l = f(W_l h_(l-1)) the gradient at a layer is a product of Jacobians D_l W_l, where
D_l holds the slopes f' on its diagonal, so its logarithm changes by about as much in each layer.

    bound      log(||W|| max|f'|)             no layer can do more than this (operator norm)
    mean       1/2 log(s E[f'(sqrt(q) z)^2])  what a random layer does: s is fan-in times the
                                              variance of a weight, q the mean square of its
                                              pre-activations, z a unit Gaussian
    forward    q <- s E[f(sqrt(q) z)^2]       how the mean square goes from layer to layer

The bound holds for every matrix; the mean is exact as the width grows.

Source: Bengio, Simard, Frasconi 1994; Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, section 2.1
(the bound); Poole et al. 2016, arXiv:1606.05340, equation 3, and Schoenholz et al. 2017,
arXiv:1611.01232, section 3 (the mean and forward maps).
Differs from the papers: layers in place of time steps, no biases, square layers in the mean map.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.systems.foundations.activations import slope

SYSTEM = System(
    stem="signal_propagation", area="foundations", title="Vanishing and exploding gradients",
    year=1991, papers=("Bengio, Simard, Frasconi 1994", "arXiv:1211.5063", "arXiv:1606.05340",
                       "arXiv:1611.01232"),
    builds_on=("activations",), realises=("vanishing-gradient",),
)  # fmt: skip

Function = Callable[[Tensor], Tensor]
Matrix = Float[Tensor, "outputs inputs"]
POINTS = 100
"""Of the Gaussian quadrature: an even number, so that none is at 0, where relu has its kink."""


def mean_squares(layers: Iterable[nn.Module], x: Tensor) -> list[float]:
    """Mean square of what comes out of each layer, from the input up."""
    found = []
    with torch.no_grad():
        for layer in layers:
            x = layer(x)
            found.append(x.square().mean().item())
    return found


def gradient_norms(layers: Iterable[nn.Module], x: Tensor, loss: Function) -> list[float]:
    """Norm of the loss's gradient at the input, then at what comes out of each layer.

    Args:
        layers: any modules, applied one after another.
        x: the input.
        loss: of what comes out of the last one.
    """
    signals = [x.detach().requires_grad_()]
    for layer in layers:
        signals.append(layer(signals[-1]))
    gradients = torch.autograd.grad(loss(signals[-1]), signals)
    return [gradient.norm().item() for gradient in gradients]


def fitted_slope(norms: Sequence[float]) -> float:
    """Change of the logarithm from one layer to the layer below it, by least squares.

    Args:
        norms: of the gradient, from the input up; all above 0.

    Raises:
        ValueError: there are fewer than two, or one is not above 0.
    """
    if len(norms) < 2 or min(norms) <= 0:
        raise ValueError(f"norms must be two or more and above 0, got {list(norms)}")
    downwards = np.log(np.asarray(norms[::-1], float))
    return float(np.polyfit(np.arange(len(norms)), downwards, 1)[0])


def bound_slope(weight: Matrix, steepest: float) -> float:
    """log(||W|| max|f'|): by no more than this can the logarithm grow in one layer.

    Args:
        weight: of the layer.
        steepest: the largest slope of the activation: 1/4 for a sigmoid, 1 for tanh and relu.
    """
    return math.log(torch.linalg.matrix_norm(weight, 2).item() * steepest)


def gradient_bound(weights: Iterable[Matrix], steepest: float) -> float:
    """The product over layers of ||W|| max|f'|: the gradient below is at most so many times as
    large as the gradient above.
    """
    return math.exp(sum(bound_slope(weight, steepest) for weight in weights))


def forward_map(function: Function, q: float, scale: float) -> float:
    """The mean square of pre-activations one layer on: s E[f(sqrt(q) z)^2].

    Args:
        function: the activation.
        q: mean square of this layer's pre-activations.
        scale: fan-in times the variance of a weight.
    """
    return scale * _gaussian_mean(lambda z: function(z).square(), q)


def mean_slope(function: Function, q: float, scale: float) -> float:
    """1/2 log(s E[f'(sqrt(q) z)^2]): what a wide random layer adds to the logarithm.

    Args:
        function: the activation.
        q: mean square of the pre-activations.
        scale: fan-in times the variance of a weight.
    """
    return 0.5 * math.log(scale * _gaussian_mean(lambda z: slope(function, z).square(), q))


def _gaussian_mean(function: Function, q: float) -> float:
    """E[function(sqrt(q) z)] by Gauss-Hermite quadrature.

    Raises:
        ValueError: q is below 0.
    """
    if q < 0:
        raise ValueError(f"q must be at least 0, got {q}")
    places, weights = np.polynomial.hermite_e.hermegauss(POINTS)
    values = function(math.sqrt(q) * torch.from_numpy(places))
    return float(values @ torch.from_numpy(weights)) / math.sqrt(2 * math.pi)
