"""Pointers to follow, values to carry and to add, and a net of which parts can be missing."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from orrery.nn.feed_forward import FeedForward
from orrery.nn.multi_head import MultiHeadAttention

PLACES = 8
"""Tokens of a sequence; a token points at one of them, and a value is one of as many."""
PARTS = frozenset({"exchange", "local", "residual"})
Examples = tuple[Tensor, Tensor]
"""Symbols by lane and token [b l t], and for each token what is asked of it [b t q]."""
Draw = Callable[[int, int, Generator], Examples]


def pointers(batch: int, generator: Generator) -> Tensor:
    """One token to point at for each token, all different."""
    chances = torch.rand(batch, PLACES, generator=generator, device=generator.device)
    return chances.argsort(1)


def composed(batch: int, hops: int, generator: Generator) -> Examples:
    """Where two pointers in a row lead, three, and so on up to `hops`."""
    first = pointers(batch, generator)
    led = [first]
    for _ in range(hops - 1):
        led.append(first.gather(1, led[-1]))
    return first[:, None], torch.stack(led[1:], -1)


def rich(batch: int, values: int, generator: Generator) -> Examples:
    """All the values of the token that is pointed at."""
    to, held = pointers(batch, generator), symbols(batch, values, generator)
    there = held.gather(2, to[:, None].expand_as(held))
    return torch.cat([to[:, None], held], 1), there.mT


def combined(batch: int, values: int, generator: Generator) -> Examples:
    """For each value, its sum with that of the token pointed at, modulo their number."""
    shown, there = rich(batch, values, generator)
    return shown, (shown[:, 1:].mT + there) % PLACES


def symbols(batch: int, lanes: int, generator: Generator) -> Tensor:
    """Random symbols [b l t]."""
    shape = (batch, lanes, PLACES)
    return torch.randint(PLACES, shape, generator=generator, device=generator.device)


class LesionedLayer(nn.Module):
    """A Transformer's layer, norms first, of which parts may be missing."""

    def __init__(self, width: int, parts: frozenset[str]) -> None:
        super().__init__()
        self.stream = 1.0 if "residual" in parts else 0.0
        self.parts = nn.ModuleList()
        if "exchange" in parts:
            self.parts.append(nn.Sequential(nn.LayerNorm(width), MultiHeadAttention(width, 2)))
        if "local" in parts:
            self.parts.append(nn.Sequential(nn.LayerNorm(width), FeedForward(width)))

    def forward(self, x: Tensor) -> Tensor:
        """The stream after this layer."""
        for part in self.parts:
            x = self.stream * x + part(x)
        return x


class PointerNet(nn.Module):
    """Lanes of symbols and a place make a token; layers; for each question, scores of symbols."""

    def __init__(
        self, lanes: int, questions: int, width: int, depth: int, parts: frozenset[str] = PARTS
    ) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Embedding(PLACES, width) for _ in range(lanes))
        self.place = nn.Parameter(torch.randn(PLACES, width) / 2)
        self.layers = nn.Sequential(*(LesionedLayer(width, parts) for _ in range(depth)))
        self.tell = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, questions * PLACES))

    def forward(self, shown: Tensor) -> Tensor:
        """Scores [b t q symbols]."""
        lanes = zip(self.embed, shown.unbind(1), strict=True)
        x = self.place + torch.stack([embed(lane) for embed, lane in lanes]).sum(0)
        return self.tell(self.layers(x)).unflatten(-1, (-1, PLACES))
