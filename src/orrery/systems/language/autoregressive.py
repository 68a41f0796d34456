"""Autoregressive language models: the chance of a text is the product of its next-token chances.

Source: Shannon 1948, "A Mathematical Theory of Communication", section 3 (texts drawn symbol by
symbol from the symbols before); Shannon 1951, "Prediction and Entropy of Printed English" (how
well the next letter can be predicted).
Differs from the papers: the model may be anything that gives log p(next | before): counts, a
recurrent network or a Transformer.

log p(x) = sum over t of log p(x_t | x_1 .. x_(t-1)), so one interface is enough to score a text,
to draw one, and to say at which positions a model is good.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="autoregressive", area="language", title="Autoregressive language model", year=1951,
    papers=("Shannon 1948", "Shannon 1951"), builds_on=(), realises=("autoregressive-lm",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
Nats = Float[Tensor, "b u"]  # one loss a predicted token: the first token of a row has none


@runtime_checkable
class Autoregressive(Protocol):
    """Anything that predicts the next token from those before."""

    def log_probabilities(self, tokens: Tokens) -> Float[Tensor, "b t v"]:
        """At position t: log p(any next token | tokens up to and with t), in nats."""
        ...


@torch.no_grad()
def surprise(model: Autoregressive, tokens: Tokens) -> Nats:
    """-log p(x_t | before) of every token but the first of each row, in nats."""
    chances = model.log_probabilities(tokens[:, :-1])
    return -chances.gather(-1, tokens[:, 1:, None]).squeeze(-1)


def perplexity(model: Autoregressive, tokens: Tokens) -> float:
    """Exp of the mean surprise: as unsure as a fair choice among this many tokens."""
    return float(surprise(model, tokens).double().mean().exp())


def loss_by_position(model: Autoregressive, tokens: Tokens) -> Float[Tensor, " u"]:
    """Mean surprise at each position: how much a longer past helps."""
    return surprise(model, tokens).mean(dim=0)


@torch.no_grad()
def sample(
    model: Autoregressive, prompt: Tokens, length: int, *, generator: torch.Generator
) -> Int[Tensor, "b u"]:
    """The prompt and `length` tokens drawn one after another, each from all before it.

    The whole past is read again for every token; a model with a cache has a faster way.
    """
    tokens = prompt
    for _ in range(length):
        chances = model.log_probabilities(tokens)[:, -1].exp()
        tokens = torch.cat([tokens, torch.multinomial(chances, 1, generator=generator)], dim=1)
    return tokens
