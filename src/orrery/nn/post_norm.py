"""The block of 2017: attention, then each token by itself, each added and then normalised.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, sections 3.1 and 3.3.
The encoders of the Transformer and of BERT are stacks of it; causal, so is the first GPT.
"""

from jaxtyping import Float
from torch import Tensor, nn

from orrery.nn.feed_forward import FeedForward
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import Map, MultiHeadAttention

Stream = Float[Tensor, "b t d"]
Source = Float[Tensor, "b s d"]
Bias = Float[Tensor, "#b #h #t _"]


class PostNormBlock(nn.Module):
    """x <- norm(x + attention(x)); x <- norm(x + feed_forward(x))."""

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        *,
        activation: str = "relu",
        epsilon: float = 1e-5,
        dropout: float = 0.0,
    ) -> None:
        """Make both branches.

        Args:
            width: numbers a token.
            heads: attentions side by side.
            inner: width inside the feed-forward block.
            activation: of that, by its published name.
            epsilon: added to the variance in a norm.
            dropout: of attention weights, and of what each branch adds.
        """
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, dropout=dropout)
        self.norm_attention = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = FeedForward(width, inner, activation=activation)
        self.norm_feed_forward = nn.LayerNorm(width, eps=epsilon)
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Stream,
        bias: Bias | None = None,
        *,
        causal: bool = False,
        cache: KeyValueCache | None = None,
        layer: int = 0,
        maps: list[Map] | None = None,
    ) -> Stream:
        """The stream after this block; arguments as of `MultiHeadAttention`."""
        y = self.attention(x, bias=bias, causal=causal, cache=cache, layer=layer, maps=maps)
        x = self.norm_attention(x + self.drop(y))
        return self.norm_feed_forward(x + self.drop(self.feed_forward(x)))


class PostNormDecoderBlock(nn.Module):
    """A `PostNormBlock` with attention to a source in between; causal unless told otherwise."""

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        *,
        layer: int,
        activation: str = "relu",
        epsilon: float = 1e-5,
        dropout: float = 0.0,
    ) -> None:
        """Make the three branches.

        Args:
            width: numbers a token.
            heads: attentions side by side.
            inner: width inside the feed-forward block.
            layer: which pair of a cache is this block's.
            activation: of the feed-forward block, by its published name.
            epsilon: added to the variance in a norm.
            dropout: of attention weights, and of what each branch adds.
        """
        super().__init__()
        self.layer = layer
        self.attention = MultiHeadAttention(width, heads, dropout=dropout)
        self.norm_attention = nn.LayerNorm(width, eps=epsilon)
        self.across = MultiHeadAttention(width, heads, dropout=dropout)
        self.norm_across = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = FeedForward(width, inner, activation=activation)
        self.norm_feed_forward = nn.LayerNorm(width, eps=epsilon)
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Stream,
        source: Source,
        bias: Bias | None,
        own: KeyValueCache | None = None,
        across: KeyValueCache | None = None,
        maps: list[Map] | None = None,
        *,
        own_bias: Bias | None = None,
        causal: bool = True,
    ) -> Stream:
        """The stream after this block.

        Args:
            x: the target.
            source: what the encoder made.
            bias: added to the scores of the source.
            own: cache of the target.
            across: cache of the source.
            maps: takes the weights of the attention to the source.
            own_bias: added to the scores of the target.
            causal: a token of the target sees those up to itself.
        """
        y = self.attention(x, causal=causal, bias=own_bias, cache=own, layer=self.layer)
        x = self.norm_attention(x + self.drop(y))
        y = self.across(x, source, bias=bias, cache=across, layer=self.layer, maps=maps)
        x = self.norm_across(x + self.drop(y))
        return self.norm_feed_forward(x + self.drop(self.feed_forward(x)))
