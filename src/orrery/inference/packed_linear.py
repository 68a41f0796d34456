"""A linear map whose weights stay in four bits.

Weights w = scale q + offset, q in 0..15, with one scale and one offset for 32 neighbours of a row.
A product reads a quarter of the bytes that bfloat16 would, and bytes are what writing on with a
single text waits for.

The kernel is torch's for int4 on CPUs: it takes activations in bfloat16 and
w = scale (q - 8) + zero.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

GROUP = 32


class PackedLinear(nn.Module):
    """x W^T; activations are rounded to bfloat16, the result is of the type of x."""

    packed: Tensor
    scales: Tensor

    def __init__(
        self,
        q: UInt8[Tensor, "n k"],
        scale: Float[Tensor, "n groups"],
        offset: Float[Tensor, "n groups"],
    ) -> None:
        """Pack the weights.

        Args:
            q: whole numbers of four bits.
            scale: of each group.
            offset: of each group.

        Raises:
            ValueError: the sizes do not go together.
        """
        super().__init__()
        n, k = q.shape
        if k % GROUP or scale.shape != (n, k // GROUP) or offset.shape != scale.shape:
            sizes = f"{tuple(q.shape)} with scales {tuple(scale.shape)}, {tuple(offset.shape)}"
            raise ValueError(f"q must have one scale and offset for {GROUP} numbers: {sizes}")
        zeros = offset + 8 * scale
        both = torch.stack([scale, zeros], dim=-1).transpose(0, 1)
        self.register_buffer("packed", torch._convert_weight_to_int4pack_for_cpu(q.int(), 1))
        self.register_buffer("scales", both.to(torch.bfloat16).contiguous())

    def forward(self, x: Float[Tensor, "*b k"]) -> Float[Tensor, "*b n"]:
        """The product."""
        rows = x.flatten(0, -2).to(torch.bfloat16)
        out = torch._weight_int4pack_mm_for_cpu(rows, self.packed, GROUP, self.scales)
        return out.to(x.dtype).unflatten(0, x.shape[:-1])


class HalfTable(nn.Module):
    """A table of embeddings in bfloat16; what comes out is in single precision."""

    def __init__(self, table: Float[Tensor, "v d"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(table.to(torch.bfloat16), requires_grad=False)

    def forward(self, tokens: Int[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        """The embeddings of tokens."""
        return nn.functional.embedding(tokens, self.weight).float()

    def scores(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b v"]:
        """What the table scores each token."""
        return nn.functional.linear(x.to(torch.bfloat16), self.weight).float()
