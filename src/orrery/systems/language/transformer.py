"""The Transformer of 2017: an encoder and a decoder made of attention, with nothing recurrent.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, sections 3 and 5:
post-norm (3.1), shared embeddings scaled by sqrt(d) (3.4), sinusoidal positions (3.5), the schedule
of equation 3, label smoothing (5.4).
Differs from the paper: linear layers start as PyTorch's Xavier-uniform, the embeddings normal with
1/sqrt(d); the paper does not say how they start.

Symbols: source the text that is read, target the text that is written, d the width.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.inference.decoding import Decoding
from orrery.inference.generation import SourceState, write
from orrery.nn.attention import padding_bias
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import Map
from orrery.nn.outputs import LanguageModelOutput
from orrery.nn.post_norm import PostNormBlock, PostNormDecoderBlock
from orrery.nn.sinusoidal import sinusoids

SYSTEM = System(
    stem="transformer", area="language", title="Transformer (encoder-decoder)", year=2017,
    papers=("arXiv:1706.03762",), builds_on=(), realises=("transformer",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
SourceTokens = Int[Tensor, "b s"]
Stream = Float[Tensor, "b t d"]
Read = Float[Tensor, "b s d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Sizes; the defaults are the paper's base model, with a joint vocabulary of 37,000."""

    vocab: int = 37_000
    depth: int = 6
    """Layers of the encoder, and as many of the decoder."""
    heads: int = 8
    width: int = 512
    inner: int = 2048
    """Width inside a feed-forward block."""
    dropout: float = 0.1
    smoothing: float = 0.1
    """Share of the target's probability that is spread over all tokens."""
    padding: int = 0
    """The token that fills up a batch."""

    def __post_init__(self) -> None:
        for name in ("vocab", "depth", "heads", "width", "inner"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads or self.width % 2:
            raise ValueError(
                f"width must be even and a multiple of heads={self.heads}, got {self.width}"
            )
        for name in ("dropout", "smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")


class Transformer(nn.Module):
    """Reads a source, writes a target; one table embeds both and scores the output."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.encoder = nn.ModuleList(
            PostNormBlock(config.width, config.heads, config.inner, dropout=config.dropout)
            for _ in range(config.depth)
        )
        self.decoder = nn.ModuleList(
            PostNormDecoderBlock(
                config.width, config.heads, config.inner, layer=layer, dropout=config.dropout
            )
            for layer in range(config.depth)
        )
        self.drop = nn.Dropout(config.dropout)
        nn.init.normal_(self.embed.weight, std=config.width**-0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def embedded(self, tokens: Tokens, start: int = 0) -> Stream:
        """Embeddings times sqrt(d), plus the waves of their places from `start` on."""
        x = self.embed(tokens) * self.config.width**0.5
        places = sinusoids(tokens.shape[1], self.config.width, start=start)
        return self.drop(x + places.to(x))

    def encode(self, source: SourceTokens, seen: SourceTokens | None = None) -> Read:
        """A vector for each token of the source; padding (0 in `seen`) is not looked at."""
        x = self.embedded(source)
        bias = None if seen is None else padding_bias(seen, x)
        for layer in self.encoder:
            x = layer(x, bias)
        return x

    def decode(
        self,
        target: Tokens,
        memory: Read,
        seen: SourceTokens | None = None,
        *,
        own: KeyValueCache | None = None,
        across: KeyValueCache | None = None,
        maps: list[Map] | None = None,
    ) -> Float[Tensor, "b t v"]:
        """Scores of the next token; with caches, `target` is only what they have not seen."""
        x = self.embedded(target, 0 if own is None else len(own))
        bias = None if seen is None else padding_bias(seen, x)
        for layer in self.decoder:
            x = layer(x, memory, bias, own, across, maps)
        return F.linear(x, self.embed.weight)

    def forward(
        self, source: SourceTokens, target: Tokens, *, maps: bool = False
    ) -> LanguageModelOutput:
        """Scores of the next token of the target at every position; padding is not looked at."""
        seen = (source != self.config.padding).to(source.dtype)
        kept: list[Map] | None = [] if maps else None
        logits = self.decode(target, self.encode(source, seen), seen, maps=kept)
        return LanguageModelOutput(logits=logits, maps=tuple(kept or ()))

    def loss(self, source: SourceTokens, target: Tokens, following: Tokens) -> Float[Tensor, ""]:
        """Mean cross-entropy with smoothed labels, in nats; `following` is `target` one step on."""
        return F.cross_entropy(
            self(source, target).logits.flatten(0, 1), following.flatten(),
            ignore_index=self.config.padding, label_smoothing=self.config.smoothing,
        )  # fmt: skip

    @torch.no_grad()
    def generate(self, source: SourceTokens, start: Tokens, **options: Any) -> Int[Tensor, "_ _"]:
        """Targets that begin with `start`; `options` are those of `Decoding` (beams among them).

        Raises:
            ValueError: an option is out of range.
        """
        seen = (source != self.config.padding).to(source.dtype)

        def step(fresh: Tokens, state: SourceState) -> Float[Tensor, "b v"]:
            return self.decode(fresh, state.source, state.seen, own=state.own, across=state.across)[
                :, -1
            ]

        state = SourceState(source=self.encode(source, seen), seen=seen)
        return write(step, state, start, Decoding(**options))


def noam(step: int, *, width: int, warmup: int = 4_000) -> float:
    """The learning rate of equation 3, at steps counted from 1: up in a line, then as 1/sqrt.

    Raises:
        ValueError: step, width or warmup is below 1.
    """
    for name, value in (("step", step), ("width", width), ("warmup", warmup)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return width**-0.5 * min(step**-0.5, step * warmup**-1.5)
