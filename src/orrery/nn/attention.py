"""Scaled dot-product attention, by whichever of two exact ways is faster here.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, equation 1.

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

Queries = Float[Tensor, "b h t k"]
Keys = Float[Tensor, "b h s k"]
Values = Float[Tensor, "b h s c"]
Weights = Float[Tensor, "b h t s"]  # each row sums to 1

PLAIN_UP_TO = 512  # keys; bfloat16 on a CPU: above it the t by s matrix falls out of the cache


def attention(
    q: Queries, k: Keys, v: Values, *, causal: bool = False, dropout: float = 0.0
) -> Float[Tensor, "b h t c"]:
    """softmax(q k' / sqrt(size of a key)) v.

    Args:
        q: t queries. Where they are fewer than the s keys they are the last t of them, as when
            a cache holds the keys of the tokens before.
        k: s keys.
        v: s values.
        causal: a query sees the keys up to its own and none after.
        dropout: share of the weights set to 0 (the rest grow to match); only in training.
    """
    t, s = q.shape[-2], k.shape[-2]
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and s <= PLAIN_UP_TO:
        return F.dropout(attention_weights(q, k, causal=causal), dropout) @ v
    if not causal or t == 1:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    if t == s:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
    seen = torch.ones(t, s, dtype=torch.bool, device=q.device).tril(s - t)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)


def attention_weights(q: Queries, k: Keys, *, causal: bool = False) -> Weights:
    """softmax(q k' / sqrt(size of a key)): how much each query takes from each key."""
    t, s = q.shape[-2], k.shape[-2]
    # Scaling the queries touches t by k numbers; scaling the products would touch t by s.
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if causal and t > 1:
        scores = scores + torch.full((t, s), -torch.inf, dtype=q.dtype, device=q.device).triu(
            1 + s - t
        )
    return scores.softmax(dim=-1)
