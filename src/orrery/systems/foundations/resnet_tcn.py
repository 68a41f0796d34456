"""A temporal convolutional network: residual blocks of dilated, causal convolutions on sequences.

Output t sees inputs up to t and no later one, because every convolution is padded on the left
only. Block i looks 2^i steps apart, so that L blocks of two convolutions with kernels of k see
1 + 2 (k - 1)(2^L - 1) steps: the field doubles with each block while its cost stays the same.

Source: Bai, Kolter, Koltun 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent
Networks for Sequence Modeling", arXiv:1803.01271, sections 3.1 to 3.3, figure 1.
Differs from the paper: nothing of the block; `stream` is ours.

Symbols: k the kernel, L the number of blocks, d = 2^i the dilation of block i.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from orrery.catalog import System

SYSTEM = System(
    stem="resnet_tcn", area="foundations", title="Residual temporal convolutions (TCN)", year=2018,
    papers=("arXiv:1803.01271",), builds_on=(), realises=("resnet-tcn",),
)  # fmt: skip

Sequences = Float[Tensor, "b channels t"]
NewSequences = Float[Tensor, "b outputs t"]
Past = Float[Tensor, "b channels _"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TcnConfig:
    """Sizes of the network."""

    inputs: int = 1
    outputs: int = 1
    width: int = 32
    """Channels of every block."""
    depth: int = 4
    """L: blocks, the dilation doubled from one to the next."""
    kernel: int = 3
    """k: steps that a convolution looks at."""
    dropout: float = 0.0
    """Chance that a whole channel is left out, in training."""

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kernel < 2:
            raise ValueError(f"kernel must be at least 2, got {self.kernel}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def field(self) -> int:
        """Steps that an output sees, its own among them."""
        return 1 + 2 * (self.kernel - 1) * (2**self.depth - 1)


class CausalConvolution(nn.Module):
    """Output t is made of inputs t, t - d, ..., t - (k - 1) d, with zeros before the first."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.before = (kernel - 1) * dilation
        convolution = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        nn.init.normal_(convolution.weight, std=0.01)
        self.convolution = weight_norm(convolution)

    def forward(self, x: Sequences) -> NewSequences:
        """As many steps as came in."""
        return self.convolution(F.pad(x, (self.before, 0)))


class TemporalBlock(nn.Module):
    """relu(shortcut(x) + F(x)), F two causal convolutions, each rectified and dropped out."""

    def __init__(self, inputs: int, config: TcnConfig, dilation: int) -> None:
        super().__init__()
        width, kernel = config.width, config.kernel
        self.first = CausalConvolution(inputs, width, kernel, dilation)
        self.second = CausalConvolution(width, width, kernel, dilation)
        self.shortcut = nn.Identity() if inputs == width else nn.Conv1d(inputs, width, 1)
        self.drop = nn.Dropout1d(config.dropout)

    def forward(self, x: Sequences) -> NewSequences:
        """The sequence after the block."""
        y = self.drop(F.relu(self.first(x)))
        y = self.drop(F.relu(self.second(y)))
        return F.relu(self.shortcut(x) + y)


class Tcn(nn.Module):
    """Blocks of doubling dilation, then a linear layer at each step."""

    def __init__(self, config: TcnConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.Sequential(
            *(
                TemporalBlock(config.width if i else config.inputs, config, 2**i)
                for i in range(config.depth)
            )
        )
        self.read_out = nn.Conv1d(config.width, config.outputs, 1)

    def forward(self, x: Sequences) -> NewSequences:
        """An output at each step, made of that step and those before."""
        return self.read_out(self.blocks(x))

    def stream(self, past: Past, x: Sequences) -> tuple[NewSequences, Past]:
        """Outputs for new steps, and the past to give with the next ones.

        Args:
            past: inputs before `x`; none (t = 0) at the beginning.
            x: new inputs.
        """
        seen = torch.cat([past, x], dim=2)
        return self(seen)[:, :, past.shape[2] :], seen[:, :, 1 - self.config.field :]
