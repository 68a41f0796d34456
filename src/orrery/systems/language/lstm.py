"""Long short-term memory: a cell that adds, and gates that say what goes in, stays and comes out.

Source: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", Neural Computation 9(8), for
the cell with its input and output gates; Gers, Schmidhuber and Cummins 2000, "Learning to Forget:
Continual Prediction with LSTM", Neural Computation 12(10), for the forget gate.
Differs from the papers: exact gradients through time, where both papers cut them at the gates;
tanh for both squashing functions; no peepholes; the forget gate's bias starts at 1, so
that a new cell remembers; without a forget gate the input gate's starts at -3, so that a cell that
cannot forget is not filled with noise; two biases that only ever add up, as in torch, whose state
dicts load as they are when there is a forget gate.

Symbols: x the input, h the output and c the cell of a step; i, f, o the input, forget and output
gates, g the candidate; W the weights of the input, U those of the output fed back; sigma the
logistic function. `forget=False` is the cell of 1997, where f = 1.

    i, f, o = sigma(W x + U h + b)      what to let in, to keep, to show
    g = tanh(W x + U h + b)             what could be let in
    c' = f c + i g                      a sum, so gradients pass where f is near 1
    h' = o tanh(c')
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System
from orrery.nn.recurrent import LayerStates, LayerWeights, Recurrent, RecurrentConfig, Steps
from orrery.systems.language.lstm_sweep import lstm_sweep

SYSTEM = System(
    stem="lstm", area="language", title="LSTM (1997, and 2000 with a forget gate)", year=1997,
    papers=("Hochreiter and Schmidhuber 1997", "Gers et al. 2000"), builds_on=(),
    realises=("lstm",),
)  # fmt: skip

Sequence = Float[Tensor, "b t i"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LstmState:
    """What is carried from one step to the next; of several layers, one above the other."""

    h: Float[Tensor, "*n b d"]
    c: Float[Tensor, "*n b d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LstmOutput:
    """What came out at every step, and the state to go on from."""

    outputs: Float[Tensor, "b t _"]
    state: LstmState


def lstm_cell(products: Float[Tensor, "b g"], c: Float[Tensor, "b d"]) -> LstmState:
    """One step of the equations above, from W x + U h + b.

    Four blocks are i, f, g, o; three are i, g, o, and nothing is forgotten.
    """
    if products.shape[-1] == 4 * c.shape[-1]:
        i, f, g, o = products.chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    else:
        i, g, o = products.chunk(3, dim=-1)
        c = c + i.sigmoid() * g.tanh()
    return LstmState(h=o.sigmoid() * c.tanh(), c=c)


class Lstm(Recurrent):
    """Stacked layers; with a forget gate, keys and shapes are those of torch.nn.LSTM."""

    def __init__(self, config: RecurrentConfig, *, forget: bool = True) -> None:
        """Layers of the given sizes.

        Args:
            config: the sizes.
            forget: False leaves the forget gate out, and its weights.
        """
        super().__init__(config, gates=4 if forget else 3)
        self.forget = forget
        first = config.width if forget else 0  # the forget gate's rows, or the input gate's
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.startswith("bias"):
                    start = (1.0 if forget else -3.0) if name.startswith("bias_ih") else 0.0
                    parameter[first : first + config.width] = start

    def forward(self, x: Sequence, state: LstmState | None = None) -> LstmOutput:
        """The outputs of the last layer at every step, from `state` or from zeros."""
        zero = self.start(x.shape[0])
        y, (h, c) = self.run(x, (zero, zero) if state is None else (state.h, state.c))
        return LstmOutput(outputs=y, state=LstmState(h=h, c=c))

    def sweep(
        self, x: Steps, weights: LayerWeights, state: LayerStates
    ) -> tuple[Float[Tensor, "t b d"], LayerStates]:
        """`lstm_cell` over all steps, with the gradient written by hand: the same, sooner."""
        h, c = state
        bias = weights.input_bias + weights.recurrent_bias
        y, last = lstm_sweep(x, weights.input, weights.recurrent, bias, h, c)
        return y, (y[-1], last)
