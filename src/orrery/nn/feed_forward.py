"""The feed-forward block of a Transformer: two layers for each token by itself.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, section 3.3, equation 2;
Geva et al. 2021, "Transformer Feed-Forward Layers Are Key-Value Memories", arXiv:2012.14913,
section 2, for the view of it as a memory.
Differs from the papers: the activation may be another than ReLU.

Symbols: a token x asks each key k_i (a row of the first layer); the answer m_i = f(x k_i + c_i)
says how much of the value v_i (a column of the second) it takes: y = sum of m_i v_i, and a bias.
"""

from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.activation_names import ACTIVATIONS, refuse_unknown

SYSTEM = System(
    stem="feed_forward", area="language", title="Position-wise feed-forward block", year=2017,
    papers=("arXiv:1706.03762", "arXiv:2012.14913"), builds_on=(), realises=("ffn-block",),
)  # fmt: skip

Stream = Float[Tensor, "*n d"]


class FeedForward(nn.Module):
    """f(x W_up + c) W_down + a."""

    def __init__(
        self, width: int, inner: int | None = None, *, activation: str = "relu", bias: bool = True
    ) -> None:
        """Make both layers.

        Args:
            width: numbers a token.
            inner: memories; four times the width if not given.
            activation: by its published name.
            bias: whether the layers have one.

        Raises:
            ValueError: the activation is not known.
        """
        super().__init__()
        refuse_unknown(activation)
        inner = inner or 4 * width
        self.activation = ACTIVATIONS[activation]
        self.up, self.down = nn.Linear(width, inner, bias), nn.Linear(inner, width, bias)

    def forward(self, x: Stream) -> Stream:
        """What the block makes of each token."""
        return self.down(self.answers(x))

    def answers(self, x: Stream) -> Float[Tensor, "*n inner"]:
        """How much of each memory's value a token takes."""
        return self.activation(self.up(x))

    @property
    def keys(self) -> Float[Tensor, "inner d"]:
        """What each memory is asked with."""
        return self.up.weight

    @property
    def values(self) -> Float[Tensor, "inner d"]:
        """What each memory gives."""
        return self.down.weight.T


def share_of_block(width: int, inner: int) -> float:
    """Of a block's matrices, the share that lies here: the rest are attention's four.

    With `inner` four times the width it is 8 / (8 + 4).
    """
    here, attention = 2 * width * inner, 4 * width**2
    return here / (here + attention)
