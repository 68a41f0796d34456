"""A language model on long short-term memory: a state that is carried, not looked back at.

Source: Gers, Schmidhuber and Cummins 2000, "Learning to Forget: Continual Prediction with LSTM",
Neural Computation 12(10), for the cell with its three gates (Hochreiter and Schmidhuber 1997 had
no forget gate).
Differs from the paper: no peepholes; the forget gate's bias starts at 1, so that a new
cell remembers; the table of embeddings also scores the output.

Symbols: x the input, h the output and c the cell state of one step; the equations of the cell
stand in `lstm.py`.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orrery.catalog import System
from orrery.nn.stacked import StackedLinear
from orrery.systems.language.lstm import LstmState, lstm_cell

SYSTEM = System(
    stem="lstm_lm", area="language", title="LSTM language model", year=2000,
    papers=("Gers et al. 2000", "Hochreiter and Schmidhuber 1997"), builds_on=("lstm",),
    realises=(),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Sequence = Float[Tensor, "b t d"]
Step = Float[Tensor, "b d"]
Logits = Float[Tensor, "b t v"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LstmLmConfig:
    """Sizes of the network."""

    vocab: int = 96
    width: int = 512
    depth: int = 2

    def __post_init__(self) -> None:
        for name in ("vocab", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def of_size(parameters: int, *, vocab: int, depth: int = 1) -> LstmLmConfig:
    """The config whose model has `parameters` parameters, or just fewer.

    A layer of width w has 4 w (2 w + 1), the table of embeddings vocab w.
    """
    b = vocab + 4 * depth
    width = (math.sqrt(b * b + 32 * depth * parameters) - b) / (16 * depth)
    return LstmLmConfig(vocab=vocab, width=int(width), depth=depth)


@dataclass(frozen=True, kw_only=True, slots=True)
class LstmLmOutput:
    """What the model thinks of a batch, and where it stands after it."""

    logits: Logits
    states: tuple[LstmState, ...]
    """One a layer; given back to the model, the text goes on."""


class LstmLayer(nn.Module):
    """One layer: gates from the input and the last output, a cell that adds and forgets."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = StackedLinear(width, width, 4)
        self.recurrent = StackedLinear(width, width, 4, bias=False)
        with torch.no_grad():
            self.input.bias[width : 2 * width] = 1.0

    def forward(self, x: Sequence, state: LstmState) -> tuple[Sequence, LstmState]:
        """`step` over the whole sequence by torch's fused kernel: the same numbers, sooner."""
        bias = self.input.bias
        weights = [self.input.weight, self.recurrent.weight, bias, torch.zeros_like(bias)]
        y, h, c = torch.lstm(
            x, (state.h[None], state.c[None]), weights,
            has_biases=True, num_layers=1, dropout=0.0, train=self.training,
            bidirectional=False, batch_first=True,
        )  # fmt: skip
        return y, LstmState(h=h[0], c=c[0])

    def step(self, x: Step, state: LstmState) -> LstmState:
        """One step of the cell."""
        return lstm_cell(self.input(x) + self.recurrent(state.h), state.c)


class LstmLm(nn.Module):
    """A stack of layers between one table of embeddings, read on the way in and on the way out."""

    def __init__(self, config: LstmLmConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        nn.init.normal_(self.embed.weight, std=config.width**-0.5)
        self.layers = nn.ModuleList(LstmLayer(config.width) for _ in range(config.depth))

    def start(self, batch: int) -> tuple[LstmState, ...]:
        """Before the first token: zeros."""
        zero = self.embed.weight.new_zeros(batch, self.config.width)
        return (LstmState(h=zero, c=zero),) * self.config.depth

    def forward(self, tokens: Tokens, states: tuple[LstmState, ...] | None = None) -> LstmLmOutput:
        """Scores of the next token at every position, from `states` or from the start."""
        before = states or self.start(tokens.shape[0])
        x, after = self.embed(tokens), []
        for layer, state in zip(self.layers, before, strict=True):
            x, state = layer(x, state)
            after.append(state)
        return LstmLmOutput(logits=F.linear(x, self.embed.weight), states=tuple(after))

    def log_probabilities(self, tokens: Tokens) -> Logits:
        """Of the next token, at every position, in nats: the interface of `autoregressive`."""
        return self(tokens).logits.log_softmax(dim=-1)

    def loss(self, tokens: Tokens, targets: Tokens) -> Float[Tensor, ""]:
        """Mean cross-entropy of the next token, in nats; `targets` is `tokens` one step on."""
        return F.cross_entropy(self(tokens).logits.flatten(0, 1), targets.flatten())
