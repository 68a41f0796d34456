"""GPT: a stack of causal attention and feed-forward blocks that predicts the next token.

Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", for
the decoder; Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section
2.3, for the norm before each branch, the norm after the last block, and the residual branches'
initialisation by 1/sqrt(2 depth). The size and the recipe are those of nanoGPT's
character model.
Differs from the papers: no biases unless asked for; `positions="none"` leaves the embeddings of
positions out; the tokens are whatever the caller numbers, here characters.

Symbols: x the residual stream; q, k, v the queries, keys and values of a head.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.inference.causal_lm import next_token_loss
from orrery.nn.attention import attention, attention_weights
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.stacked import StackedLinear

SYSTEM = System(
    stem="gpt", area="language", title="GPT (nanoGPT's shape)", year=2019,
    papers=("Radford et al. 2018", "Radford et al. 2019"), builds_on=(),
    realises=("nanogpt", "causal-mask"),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Stream = Float[Tensor, "b t d"]
Logits = Float[Tensor, "b t v"]
L = TypeVar("L", nn.Linear, nn.Embedding, StackedLinear)
Map = Float[Tensor, "b h t s"]  # rows sum to 1: what position t takes from position s


@dataclass(frozen=True, kw_only=True, slots=True)
class GptConfig:
    """Sizes; the defaults are nanoGPT's character model, about ten million parameters."""

    vocab: int = 96
    context: int = 256
    """Longest sequence it can be given, in tokens."""
    depth: int = 6
    heads: int = 6
    width: int = 384
    dropout: float = 0.0
    bias: bool = False
    positions: Literal["learned", "none"] = "learned"

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "depth", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads={self.heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.positions not in ("learned", "none"):
            raise ValueError(f"positions must be 'learned' or 'none', got {self.positions!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GptOutput:
    """What the model thinks of a batch."""

    logits: Logits
    """For each position, scores of the token that comes next."""
    maps: tuple[Map, ...] = ()
    """One a layer, when asked for."""


class GptAttention(nn.Module):
    """Every position gathers, head by head, from the positions up to its own."""

    def __init__(self, config: GptConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.dropout, self.layer = config.heads, config.dropout, layer
        self.qkv = _initialised(StackedLinear(config.width, config.width, 3, bias=config.bias))
        self.out = _last(config, config.width)

    def forward(
        self, x: Stream, cache: KeyValueCache | None = None, maps: list[Map] | None = None
    ) -> Stream:
        """What the attention branch adds to the stream; extends `cache` and `maps` if given."""
        # One product gives all queries, keys and values: [b, t, 3 d] -> three of [b, h, t, k].
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        if maps is not None:
            maps.append(attention_weights(q, k, causal=True))
        y = attention(q, k, v, causal=True, dropout=self.dropout if self.training else 0.0)
        return self.out(y.transpose(1, 2).flatten(-2))


class GptFeedForward(nn.Module):
    """Each position by itself: out to four times the width and back."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.up = _initialised(nn.Linear(config.width, 4 * config.width, bias=config.bias))
        self.down = _last(config, 4 * config.width)

    def forward(self, x: Stream) -> Stream:
        """What the feed-forward branch adds to the stream."""
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class GptBlock(nn.Module):
    """Two branches, each normalised before and added to the stream after."""

    def __init__(self, config: GptConfig, layer: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(config.width, bias=config.bias)
        self.attention = GptAttention(config, layer)
        self.norm_feed_forward = nn.LayerNorm(config.width, bias=config.bias)
        self.feed_forward = GptFeedForward(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self, x: Stream, cache: KeyValueCache | None = None, maps: list[Map] | None = None
    ) -> Stream:
        """The stream after this block."""
        x = x + self.drop(self.attention(self.norm_attention(x), cache, maps))
        return x + self.drop(self.feed_forward(self.norm_feed_forward(x)))


class Gpt(nn.Module):
    """A causal language model; one table of embeddings reads tokens in and scores them out."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = _initialised(nn.Embedding(config.vocab, config.width))
        place = _initialised(nn.Embedding(config.context, config.width))
        self.place = place if config.positions == "learned" else None
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(GptBlock(config, layer) for layer in range(config.depth))
        self.norm = nn.LayerNorm(config.width, bias=config.bias)

    def forward(
        self, tokens: Tokens, *, cache: KeyValueCache | None = None, maps: bool = False
    ) -> GptOutput:
        """Scores of the next token at every position of `tokens`.

        Args:
            tokens: the sequence; with a cache, only what the cache has not seen.
            cache: extended in place.
            maps: also give the attention weights of every layer.

        Raises:
            ValueError: the sequence, cache included, is longer than the context.
        """
        seen = len(cache) if cache is not None else 0
        t = tokens.shape[1]
        if seen + t > self.config.context:
            raise ValueError(
                f"tokens must be at most context={self.config.context} long, got {seen + t}"
            )
        x = self.embed(tokens)
        if self.place is not None:
            x = x + self.place.weight[seen : seen + t]
        x = self.drop(x)
        kept: list[Map] | None = [] if maps else None
        for block in self.blocks:
            x = block(x, cache, kept)
        logits = F.linear(self.norm(x), self.embed.weight)
        return GptOutput(logits=logits, maps=tuple(kept or ()))

    def log_probabilities(self, tokens: Tokens) -> Logits:
        """Of the next token, at every position, in nats: the interface of `autoregressive`."""
        return self(tokens).logits.log_softmax(dim=-1)

    def loss(self, tokens: Tokens, targets: Tokens) -> Float[Tensor, ""]:
        """Mean cross-entropy of the next token, in nats; `targets` is `tokens` one step on."""
        return next_token_loss(self(tokens).logits, targets)

    @torch.no_grad()
    def generate(
        self,
        prompt: Tokens,
        length: int,
        *,
        generator: torch.Generator,
        temperature: float = 1.0,
    ) -> Int[Tensor, "b u"]:
        """The prompt and `length` sampled tokens after it.

        When the window is full it starts again from its second half, because a learned position
        cannot be shifted: so a token costs one step of the cache, and now and then half a window.

        Args:
            prompt: at least one token a row.
            length: how many tokens to add.
            generator: the source of chance.
            temperature: divides the scores; 0 takes the likeliest token.
        """
        tokens, context = prompt, self.config.context
        cache, fresh = KeyValueCache(), prompt[:, -context:]
        for _ in range(length):
            if len(cache) + fresh.shape[1] > context:
                cache, fresh = KeyValueCache(), tokens[:, -max(1, context // 2) :]
            logits = self(fresh, cache=cache).logits[:, -1]
            if temperature == 0:
                fresh = logits.argmax(dim=-1, keepdim=True)
            else:
                chances = (logits / temperature).softmax(dim=-1)
                fresh = torch.multinomial(chances, 1, generator=generator)
            tokens = torch.cat([tokens, fresh], dim=1)
        return tokens


def _last(config: GptConfig, inputs: int) -> nn.Linear:
    """The last layer of a branch: it starts smaller, for the stream is the sum of all branches."""
    linear = nn.Linear(inputs, config.width, bias=config.bias)
    return _initialised(linear, std=0.02 * (2 * config.depth) ** -0.5)


def _initialised(layer: L, std: float = 0.02) -> L:
    nn.init.normal_(layer.weight, std=std)
    if isinstance(layer, nn.Linear) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
