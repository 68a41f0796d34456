"""Mask-predict: a translation written all at once, then its least certain words again.

The decoder sees both sides. It is given a target of masks only, as long as the length it foretold,
and fills it in one pass; each further pass hides the words it was least sure of and fills those
again. One pass is fully parallel decoding: each word is chosen without knowing the others, so that
where two translations are as likely, halves of both get mixed and words are repeated.

Source: Ghazvininejad et al. 2019, "Mask-Predict: Parallel Decoding of Conditional Masked Language
Models", arXiv:1904.09324, sections 2 and 3; Gu et al. 2018, "Non-Autoregressive Neural Machine
Translation", arXiv:1711.02281, section 2.2, for one pass and the trouble with it.
Differs from the papers: the length is told from the mean of what the encoder made, in place of a
token of its own; one length is tried; no distillation.

Symbols: s tokens of the source, t of the target, T passes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from orrery.catalog import System
from orrery.nn.attention import padding_bias
from orrery.nn.post_norm import PostNormBlock, PostNormDecoderBlock
from orrery.nn.sinusoidal import sinusoids
from orrery.systems.language.transformer import TransformerConfig

SYSTEM = System(
    stem="nar_decoding", area="language", title="Non-autoregressive decoding (mask-predict)",
    year=2019, papers=("arXiv:1904.09324", "arXiv:1711.02281"), builds_on=("transformer",),
    realises=("nar-decoding",),
)  # fmt: skip

SourceTokens = Int[Tensor, "b s"]
Tokens = Int[Tensor, "b t"]
Read = Float[Tensor, "b s d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskPredictConfig:
    """What a Transformer's sizes leave open."""

    sizes: TransformerConfig
    mask: int
    """The token that hides."""
    longest: int = 64
    """Most tokens of a target."""

    def __post_init__(self) -> None:
        if not 0 <= self.mask < self.sizes.vocab or self.mask == self.sizes.padding:
            raise ValueError(
                f"mask must be a token and not padding={self.sizes.padding}, got {self.mask}"
            )
        if self.longest < 1:
            raise ValueError(f"longest must be at least 1, got {self.longest}")


class MaskPredict(nn.Module):
    """A conditional masked language model."""

    def __init__(self, config: MaskPredictConfig) -> None:
        super().__init__()
        self.config, c = config, config.sizes
        self.embed = nn.Embedding(c.vocab, c.width)
        self.encoder = nn.ModuleList(
            PostNormBlock(c.width, c.heads, c.inner, dropout=c.dropout) for _ in range(c.depth)
        )
        self.decoder = nn.ModuleList(
            PostNormDecoderBlock(c.width, c.heads, c.inner, layer=layer, dropout=c.dropout)
            for layer in range(c.depth)
        )
        self.length = nn.Linear(c.width, config.longest + 1)
        nn.init.normal_(self.embed.weight, std=c.width**-0.5)

    def embedded(self, tokens: SourceTokens) -> Read:
        """Embeddings and places."""
        width = self.config.sizes.width
        x = self.embed(tokens) * width**0.5
        return x + sinusoids(tokens.shape[1], width).to(x)

    def encode(self, source: SourceTokens) -> Read:
        """A vector for each token of the source; padding is not looked at."""
        x = self.embedded(source)
        bias = padding_bias(source != self.config.sizes.padding, x)
        for block in self.encoder:
            x = block(x, bias)
        return x

    def lengths(self, source: SourceTokens, memory: Read) -> Float[Tensor, "b n"]:
        """Scores of each length of the target, from 0 to the longest."""
        seen = (source != self.config.sizes.padding)[..., None].to(memory.dtype)
        return self.length((memory * seen).sum(dim=1) / seen.sum(dim=1))

    def decode(self, target: Tokens, memory: Read, source: SourceTokens) -> Float[Tensor, "b t v"]:
        """Scores of what stands at each place of the target; padding is not looked at."""
        padding = self.config.sizes.padding
        x = self.embedded(target)
        own = padding_bias(target != padding, x)
        bias = padding_bias(source != padding, x)
        for block in self.decoder:
            x = block(x, memory, bias, own_bias=own, causal=False)
        logits = F.linear(x, self.embed.weight)
        never = torch.tensor([self.config.mask, padding], device=logits.device)
        return logits.index_fill(-1, never, -torch.inf)

    def loss(self, source: SourceTokens, target: Tokens, generator: Generator) -> Float[Tensor, ""]:
        """Cross-entropy of the length and of hidden words; of each target 1 to all are hidden."""
        memory, real = self.encode(source), target != self.config.sizes.padding
        count = real.sum(dim=1)
        hidden = some_of(real, generator)
        logits = self.decode(target.masked_fill(hidden, self.config.mask), memory, source)
        words = F.cross_entropy(logits[hidden].float(), target[hidden])
        return words + F.cross_entropy(self.lengths(source, memory).float(), count)

    @torch.no_grad()
    def generate(
        self, source: SourceTokens, passes: int, lengths: Int[Tensor, " b"] | None = None
    ) -> Tokens:
        """Targets, padded behind.

        Args:
            source: what is translated.
            passes: T; 1 is fully parallel decoding.
            lengths: of the targets; foretold if not given.

        Raises:
            ValueError: passes is below 1.
        """
        if passes < 1:
            raise ValueError(f"passes must be at least 1, got {passes}")
        memory, padding = self.encode(source), self.config.sizes.padding
        if lengths is None:
            lengths = self.lengths(source, memory)[:, 1:].argmax(dim=1) + 1
        real = torch.arange(int(lengths.max()), device=source.device) < lengths[:, None]
        hidden, tokens = real, torch.full_like(real, padding, dtype=source.dtype)
        trust = torch.zeros(real.shape, dtype=memory.dtype, device=source.device)
        for step in range(passes):
            given = tokens.masked_fill(hidden, self.config.mask)
            chances, chosen = self.decode(given, memory, source).softmax(dim=-1).max(dim=-1)
            tokens = torch.where(hidden, chosen, tokens)
            trust = torch.where(hidden, chances, trust)
            again = lengths * (passes - step - 1) // passes
            order = trust.masked_fill(~real, torch.inf).argsort(dim=1).argsort(dim=1)
            hidden = real & (order < again[:, None])
        return tokens


def some_of(real: Bool[Tensor, "b t"], generator: Generator) -> Bool[Tensor, "b t"]:
    """Of each row's places a number from 1 to all, every number as likely, drawn at random."""
    count = real.sum(dim=1)
    share = torch.rand(len(real), generator=generator).to(real.device)
    number = (share * count).long() + 1
    drawn = torch.rand(real.shape, generator=generator).to(real.device)
    order = drawn.masked_fill(~real, torch.inf).argsort(dim=1).argsort(dim=1)
    return real & (order < number[:, None])


def repetitions(tokens: Tokens, padding: int) -> float:
    """Of all tokens that follow another, the share that says the same again."""
    real = (tokens[:, 1:] != padding) & (tokens[:, :-1] != padding)
    same = (tokens[:, 1:] == tokens[:, :-1]) & real
    return float(same.sum() / real.sum().clamp(min=1))
