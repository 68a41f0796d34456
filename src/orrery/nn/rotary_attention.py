"""Causal self-attention with rotary positions and grouped queries, as Llama and Mistral have it.

Queries and keys turn with their place (`turned`; the tables are the caller's), several query heads
read one head of keys (`grouped_query`), and a window may limit how far back a token sees.
"""

from jaxtyping import Float
from torch import Tensor, nn

from orrery.nn.attention import Bias, Queries
from orrery.nn.grouped_query import Keys, Values, grouped_attention, grouped_weights
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.rotary import Turns, turned
from orrery.nn.window_attention import window_attention, window_bias

Stream = Float[Tensor, "b t d"]


class GroupedQueryAttention(nn.Module):
    """Causal self-attention of h query heads in g groups, with rotary positions."""

    def __init__(
        self, width: int, heads: int, groups: int, head_size: int, *, bias: bool, dropout: float
    ) -> None:
        """Make the maps.

        Args:
            width: numbers a token.
            heads: of queries.
            groups: heads of keys and values; divides `heads`.
            head_size: numbers a query.
            bias: whether the maps have one.
            dropout: share of the attention weights left out in training.
        """
        super().__init__()
        self.heads, self.groups, self.dropout = heads, groups, dropout
        self.qkv = nn.Linear(width, (heads + 2 * groups) * head_size, bias=bias)
        self.out = nn.Linear(heads * head_size, width, bias=bias)

    def forward(
        self,
        x: Stream,
        turns: Turns,
        *,
        bias: Bias | None = None,
        window: int | None = None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
        maps: list[Tensor] | None = None,
    ) -> Stream:
        """What the heads gather for each token.

        Args:
            x: the tokens.
            turns: of their places.
            bias: added to the scores of keys.
            window: tokens that a token sees, itself included.
            cache: extended with the turned keys.
            layer: which pair of the cache is this layer's.
            maps: the weights are appended to it.
        """
        heads = self.qkv(x).unflatten(-1, (self.heads + 2 * self.groups, -1)).transpose(1, 2)
        both, v = heads.split((self.heads + self.groups, self.groups), dim=1)
        q, k = turned(both, turns).split((self.heads, self.groups), dim=1)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        if window is not None and k.shape[2] <= window:
            window = None
        y = self.gather(q, k, v, bias, window, maps)
        return self.out(y.transpose(1, 2).flatten(-2))

    def gather(
        self,
        q: Queries,
        k: Keys,
        v: Values,
        bias: Bias | None,
        window: int | None,
        maps: list[Tensor] | None,
    ) -> Queries:
        """What each query takes: of all before it, or of a window shorter than that."""
        t, s, dropout = q.shape[2], k.shape[2], self.dropout if self.training else 0.0
        if window is not None and bias is None and t == s and maps is None and not dropout:
            k, v = (z.repeat_interleave(self.heads // self.groups, dim=1) for z in (k, v))
            return window_attention(q, k, v, window)
        if window is not None:
            hidden = window_bias(t, s, window, q)
            bias = hidden if bias is None else bias + hidden
        causal = window is None
        if maps is not None:
            maps.append(grouped_weights(q, k, bias=bias, causal=causal))
        return grouped_attention(q, k, v, bias=bias, causal=causal, dropout=dropout)
