"""Sparse attention: a token sees its neighbours, and of the rest only some, at regular places.

Source: Child et al. 2019, "Generating Long Sequences with Sparse Transformers", arXiv:1904.10509,
sections 4.2 and 4.3.
Differs from the paper: both sets are seen by one softmax (its "merged head", section 5.2); the
neighbours of the strided pattern are l with the token itself; a token of the fixed pattern that
stands among the last c of its block sees the summaries of earlier blocks as the others do.

Scores are computed a block at a time, and only those of the pattern's blocks: with l near the root
of n, n sqrt(n) of them up to a factor, where dense attention has n^2.

Symbols: n tokens in m blocks of l; c the last tokens of a block, its summary.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="sparse_attention", area="foundations", title="Sparse attention", year=2019,
    papers=("arXiv:1904.10509",), builds_on=(), realises=("sparse-attention",),
)  # fmt: skip

Heads = Float[Tensor, "b h n k"]
Blocks = Float[Tensor, "b h m l k"]
Pattern = Literal["strided", "fixed"]


def seen(n: int, block: int, *, pattern: Pattern = "strided", summary: int = 1) -> Bool[
    Tensor, "n n"
]:  # fmt: skip
    """Which tokens (columns) each token (row) sees.

    Args:
        n: tokens.
        block: l, at least 1.
        pattern: strided, the l last tokens and every l-th before; fixed, those of the own block
            and the summaries of the blocks before.
        summary: c, between 1 and l; of the fixed pattern.
    """
    i, j = torch.arange(n)[:, None], torch.arange(n)
    if pattern == "strided":
        near, far = i - j < block, (i - j) % block == 0
    else:
        near, far = i // block == j // block, j % block >= block - summary
    return (j <= i) & (near | far)


def sparse_attention(
    q: Heads, k: Heads, v: Heads, block: int, *, pattern: Pattern = "strided", summary: int = 1
) -> Heads:
    """Softmax attention over what the pattern lets a token see; arguments as `seen`'s.

    Raises:
        ValueError: block or summary is out of range.
    """
    n = q.shape[2]
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    if not 1 <= summary <= block:
        raise ValueError(f"summary must be in [1, block={block}], got {summary}")
    block = min(block, n) if pattern == "strided" else block
    more = -n % block
    q, k, v = (F.pad(x, (0, 0, 0, more)).unflatten(2, (-1, block)) for x in (q, k, v))
    q = q * q.shape[-1] ** -0.5
    attend = strided if pattern == "strided" else fixed
    return attend(q, k, v, summary).flatten(2, 3)[:, :, :n]


def strided(q: Blocks, k: Blocks, v: Blocks, _: int) -> Blocks:
    """Neighbours from the own block and the one before; columns of the m by l square of tokens."""
    m, l = q.shape[2:4]  # noqa: E741
    near_k, near_v = (with_block_before(x) for x in (k, v))
    back = torch.arange(l, device=q.device)[:, None] + l - torch.arange(2 * l, device=q.device)
    hidden = ((back < 0) | (back >= l)).expand(m, l, 2 * l).clone()
    hidden[0, :, :l] = True  # before the first block there is none
    near = (q @ near_k.mT).masked_fill(hidden, -torch.inf)
    columns_q, columns_k, columns_v = (x.transpose(2, 3) for x in (q, k, v))
    later = torch.ones(m, m, dtype=torch.bool, device=q.device).triu()  # itself is near, not far
    far = (columns_q @ columns_k.mT).masked_fill(later, -torch.inf).transpose(2, 3)
    weights = torch.cat([near, far], dim=-1).softmax(dim=-1)
    near, far = weights.split([2 * l, m], dim=-1)
    return near @ near_v + (far.transpose(2, 3) @ columns_v).transpose(2, 3)


def fixed(q: Blocks, k: Blocks, v: Blocks, summary: int) -> Blocks:
    """The own block up to the token, and the last `summary` tokens of each block before."""
    m, l = q.shape[2:4]  # noqa: E741
    later = torch.ones(l, l, dtype=torch.bool, device=q.device).triu(1)
    near = (q @ k.mT).masked_fill(later, -torch.inf)
    far_k, far_v = (x[..., l - summary :, :].flatten(2, 3)[:, :, None] for x in (k, v))
    block = torch.arange(m, device=q.device)
    ahead = block[:, None, None] <= block.repeat_interleave(summary)  # [m 1 mc]
    far = (q @ far_k.mT).masked_fill(ahead, -torch.inf)
    weights = torch.cat([near, far], dim=-1).softmax(dim=-1)
    near, far = weights.split([l, m * summary], dim=-1)
    return near @ v + far @ far_v


def with_block_before(x: Blocks) -> Float[Tensor, "b h m l2 k"]:
    """Each block behind the one before it; zeros before the first."""
    before = F.pad(x[:, :, :-1], (0, 0, 0, 0, 1, 0))
    return torch.cat([before, x], dim=3)


def scores(n: int, block: int, *, pattern: Pattern = "strided", summary: int = 1) -> int:
    """Products of a query and a key that `sparse_attention` computes; dense attention has n^2."""
    blocks = -(-n // block)
    each = 2 * block + blocks if pattern == "strided" else block + blocks * summary
    return blocks * block * each
