"""Backpropagation by hand: the delta recursion of a fully connected network, in plain numpy.

z_l = a_{l-1} W_l + b_l and a_l = s(z_l); the last layer's z goes into a softmax. With
delta_l = dL/dz_l, in the plan's words:

    delta_L = (softmax(z_L) - onehot) / n            the error at the output
    delta_l = (delta_{l+1} W_{l+1}^T) * s'(z_l)      passed down through the weights
    dL/dW_l = a_{l-1}^T delta_l,  dL/db_l = sum of delta_l over the examples

Two matrix products a layer on the way back against one on the way there: twice the work, and
linear in the number of layers. `autograd` finds the same gradients without being told the rules.

Source: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors",
doi:10.1038/323533a0, equations 4 to 7.
Differs from the paper: softmax and cross-entropy at the output; relu or tanh besides the sigmoid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from orrery.catalog import System

SYSTEM = System(
    stem="backpropagation", area="foundations", title="Backpropagation", year=1986,
    papers=("doi:10.1038/323533a0",), builds_on=(), realises=("backpropagation",),
)  # fmt: skip

Rows = Float64[np.ndarray, "n _"]  # n examples as rows, of any width
Weights = Float64[np.ndarray, "inputs outputs"]
Biases = Float64[np.ndarray, " outputs"]
Labels = Int64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackpropagationConfig:
    """Sizes of the layers from input to output, and the activation between them."""

    sizes: tuple[int, ...] = (64, 32, 10)
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes must be two or more, each at least 1, got {self.sizes}")
        if self.activation not in SLOPES:
            raise ValueError(f"activation must be one of {list(SLOPES)}, got {self.activation!r}")


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights and biases of one layer, or their gradients."""

    weights: Weights
    biases: Biases


Elementwise = Callable[[Rows], Rows]

ACTIVATIONS: dict[str, Elementwise] = {
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 0.5 * (1.0 + np.tanh(0.5 * z)),
}
SLOPES: dict[str, Elementwise] = {  # as functions of the activation a = s(z), which is at hand
    "relu": lambda a: (a > 0).astype(np.float64),
    "tanh": lambda a: 1.0 - a * a,
    "sigmoid": lambda a: a * (1.0 - a),
}


class MultilayerPerceptron:
    """A fully connected classifier that knows its own gradients."""

    def __init__(self, config: BackpropagationConfig, rng: np.random.Generator) -> None:
        self.config = config
        self.layers = [
            Layer(rng.normal(0.0, np.sqrt(2.0 / a), (a, b)), np.zeros(b))
            for a, b in zip(config.sizes, config.sizes[1:], strict=False)
        ]

    def activations(self, x: Rows) -> list[Rows]:
        """a_0 = x, a_1, ... and last the logits z_L."""
        activate = ACTIVATIONS[self.config.activation]
        found = [x]
        for layer in self.layers[:-1]:
            found.append(activate(found[-1] @ layer.weights + layer.biases))
        found.append(found[-1] @ self.layers[-1].weights + self.layers[-1].biases)
        return found

    def loss_and_gradients(self, x: Rows, labels: Labels) -> tuple[float, list[Layer]]:
        """Mean cross-entropy in nats, and its gradient for every layer."""
        activations = self.activations(x)
        rows = np.arange(len(labels))
        log_probabilities = log_softmax_rows(activations[-1])
        loss = -float(log_probabilities[rows, labels].mean())

        delta = np.exp(log_probabilities)
        delta[rows, labels] -= 1.0
        delta /= len(labels)
        return loss, self.pass_back(activations, delta)

    def pass_back(self, activations: Sequence[Rows], delta: Rows) -> list[Layer]:
        """The delta recursion: gradients of all layers from dL/dz_L."""
        slope = SLOPES[self.config.activation]
        gradients: list[Layer] = []
        for level in reversed(range(len(self.layers))):
            below = activations[level]
            gradients.append(Layer(below.T @ delta, delta.sum(axis=0)))
            if level > 0:
                delta = (delta @ self.layers[level].weights.T) * slope(below)
        return gradients[::-1]

    def descend(self, gradients: Sequence[Layer], lr: float) -> None:
        """Move every weight by -lr times its gradient."""
        for layer, gradient in zip(self.layers, gradients, strict=True):
            layer.weights[...] -= lr * gradient.weights
            layer.biases[...] -= lr * gradient.biases


def log_softmax_rows(z: Rows) -> Rows:
    """Log-probabilities of each row of logits."""
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
