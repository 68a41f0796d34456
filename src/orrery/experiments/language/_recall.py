"""Tasks that need a memory of a given length, and how far a gradient reaches into the past."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from orrery.nn.recurrent import Recurrent, RecurrentConfig
from orrery.systems.language.gru import Gru, GruConfig
from orrery.systems.language.lstm import Lstm
from orrery.systems.language.rnn import Rnn

GUESSING = 1 / 6  # the variance of a sum of two uniform numbers: the error of always saying 1
CLOSED = -200.0  # of a gate's bias: the gate is 0 to the last bit, and so is its gradient


class Reader(nn.Module):
    """A recurrent network, and a number read off its last output."""

    def __init__(self, network: Recurrent) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Linear(network.config.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number for each sequence."""
        return self.head(self.network(x).outputs[:, -1])[:, 0]


def reader(arm: str, width: int, *, highway: bool = True) -> Reader:
    """A network by its name; an LSTM without a highway has a forget gate that is shut for good."""
    sizes = RecurrentConfig(inputs=2, width=width)
    match arm:
        case "rnn":
            return Reader(Rnn(sizes))
        case "gru":
            return Reader(Gru(GruConfig(inputs=2, width=width)))
    lstm = Lstm(sizes, forget=arm != "lstm_1997")
    if not highway:
        start, lstm = lstm.weights(0).input_bias[:width], Lstm(sizes)
        with torch.no_grad():
            lstm.weights(0).input_bias[:width] = start
            lstm.weights(0).input_bias[width : 2 * width] = CLOSED
    return Reader(lstm)


def adding(length: int, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """The adding problem (Hochreiter and Schmidhuber 1997): the sum of the two marked numbers.

    One of the first tenth is marked, and one of the second half: inputs are a number and a mark.
    """
    numbers = torch.rand(batch, length, generator=generator)
    first = torch.randint(max(1, length // 10), (batch, 1), generator=generator)
    second = length // 2 + torch.randint(length - length // 2, (batch, 1), generator=generator)
    marks = torch.zeros(batch, length).scatter(1, torch.cat([first, second], dim=1), 1.0)
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(dim=1)


def copying(
    length: int, batch: int, symbols: int, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Lists to read, to begin from and to write: the same list, symbols from 2 up, 1 the start."""
    read = 2 + torch.randint(symbols, (batch, length), generator=generator)
    start = torch.ones(batch, 1, dtype=torch.int64)
    return read, torch.cat([start, read[:, :-1]], dim=1), read


def reach(model: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The gradient by the first marked number over that by the second, at the median.

    1 where the network listens to both alike, 0 where the first is out of reach.
    """
    numbers = x[..., :1].clone().requires_grad_()
    said = model(torch.cat([numbers, x[..., 1:]], dim=-1))
    (gradient,) = torch.autograd.grad(said.sum(), numbers)
    marked = gradient[..., 0].abs()[x[..., 1] > 0].reshape(len(x), 2)
    return float((marked[:, 0] / marked[:, 1].clamp(min=1e-12)).median())
