"""Attention maps, and a test of what they tell: does what is looked at most also matter most?

Source: Vaswani et al. 2017, arXiv:1706.03762, figures 3 to 5, for the maps; Jain and Wallace 2019,
"Attention is not Explanation", arXiv:1902.10186, section 4.1, for the test: leave a token out and
see how far the prediction moves.
Differs from the paper: a causal Transformer in place of a recurrent encoder, so a weight is a mean
over layers and heads; a token is not left out but replaced, and the move is a Kullback-Leibler
divergence in place of a total variation distance.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from orrery.catalog import System
from orrery.systems.language.gpt import Gpt

SYSTEM = System(
    stem="attention_map", area="language", title="Attention maps and what they tell", year=2017,
    papers=("arXiv:1706.03762", "arXiv:1902.10186"), builds_on=("gpt",),
    realises=("attention-visualisation",),
)  # fmt: skip

Tokens = Int[Tensor, "b t"]
PerToken = Float[Tensor, "b t"]


@torch.no_grad()
def attention_maps(model: Gpt, tokens: Tokens) -> Float[Tensor, "l b h t s"]:
    """What position t takes from position s, for each layer and head; rows sum to 1."""
    return torch.stack(model(tokens, maps=True).maps)


def weight_of(model: Gpt, tokens: Tokens) -> PerToken:
    """What the last position takes from each, in the mean over layers and heads."""
    return attention_maps(model, tokens)[..., -1, :].mean(dim=(0, 2))


@torch.no_grad()
def effect_of(model: Gpt, tokens: Tokens, substitutes: Int[Tensor, " n"]) -> PerToken:
    """How far the last position's prediction moves, in nats, when a token is another one.

    Args:
        model: what predicts.
        tokens: one row a prediction.
        substitutes: each token is replaced by each of these in turn, and the moves are averaged.
    """
    before = model.log_probabilities(tokens)[:, -1]
    t = tokens.shape[1]
    effects = []
    for row, kept in zip(tokens, before, strict=True):
        changed = row.repeat(len(substitutes), t, 1)  # [n, t, t]: the diagonal is what changes
        changed.diagonal(dim1=1, dim2=2)[:] = substitutes[:, None]
        after = model.log_probabilities(changed.flatten(0, 1))[:, -1]
        moves = F.kl_div(after, kept.expand_as(after), log_target=True, reduction="none").sum(-1)
        effects.append(moves.view(len(substitutes), t).mean(dim=0))
    return torch.stack(effects)


def rank_correlation(a: PerToken, b: PerToken) -> Float[Tensor, " b"]:
    """Spearman's correlation of each row of `a` with that of `b`; equal values are not expected."""
    ranks = torch.stack([a, b]).argsort(dim=-1).argsort(dim=-1).double()
    x, y = ranks - ranks.mean(dim=-1, keepdim=True)
    return (x * y).sum(dim=-1) / (x.square().sum(dim=-1) * y.square().sum(dim=-1)).sqrt()
