"""A recurrent network: one state, rewritten at every step from itself and the input.

Source: Elman 1990, "Finding Structure in Time", Cognitive Science 14(2), for the network whose
hidden state is fed back; Rumelhart, Hinton and Williams 1986, "Learning representations by
back-propagating errors", Nature 323, for how it is trained.
Differs from the papers: tanh in place of the logistic function; two biases that only ever add up,
as in torch, whose state dicts load as they are; layers may be stacked and read from both ends.

Symbols: x the input and h the state of a step; W the weights of the input, U those of the state.

    h_t = tanh(W x_t + b + U h_(t-1) + b')

The state at one step is a function of the state before, so step t cannot begin before step t - 1
is done, and a gradient that goes k steps back is multiplied k times by diag(1 - h^2) U.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System
from orrery.nn.recurrent import LayerStates, LayerWeights, Recurrent, RecurrentConfig, Steps

SYSTEM = System(
    stem="rnn", area="language", title="Recurrent network (Elman)", year=1990,
    papers=("Elman 1990", "Rumelhart et al. 1986"), builds_on=(), realises=("rnn",),
)  # fmt: skip

Sequence = Float[Tensor, "b t i"]
State = Float[Tensor, "n b d"]  # one row a layer and direction


@dataclass(frozen=True, kw_only=True, slots=True)
class RnnOutput:
    """What came out at every step, and the state to go on from."""

    outputs: Float[Tensor, "b t _"]
    state: State


class Rnn(Recurrent):
    """Stacked tanh layers; keys and shapes of the weights are those of torch.nn.RNN."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config, gates=1)

    def forward(self, x: Sequence, state: State | None = None) -> RnnOutput:
        """The states of the last layer at every step, from `state` or from zeros."""
        y, (h,) = self.run(x, (self.start(x.shape[0]) if state is None else state,))
        return RnnOutput(outputs=y, state=h)

    def sweep(
        self, x: Steps, weights: LayerWeights, state: LayerStates
    ) -> tuple[Float[Tensor, "t b d"], LayerStates]:
        """One layer over all steps: the equation above, one step after another."""
        (h,) = state
        recurrent, states = weights.recurrent.T, []
        for product in (weights.products(x) + weights.recurrent_bias).unbind():
            h = torch.addmm(product, h, recurrent).tanh()
            states.append(h)
        return torch.stack(states), (h,)
