"""The gated recurrent unit: two gates, one state, three quarters of the LSTM's weights.

Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for
Statistical Machine Translation", arXiv:1406.1078, section 2.3; Chung et al. 2014, "Empirical
Evaluation of Gated Recurrent Neural Networks on Sequence Modeling", arXiv:1412.3555, section 3.2.
Differs from the papers: biases, which they leave out; the default is torch's convention, whose
state dicts load as they are.

Symbols: x the input, h the state; r the reset gate, z the update gate, n the candidate; W the
weights of the input, U those of the state; sigma the logistic function.

    r, z = sigma(W x + b + U h + b')
    n = tanh(W x + b + r (U h + b'))      reset="after": torch, and Cho et al. in version 1
    n = tanh(W x + b + U (r h) + b')      reset="before": Cho et al. in version 3, Chung et al.
    h' = z h + (1 - z) n                  update="keep": Cho et al., and torch
    h' = (1 - z) h + z n                  update="take": Chung et al.

The two updates are one function: sigma(-a) = 1 - sigma(a), so turning the sign of the update
gate's weights turns one into the other. The two resets are not.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System
from orrery.nn.recurrent import LayerStates, LayerWeights, Recurrent, RecurrentConfig, Steps

SYSTEM = System(
    stem="gru", area="language", title="GRU", year=2014,
    papers=("arXiv:1406.1078", "arXiv:1412.3555"), builds_on=(), realises=("gru",),
)  # fmt: skip

Sequence = Float[Tensor, "b t i"]
State = Float[Tensor, "n b d"]  # one row a layer and direction


@dataclass(frozen=True, kw_only=True, slots=True)
class GruConfig(RecurrentConfig):
    """Sizes, and which of the equations above."""

    update: Literal["keep", "take"] = "keep"
    """What an open update gate does with the old state."""
    reset: Literal["after", "before"] = "after"
    """Whether the reset gate acts after the recurrent product or before."""

    def __post_init__(self) -> None:
        RecurrentConfig.__post_init__(self)
        if self.update not in ("keep", "take"):
            raise ValueError(f"update must be 'keep' or 'take', got {self.update!r}")
        if self.reset not in ("after", "before"):
            raise ValueError(f"reset must be 'after' or 'before', got {self.reset!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GruOutput:
    """What came out at every step, and the state to go on from."""

    outputs: Float[Tensor, "b t _"]
    state: State


class Gru(Recurrent):
    """Stacked layers; keys and shapes of the weights are those of torch.nn.GRU."""

    def __init__(self, config: GruConfig) -> None:
        super().__init__(config, gates=3)
        self.update, self.reset = config.update, config.reset

    def forward(self, x: Sequence, state: State | None = None) -> GruOutput:
        """The states of the last layer at every step, from `state` or from zeros."""
        y, (h,) = self.run(x, (self.start(x.shape[0]) if state is None else state,))
        return GruOutput(outputs=y, state=h)

    def sweep(
        self, x: Steps, weights: LayerWeights, state: LayerStates
    ) -> tuple[Float[Tensor, "t b d"], LayerStates]:
        """One layer over all steps: the equations above, one step after another."""
        (h,) = state
        d, states = h.shape[-1], []
        products = weights.products(x)
        gates = (products[..., : 2 * d] + weights.recurrent_bias[: 2 * d]).unbind()
        candidates = products[..., 2 * d :].unbind()
        bias, u_n = weights.recurrent_bias[2 * d :], weights.recurrent[2 * d :].T
        u_gates, u_all = weights.recurrent[: 2 * d].T, weights.recurrent.T
        for gate, candidate in zip(gates, candidates, strict=True):
            if self.reset == "after":
                said, u_h = (h @ u_all).split((2 * d, d), dim=-1)
                r, z = (gate + said).sigmoid().chunk(2, dim=-1)
                n = torch.addcmul(candidate, r, u_h + bias).tanh()
            else:
                r, z = torch.addmm(gate, h, u_gates).sigmoid().chunk(2, dim=-1)
                n = (candidate + torch.addmm(bias, r * h, u_n)).tanh()
            h = torch.lerp(n, h, z) if self.update == "keep" else torch.lerp(h, n, z)
            states.append(h)
        return torch.stack(states), (h,)
