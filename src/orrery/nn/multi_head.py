"""Multi-head attention: several attentions side by side, each in a subspace of its own.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, section 3.2.2.
Differs from the paper: the maps of queries, keys and values are one matrix, so that
self-attention makes all three with one product; a bias may be added to the scores.

Symbols: t queries from `x`; s keys and values from `source`, which is `x` in self-attention.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.attention import attention, attention_weights
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.stacked import StackedLinear

SYSTEM = System(
    stem="multi_head", area="language", title="Multi-head self- and cross-attention", year=2017,
    papers=("arXiv:1706.03762",), builds_on=(),
    realises=("multi-head-attention", "self-attention", "cross-attention"),
)  # fmt: skip

Stream = Float[Tensor, "b t d"]
Source = Float[Tensor, "b s d"]
Bias = Float[Tensor, "#b #h #t s"]
Map = Float[Tensor, "b h t s"]
Heads = Float[Tensor, "b h _ k"]


class MultiHeadAttention(nn.Module):
    """Concat(head_1, ..., head_h) W_O, with head_i = attention(x Q_i, source K_i, source V_i)."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        head_size: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """Make the maps.

        Args:
            width: numbers a token.
            heads: how many attentions.
            head_size: numbers a query; width / heads if not given.
            bias: whether the maps have one.
            dropout: share of the attention weights left out in training.

        Raises:
            ValueError: no head size is given and width is no multiple of heads.
        """
        super().__init__()
        if head_size is None and width % heads:
            raise ValueError(f"width must be a multiple of heads={heads}, got {width}")
        inner = heads * (head_size or width // heads)
        self.heads, self.dropout = heads, dropout
        self.qkv = StackedLinear(width, inner, 3, bias=bias)
        self.out = nn.Linear(inner, width, bias=bias)

    def forward(
        self,
        x: Stream,
        source: Source | None = None,
        *,
        causal: bool = False,
        bias: Bias | None = None,
        scale: float | None = None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
        maps: list[Map] | None = None,
    ) -> Stream:
        """What the heads gather for each token of `x`.

        Args:
            x: asks.
            source: answers; `x` itself if not given.
            causal: a token sees those up to itself.
            bias: added to the scores; minus infinity hides.
            scale: of the scores; 1 / sqrt(head size) if not given.
            cache: of self-attention: holds what came before and is extended. Of
                cross-attention: holds the source's keys and values from the first call on.
            layer: which pair of the cache is this layer's.
            maps: the weights are appended to it.
        """
        q, k, v = self.project(x, source, cache, layer)
        if maps is not None:
            maps.append(attention_weights(q, k, causal=causal, bias=bias, scale=scale))
        dropout = self.dropout if self.training else 0.0
        y = attention(q, k, v, causal=causal, bias=bias, scale=scale, dropout=dropout)
        return self.out(y.transpose(1, 2).flatten(-2))

    def project(
        self, x: Stream, source: Source | None, cache: KeyValueCache | None, layer: int
    ) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values by head, the cache's among them."""
        if source is None:
            q, k, v = (self.split(part) for part in self.qkv(x).chunk(3, dim=-1))
            if cache is not None:
                k, v = cache.extend(layer, k, v)
            return q, k, v
        weight, bias = self.qkv.weight, self.qkv.bias
        inner = weight.shape[0] // 3
        q = self.split(F.linear(x, weight[:inner], None if bias is None else bias[:inner]))
        if cache is not None and layer < len(cache.keys):
            return q, cache.keys[layer], cache.values[layer]
        both = F.linear(source, weight[inner:], None if bias is None else bias[inner:])
        k, v = (self.split(part) for part in both.chunk(2, dim=-1))
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        return q, k, v

    def split(self, x: Float[Tensor, "b _ inner"]) -> Heads:
        """By head."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
