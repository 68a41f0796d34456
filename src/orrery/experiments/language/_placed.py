"""A causal Transformer that is told where its tokens stand in one of several ways, or not at all.

Blocks are Llama's whatever the way, so that two models differ in nothing else. Rotary positions
turn queries and keys; sinusoids and learned vectors are added to the embeddings, with turns of no
angle in the blocks; linear biases (Press et al. 2022, "Train Short, Test Long", arXiv:2108.12409,
section 3) are added to the scores: minus the distance times a slope of each head's own.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from orrery.lab import Lab, Measured
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.nn.post_norm import PostNormBlock
from orrery.nn.rms_norm import RmsNorm
from orrery.nn.rotary import Turns
from orrery.nn.sinusoidal import shift, sinusoids
from orrery.systems.language.llama import LlamaBlock, LlamaConfig
from orrery.systems.language.rope_scaling import Rope

Way = Literal["sinusoidal", "learned", "rotary", "linear bias", "none"]
WAYS: tuple[Way, ...] = ("sinusoidal", "learned", "rotary", "linear bias", "none")
AMPLITUDE = 0.25
"""Of sinusoids: the best of 0.03, 0.25 and 1 on the half of the held-out plays that is not judged;
embeddings start at 0.02, but training makes them larger."""


class PlacedDecoder(nn.Module):
    """Tokens in, log chances of the next ones out."""

    def __init__(self, config: LlamaConfig, way: Way, *, places: int) -> None:
        """Make the layers.

        Args:
            config: sizes; its context is the length of the texts it is trained on.
            way: how it is told.
            places: rows of a learned table.
        """
        super().__init__()
        self.config, self.way, self.rope = config, way, Rope()
        self.embed = nn.Embedding(config.vocab, config.width)
        self.place = nn.Embedding(places, config.width) if way == "learned" else None
        self.blocks = nn.ModuleList(LlamaBlock(config, layer) for layer in range(config.depth))
        self.norm = RmsNorm(config.width, epsilon=config.epsilon)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Of the next token at every position, in nats."""
        x, t = self.embed(tokens), tokens.shape[1]
        if self.place is not None:
            x = x + self.place.weight[:t]
        if self.way == "sinusoidal":
            x = x + AMPLITUDE * sinusoids(t, self.config.width).to(x)
        turns, bias = self.turns(t, x), self.bias(t, x)
        for block in self.blocks:
            x = block(x, turns, bias, None, None, None)
        return F.linear(self.norm(x), self.embed.weight).log_softmax(dim=-1)

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """The interface of `autoregressive`."""
        return self(tokens)

    def turns(self, t: int, like: Tensor) -> Turns:
        """Cosines and sines of every place."""
        places = torch.arange(t, device=like.device)
        cos, sin = self.rope.tables(places, self.config.size, self.config.context)
        if self.way != "rotary":
            cos, sin = torch.ones_like(cos), torch.zeros_like(sin)
        return cos.to(like.dtype), sin.to(like.dtype)

    def bias(self, t: int, like: Tensor) -> Tensor | None:
        """Minus the distance times 2^(-8 i / heads), i from 1 on."""
        if self.way != "linear bias":
            return None
        heads = torch.arange(1, self.config.heads + 1, device=like.device)
        places = torch.arange(t, device=like.device)
        distance = (places[:, None] - places).clamp(min=0)
        return -(2 ** (-8 * heads / self.config.heads))[None, :, None, None] * distance.to(like)


@torch.no_grad()
def geometry(width: int, heads: int, lab: Lab) -> Measured:
    """What needs no training.

    The largest difference of PE(pos + k) from PE(pos) turned by k's angles, over many of both; and
    by how much shuffling its tokens changes an encoder's output beyond shuffling that too, with
    and without sinusoids.

    Args:
        width: numbers a token.
        heads: attentions side by side.
        lab: draws the encoder, the tokens and their order.
    """
    first = sinusoids(64, width)
    apart = [sinusoids(64, width, start=k) - shift(first, k) for k in (1, 7, 64, 1000)]
    torch.manual_seed(lab.rng("encoder").initial_seed())
    blocks = [PostNormBlock(width, heads, 2 * width).double() for _ in range(2)]
    tokens = torch.randn(4, 32, width, generator=lab.rng("tokens"), dtype=torch.float64)
    order = torch.randperm(32, generator=lab.rng("order"))

    def encoded(x: Tensor) -> Tensor:
        for block in blocks:
            x = block(x)
        return x

    found = {"rotation error": max(float(part.abs().max()) for part in apart)}
    for name, places in (("none", torch.zeros(32, width)), ("sinusoidal", sinusoids(32, width))):
        shuffled, plain = encoded(tokens[:, order] + places), encoded(tokens + places)
        found[f"unordered/{name}"] = float((shuffled - plain[:, order]).abs().max())
    return found


def pictured(results: Sequence[Measured], lengths: Sequence[int]) -> Figure:
    """The loss by the length of the windows, for every way; the first length is the trained one."""
    figure, (axis,) = new_figure(6.8, 3.6)
    times = [length // lengths[0] for length in lengths]
    for colour, way in zip(COLOURS, WAYS, strict=False):
        mean, half = over_seeds(results, [f"{way}/{k}" for k in times])
        axis.errorbar(lengths, mean, half, fmt=".-", color=colour, label=way)
    for style, name in ((".:", "dynamic"), (".--", "interpolated")):
        mean, half = over_seeds(results, ["rotary/1", *(f"{name}/{k}" for k in times[1:])])
        axis.errorbar(lengths, mean, half, fmt=style, color=COLOURS[2], label=f"rotary, {name}")
    axis.set(title="The same characters at the end of longer windows",
             xlabel="characters in a window", ylabel="nats a character")  # fmt: skip
    axis.set_xticks(lengths, [str(length) for length in lengths])
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
