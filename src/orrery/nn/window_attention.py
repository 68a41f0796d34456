"""Attention that looks back a fixed number of tokens; its cost grows as the text does.

Source: Beltagy et al. 2020, "Longformer", arXiv:2004.05150, section 3.1 and its "sliding chunks";
Jiang et al. 2023, "Mistral 7B", arXiv:2310.06825, section 2.
Differs from the papers: causal, so a chunk needs itself and one before.

The text is cut into chunks of a window's length. A query's window ends at itself, so it lies in
its own chunk and the one before: a w by 2w product a chunk, with one mask for all chunks.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from orrery.catalog import System
from orrery.nn.attention import attention

SYSTEM = System(
    stem="window_attention", area="language", title="Sliding-window attention", year=2020,
    papers=("arXiv:2004.05150", "arXiv:2310.06825"), builds_on=(), realises=(),
)  # fmt: skip

Heads = Float[Tensor, "b h t k"]


def window_bias(t: int, s: int, window: int, like: Tensor) -> Float[Tensor, "1 1 t s"]:
    """0 at the `window` keys that end at each of the last t of s tokens, else minus infinity."""
    back = torch.arange(s - t, s, device=like.device)[:, None] - torch.arange(s, device=like.device)
    bias = torch.zeros(t, s, dtype=like.dtype, device=like.device)
    return bias.masked_fill((back < 0) | (back >= window), -torch.inf)[None, None]


def window_attention(q: Heads, k: Heads, v: Heads, window: int) -> Heads:
    """Causal attention in which a token sees `window` tokens, itself included.

    Args:
        q: of all tokens of the text.
        k: of the same tokens.
        v: of the same tokens.
        window: at least 1.
    """
    t = q.shape[2]
    if t <= window:
        return attention(q, k, v, causal=True)
    if t < 3 * window:  # too few chunks for one to be spared
        return attention(q, k, v, bias=window_bias(t, t, window, q))
    chunks = -(-t // window)
    q, k, v = (F.pad(x, (0, 0, 0, chunks * window - t)) for x in (q, k, v))
    q, k, v = (x.unflatten(2, (chunks, window)).transpose(1, 2) for x in (q, k, v))
    first = attention(q[:, 0], k[:, 0], v[:, 0], causal=True)[:, None]
    k, v = (torch.cat([x[:, :-1], x[:, 1:]], dim=3).flatten(0, 1) for x in (k, v))
    bias = window_bias(window, 2 * window, window, q)
    rest = attention(q[:, 1:].flatten(0, 1), k, v, bias=bias).unflatten(0, (-1, chunks - 1))
    return torch.cat([first, rest], dim=1).transpose(1, 2).flatten(2, 3)[:, :, :t]
