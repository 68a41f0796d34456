"""Masked diffusion: a text hidden token by token, and a model that brings it back in any order.

Going forward, each token is hidden by time t with probability t, on its own. A model that sees
both sides guesses what is hidden. Its weighted loss bounds the negative log-likelihood; a text is
drawn from nothing but masks in as many steps as one likes, many tokens to a step.

Source: Austin et al. 2021 (D3PM), arXiv:2107.03006, section 3.1 (the absorbing state); Sahoo et
al. 2024 (MDLM), arXiv:2406.07524, equations 8 to 11, for the bound in continuous time; Chang et
al. 2022 (MaskGIT), arXiv:2202.04200, section 3.2, for the order of confidence.
Differs from the papers: the schedule is linear (alpha = 1 - t) and the model is not told the time,
which a mask's share tells by itself.

Symbols: b texts, l tokens, v the vocabulary; t the time from 0 (whole) to 1 (all hidden).
"""

from collections.abc import Callable
from itertools import combinations
from math import comb

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="diffusion_lm", area="language", title="Masked diffusion language model", year=2021,
    papers=("arXiv:2107.03006", "arXiv:2406.07524", "arXiv:2202.04200"), builds_on=(),
    realises=("diffusion-lm",),
)  # fmt: skip

Tokens = Int[Tensor, "b l"]
Hidden = Bool[Tensor, "b l"]
Score = Callable[[Tokens], Float[Tensor, "b l v"]]
"""Scores of what stands at each place of texts with masks; no mask is ever meant."""


def loss(score: Score, tokens: Tokens, mask: int, generator: Generator) -> Float[Tensor, ""]:
    """An estimate of the bound in nats a token, at one time for each text.

    The times are spread evenly, which makes the estimate steadier than times of their own.
    """
    b, _ = tokens.shape
    start = torch.rand(1, generator=generator)
    t = ((start + torch.arange(b) / b) % 1).clamp(min=1e-3)[:, None].to(tokens.device)
    hidden = torch.rand(tokens.shape, generator=generator).to(tokens.device) < t
    return (surprise(score, tokens, hidden, mask) / t).mean()


def surprise(score: Score, tokens: Tokens, hidden: Hidden, mask: int) -> Float[Tensor, "b l"]:
    """Of each hidden token, how unlikely it was held; 0 where nothing is hidden."""
    logits = score(tokens.masked_fill(hidden, mask)).float()
    logits = logits.index_fill(-1, torch.tensor(mask, device=logits.device), -torch.inf)
    found = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
    return found.view_as(tokens) * hidden


@torch.no_grad()
def bound(score: Score, tokens: Tokens, mask: int) -> Float[Tensor, " b"]:
    """The bound in nats, exactly, by going through all ways to hide: for short texts.

    A set of k of l tokens is hidden at time t with probability t^k (1 - t)^(l - k); with the
    weight 1 / t the integral over t is 1 / (k C(l, k)).
    """
    b, length = tokens.shape
    total = torch.zeros(b)
    for k in range(1, length + 1):
        for places in combinations(range(length), k):
            hidden = torch.zeros(b, length, dtype=torch.bool)
            hidden[:, list(places)] = True
            total += surprise(score, tokens, hidden, mask).sum(dim=1) / (k * comb(length, k))
    return total


@torch.no_grad()
def draw(
    score: Score, shape: tuple[int, int], mask: int, steps: int, generator: Generator,
    *, confident: bool = False,
) -> Tokens:  # fmt: skip
    """Texts from nothing but masks.

    Args:
        score: the model.
        shape: texts and tokens.
        mask: the token that hides.
        steps: as many or fewer than tokens; with as many and `confident`, one token a step.
        generator: the source of chance.
        confident: at each step an equal share of tokens is settled, those whose draw was likeliest;
            otherwise each is settled by chance, as the process run backwards says.

    Raises:
        ValueError: steps is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    tokens = torch.full(shape, mask)
    for step in range(steps):
        t, s = 1 - step / steps, 1 - (step + 1) / steps
        logits = score(tokens).float()
        logits[..., mask] = -torch.inf
        chances = logits.softmax(dim=-1)
        drawn = torch.multinomial(chances.flatten(0, 1), 1, generator=generator).view(shape)
        hidden = tokens == mask
        if confident:
            trust = chances.gather(-1, drawn[..., None])[..., 0].masked_fill(~hidden, -1.0)
            count = hidden.sum(dim=1) - round(shape[1] * s)
            settled = trust.argsort(dim=1, descending=True).argsort(dim=1) < count[:, None]
        else:
            settled = torch.rand(shape, generator=generator) < (t - s) / t
        tokens = torch.where(hidden & settled, drawn, tokens)
    return tokens
