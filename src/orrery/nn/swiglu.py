"""SwiGLU: a feed-forward block in which one linear map opens and shuts what another lets through.

Source: Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202, equation 6.
Differs from the paper: the gate's activation may be another than swish; biases may be there; the
maps of gate and value are one matrix.
"""

from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.activation_names import ACTIVATIONS
from orrery.nn.stacked import StackedLinear

SYSTEM = System(
    stem="swiglu", area="language", title="SwiGLU", year=2020,
    papers=("arXiv:2002.05202",), builds_on=(), realises=(),
)  # fmt: skip

Stream = Float[Tensor, "*n d"]


class SwiGlu(nn.Module):
    """W_down (swish(x W_gate) * x W_up)."""

    def __init__(
        self, width: int, inner: int, *, activation: str = "silu", bias: bool = False
    ) -> None:
        """Make the maps.

        Args:
            width: numbers a token.
            inner: gates; with 2/3 of 4 width the block has the weights of an ordinary one.
            activation: of the gate, by its published name.
            bias: whether the maps have one.
        """
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.gate_up = StackedLinear(width, inner, 2, bias=bias)
        self.down = nn.Linear(inner, width, bias=bias)

    def forward(self, x: Stream) -> Stream:
        """What the block makes of each token."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.activation(gate) * up)
