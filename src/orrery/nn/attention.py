"""Scaled dot-product attention, by whichever of two exact ways is faster here.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, equation 1.
Differs from the paper: a bias may be added to the scores (T5's positions, a mask of padding), and
the scale may be left out (T5).

The two ways compute the same function. The fused kernel never stores the t by s matrix of
weights and skips the blocks that a causal mask hides; the plain matrix products store it, but
run on the machine's best matrix-product code. On a CPU that code is, in bfloat16, so much
faster than the fused kernel's inner loops that plain products win until the matrix outgrows
the cache; in float32 the fused kernel wins at every length. `benchmarks/gpt.py` measures both.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="attention", area="foundations", title="Scaled dot-product attention", year=2017,
    papers=("arXiv:1706.03762",), builds_on=(), realises=("scaled-dot-product-attention",),
)  # fmt: skip

Queries = Float[Tensor, "b h t k"]
Keys = Float[Tensor, "b h s k"]
Values = Float[Tensor, "b h s c"]
Weights = Float[Tensor, "b h t s"]  # each row sums to 1
Bias = Float[Tensor, "#b #h #t s"]  # added to the scores; minus infinity hides a key

PLAIN_UP_TO = 512  # keys; bfloat16 on a CPU: above it the t by s matrix falls out of the cache


def attention(
    q: Queries,
    k: Keys,
    v: Values,
    *,
    causal: bool = False,
    bias: Bias | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "b h t c"]:
    """softmax(q k' scale + bias) v.

    Args:
        q: t queries. Where they are fewer than the s keys they are the last t of them, as when
            a cache holds the keys of the tokens before.
        k: s keys.
        v: s values.
        causal: a query sees the keys up to its own and none after.
        bias: added to the scores of every query or of each.
        scale: of the products; 1 / sqrt(size of a key) if not given.
        dropout: share of the weights set to 0 (the rest grow to match); only in training.
    """
    t, s = q.shape[-2], k.shape[-2]
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and s <= PLAIN_UP_TO:
        weights = attention_weights(q, k, causal=causal, bias=bias, scale=scale)
        return F.dropout(weights, dropout) @ v
    if bias is None and causal and t == s:
        return F.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True, scale=scale
        )
    if causal and t > 1:
        hidden = causal_bias(t, s, q)
        bias = hidden if bias is None else bias + hidden
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale)


def attention_weights(
    q: Queries,
    k: Keys,
    *,
    causal: bool = False,
    bias: Bias | None = None,
    scale: float | None = None,
) -> Weights:
    """softmax(q k' scale + bias): how much each query takes from each key."""
    t, s = q.shape[-2], k.shape[-2]
    # Scaling the queries touches t by k numbers; scaling the products would touch t by s.
    scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    if causal and t > 1:
        scores = scores + causal_bias(t, s, q)
    return scores.softmax(dim=-1)


def causal_bias(t: int, s: int, like: Tensor) -> Float[Tensor, "t s"]:
    """0 where one of the last t of s tokens may look, minus infinity at the tokens after it."""
    return torch.full((t, s), -torch.inf, dtype=like.dtype, device=like.device).triu(1 + s - t)


def padding_bias(seen: Tensor, like: Tensor) -> Float[Tensor, "b 1 1 s"]:
    """0 at the tokens that count, the least number at padding; for every head and query.

    Not minus infinity: a query all of whose keys are padding would then divide 0 by 0.

    Args:
        seen: [b s], not 0 at the tokens that count.
        like: gives the number format and the device.
    """
    bias = torch.zeros(seen.shape, dtype=like.dtype, device=like.device)
    return bias.masked_fill(seen == 0, torch.finfo(like.dtype).min)[:, None, None, :]
