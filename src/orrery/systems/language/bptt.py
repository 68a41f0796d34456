"""Backpropagation through time: the gradient of a recurrent network, step by step backwards.

Source: Werbos 1990, "Backpropagation Through Time: What It Does and How to Do It", Proceedings of
the IEEE 78(10); Williams and Peng 1990, "An Efficient Gradient-Based Algorithm for On-Line Training
of Recurrent Network Trajectories", Neural Computation 2(4), for the truncation; Pascanu, Mikolov
and Bengio 2013, "On the difficulty of training Recurrent Neural Networks", arXiv:1211.5063,
section 3.2, for the clipping.
Differs from the papers: Williams and Peng's BPTT(h) sends back the error of every step at once, as
here, but changes the weights while it runs; here they stay until the sequence is over.

Symbols: h the state of a step; W, U, b weights of input, state and bias; e_t the gradient of the
loss by h_t as far as it does not come by way of later steps; a_t = W x_t + U h_(t-1) + b.

The error e_s reaches a_t, k = s - t steps back, as

    d(t, k) = diag(1 - h_t^2) U' d(t + 1, k - 1)        d(t, 0) = diag(1 - h_t^2) e_t

and the gradient of U is the sum of d(t, k) h_(t-1)' over all t and k. Truncated, k stops short of
`horizon`: cheaper in memory, and wrong by what the longer paths would have added.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System
from orrery.nn.recurrent import LayerWeights, Steps
from orrery.systems.language.rnn import Rnn

SYSTEM = System(
    stem="bptt", area="language", title="Backpropagation through time", year=1990,
    papers=("Werbos 1990", "Williams and Peng 1990", "arXiv:1211.5063"), builds_on=("rnn",),
    realises=("bptt",),
)  # fmt: skip

Sequence = Float[Tensor, "b t i"]
States = Float[Tensor, "b t d"]
Errors = Float[Tensor, "k b d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Backward:
    """What goes back through time."""

    gradients: Mapping[str, Tensor]
    """By the name of the weight."""
    inputs: Float[Tensor, "b t i"]
    """The gradient by the inputs."""
    by_lag: Float[Tensor, " k"]
    """Size (root of the sum of squares) of all errors that came k steps back."""


@torch.no_grad()
def bptt(rnn: Rnn, x: Sequence, errors: States, horizon: int | None = None) -> Backward:
    """Gradients of a one-layer network that starts from zeros and reads forwards.

    Args:
        rnn: the network.
        x: what it read.
        errors: the gradient of the loss by each output, later steps left out.
        horizon: how many steps an error counts, its own included; all, if not given.

    Raises:
        ValueError: the network has more than one layer or direction, or horizon is below 1.
    """
    if rnn.config.depth > 1 or rnn.config.bidirectional:
        raise ValueError(f"rnn must have one layer that reads forwards: {rnn.config}")
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}")
    weights, steps = rnn.weights(0), x.shape[1]
    kept = min(horizon or steps, steps)
    states = rnn(x).outputs.transpose(0, 1)
    before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
    arrived, squares = _send_back(weights, states, errors.transpose(0, 1), kept)
    bias = arrived.sum((0, 1))
    return Backward(
        gradients={
            "weight_ih_l0": torch.einsum("tbd,bti->di", arrived, x),
            "weight_hh_l0": torch.einsum("tbd,tbe->de", arrived, before),
            "bias_ih_l0": bias, "bias_hh_l0": bias,
        },
        inputs=(arrived @ weights.input).transpose(0, 1), by_lag=squares.sqrt(),
    )  # fmt: skip


def _send_back(
    weights: LayerWeights, states: Steps, errors: Steps, kept: int
) -> tuple[Steps, Float[Tensor, " k"]]:
    """At every step the sum of d(t, k) over k, and for every k the sum of squares over t."""
    arrived, squares = torch.empty_like(states), states.new_zeros(kept)
    coming: Errors = states.new_zeros(0, *states.shape[1:])  # by h_t, the youngest error first
    for t in reversed(range(len(states))):
        coming = torch.cat([errors[t : t + 1], coming])[:kept]
        by_sum = coming * (1 - states[t].square())
        arrived[t] = by_sum.sum(0)
        squares[: len(by_sum)] += by_sum.square().sum((1, 2))
        coming = by_sum @ weights.recurrent
    return arrived, squares


def bias_of_truncation(whole: Backward, cut: Backward) -> float:
    """How far the truncated gradient is from the whole one, relative to the whole one."""
    apart = [cut.gradients[name] - gradient for name, gradient in whole.gradients.items()]
    return float(_norm(apart) / _norm(list(whole.gradients.values())))


def clip(gradients: Mapping[str, Tensor], limit: float) -> dict[str, Tensor]:
    """The same direction, at most `limit` long over all weights together.

    Raises:
        ValueError: limit is not above 0.
    """
    if limit <= 0:
        raise ValueError(f"limit must be above 0, got {limit}")
    length = _norm(list(gradients.values()))
    shrink = (limit / length).clamp(max=1.0)
    return {name: shrink * gradient for name, gradient in gradients.items()}


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()
