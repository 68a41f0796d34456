"""Grouped-query attention: several query heads read the keys and values of one.

Source: Ainslie et al. 2023, "GQA", arXiv:2305.13245, section 2.2; one group is Shazeer's 2019
multi-query attention, arXiv:1911.02150.
Differs from the papers: nothing; `rotary_attention` has the layer around it.

Queries of one group are laid one below another as rows of one matrix, so that its keys are read
once and copied never. Only a fused kernel that hides the future by itself gets copies, for a long
text: there the copies are small beside the t by s products.

Symbols: h query heads, g groups, one head of keys and values each.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System
from orrery.nn.attention import PLAIN_UP_TO, Bias, Queries, attention, causal_bias

SYSTEM = System(
    stem="grouped_query", area="language", title="Grouped-query attention", year=2023,
    papers=("arXiv:2305.13245", "arXiv:1911.02150"), builds_on=(), realises=(),
)  # fmt: skip

BLOCK = 128  # queries
BLOCKS_UP_TO = 1024  # keys; bfloat16 on a CPU

Keys = Float[Tensor, "b g s k"]
Values = Float[Tensor, "b g s c"]


def grouped_weights(
    q: Queries, k: Keys, *, bias: Bias | None = None, causal: bool = False
) -> Float[Tensor, "b h t s"]:
    """softmax(q k' / sqrt(size) + bias), with each group's keys read by its h / g queries."""
    (h, t), (g, s) = q.shape[1:3], k.shape[1:3]
    rows = q.unflatten(1, (g, h // g)).flatten(2, 3) * q.shape[-1] ** -0.5
    scores = (rows @ k.transpose(-2, -1)).reshape(len(q), h, t, s)
    if bias is not None:
        scores = scores + bias
    if causal and t > 1:
        scores = scores + causal_bias(t, s, q)
    return scores.softmax(dim=-1)


def grouped_attention(
    q: Queries,
    k: Keys,
    v: Values,
    *,
    bias: Bias | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Float[Tensor, "b h t c"]:
    """What each query takes from the values of its group; arguments as `attention`'s."""
    (h, t), (g, s) = q.shape[1:3], k.shape[1:3]
    slow = q.dtype == torch.bfloat16 and q.device.type == "cpu"  # the fused kernel, there
    if t == 1 and not (slow and s > PLAIN_UP_TO):
        rows = q.reshape(len(q), g, h // g, -1)
        if bias is not None and bias.shape[1] == h:
            bias = bias.reshape(len(bias), g, h // g, s)
        y = F.scaled_dot_product_attention(rows, k, v, attn_mask=bias, dropout_p=dropout)
        return y.reshape(len(q), h, t, -1)
    if slow and (t == 1 or (causal and s <= BLOCKS_UP_TO)):
        return block_attention(q, k, v, bias=bias, dropout=dropout)
    if g < h:
        k, v = (z.repeat_interleave(h // g, dim=1) for z in (k, v))
    return attention(q, k, v, bias=bias, causal=causal, dropout=dropout)


def block_attention(
    q: Queries, k: Keys, v: Values, *, bias: Bias | None = None, dropout: float = 0.0
) -> Float[Tensor, "b h t c"]:
    """Causal attention by plain products of a block of queries and the keys up to its end.

    The products of later keys, nearly half of all, are left out, and a block's scores stay in the
    processor's cache from one product to the next.
    """
    (b, h, t, size), (g, s) = q.shape, k.shape[1:3]
    keys, values, parts = k.flatten(0, 1), v.flatten(0, 1), []
    for start in range(0, t, BLOCK):
        n = min(BLOCK, t - start)
        end = s - t + start + n
        hidden = causal_bias(n, end, q)
        if bias is None:
            hidden = hidden.repeat(h // g, 1)
        else:
            some = bias[:, :, start : start + n] if bias.shape[2] > 1 else bias
            hidden = (some[..., :end] + hidden).expand(b, h, n, end).reshape(b * g, -1, end)
        rows = q[:, :, start : start + n].reshape(b * g, -1, size)
        scores = torch.baddbmm(hidden, rows, keys[:, :end].mT, alpha=size**-0.5)
        y = F.dropout(scores.softmax(dim=-1), dropout) @ values[:, :end]
        parts.append(y.reshape(b, h, n, -1))
    return torch.cat(parts, dim=2)
