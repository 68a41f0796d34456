"""Rows 10a to 10c: attention at the shapes of a GPT, in a window, and of grouped queries.

10a: whichever way `orrery.nn.attention` takes must never be slower than the better of plain
products and the fused kernel. 10b: a sliding window of 256 in 4,096 tokens, against the fused
kernel with a mask and against flex_attention compiled. 10c: one step of decoding with grouped
queries, against the fused kernel's own.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.side_by_side import interleave, report
from orrery.nn.attention import attention, attention_weights
from orrery.nn.grouped_query import grouped_attention
from orrery.nn.window_attention import window_attention, window_bias
from orrery.train import precision

HEADS, SIZE, TOKENS = 6, 64, 4_096
LENGTHS = (128, 256, 512, 1_024)
WINDOW = 256
BFLOAT16_GOALS = {256: 2.4, 512: 1.35}  # against the fused kernel alone

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention_weights(q, k, causal=True) @ v


def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention(q, k, v, causal=True)


def agree(a: Tensor, b: Tensor, dtype: torch.dtype) -> None:
    tolerance = 3e-2 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(a.float(), b.float(), rtol=tolerance, atol=tolerance)


def gpt_shapes(n: int, dtype: torch.dtype, *, rounds: int = 7, least: float = 0.15) -> bool:
    """Row 10a: forward and backward."""
    torch.manual_seed(0)
    leaves = [
        torch.randn(TOKENS // n, HEADS, n, SIZE, dtype=dtype, requires_grad=True) for _ in range(3)
    ]
    after = torch.randn_like(leaves[0])

    def step(attend: Attend) -> Callable[[], None]:
        def work() -> None:
            torch.autograd.grad(attend(*leaves), leaves, after)

        return work

    with torch.no_grad():
        agree(ours(*leaves), fused(*leaves), dtype)
        agree(plain(*leaves), fused(*leaves), dtype)
    contestants = {"orrery": step(ours), "plain": step(plain), "fused": step(fused)}
    timings = interleave(contestants, rounds=rounds, least_seconds=least)
    name = str(dtype).removeprefix("torch.")
    what = f"attention {name}, n = {n}, forward and backward"
    reached = report("10a", f"{what}, best", timings, "orrery", goal=0.95)
    if dtype == torch.bfloat16 and n in BFLOAT16_GOALS:
        goal = BFLOAT16_GOALS[n]
        against = report("10a", what, timings, "orrery", goal=goal, peers=("fused",))
        reached = reached and against
    return reached


def flex(window: int, n: int) -> Attend:
    """flex_attention compiled for the window, as its users run it."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def near(_b: Tensor, _h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (j <= i) & (i - j < window)

    mask = create_block_mask(near, None, None, n, n, device="cpu")
    compiled = torch.compile(flex_attention)
    return lambda q, k, v: compiled(q, k, v, block_mask=mask)


def sliding_window(*, n: int = TOKENS, rounds: int = 9, least: float = 0.15) -> bool:
    """Row 10b: forward, float32, eight heads."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 8, n, SIZE)
    bias, by_flex = window_bias(n, n, WINDOW, q), flex(WINDOW, n)
    contestants: dict[str, Callable[[], Tensor]] = {
        "orrery": lambda: window_attention(q, k, v, WINDOW),
        "masked": lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=bias),
        "flex": lambda: by_flex(q, k, v),
    }
    with torch.no_grad():
        outputs = {name: work() for name, work in contestants.items()}
        for output in outputs.values():
            agree(output, outputs["masked"], torch.float32)
        timings = interleave(contestants, rounds=rounds, least_seconds=least)
    what = f"window of {WINDOW} in {n:,} tokens, float32, forward"
    reached = [
        report("10b", f"{what}, {peer}", timings, "orrery", goal=goal, peers=(peer,))
        for peer, goal in (("masked", 1 / 0.12), ("flex", 1 / 1.05))
    ]
    return all(reached)


def grouped_decoding(*, s: int = TOKENS, rounds: int = 9, least: float = 0.1) -> bool:
    """Row 10c: one query for each of nine heads, three heads of keys, bfloat16."""
    torch.manual_seed(0)
    q = torch.randn(1, 9, 1, SIZE, dtype=torch.bfloat16)
    k, v = torch.randn(2, 1, 3, s, SIZE, dtype=torch.bfloat16)
    contestants: dict[str, Callable[[], Tensor]] = {
        "orrery": lambda: grouped_attention(q, k, v, causal=True),
        "enable_gqa": lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
    }
    with torch.no_grad():
        agree(contestants["orrery"](), contestants["enable_gqa"](), torch.bfloat16)
        timings = interleave(contestants, rounds=rounds, least_seconds=least)
    what = f"a step of decoding, {s:,} keys, bfloat16, 9 heads in 3 groups"
    return report("10c", what, timings, "orrery", goal=1 / 0.08)


def main() -> bool:
    """All rows; without bfloat16 on the processor only those in float32."""
    types = [torch.float32]
    if precision.measured().bfloat16:
        types.append(torch.bfloat16)
    reached = [gpt_shapes(n, dtype) for dtype in types for n in LENGTHS]
    reached.append(sliding_window())
    if torch.bfloat16 in types:
        reached.append(grouped_decoding())
    return all(reached)


if __name__ == "__main__":
    main()
