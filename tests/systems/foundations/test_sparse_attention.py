import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from orrery.nn.attention import attention
from orrery.systems.foundations.sparse_attention import scores, seen, sparse_attention

patterns = st.sampled_from(["strided", "fixed"])


def draw(n, batch=2, heads=2, size=4):
    generator = torch.Generator().manual_seed(n)
    return torch.randn(3, batch, heads, n, size, generator=generator, dtype=torch.float64)


def masked(q, k, v, mask):
    bias = torch.zeros(mask.shape, dtype=q.dtype).masked_fill(~mask, -torch.inf)
    return attention(q, k, v, bias=bias[None, None])


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 25), block=st.integers(1, 8), pattern=patterns, data=st.data())
def test_it_is_attention_under_the_mask(n, block, pattern, data):
    options = {"pattern": pattern, "summary": data.draw(st.integers(1, block))}
    q, k, v = draw(n)
    expected = masked(q, k, v, seen(n, block, **options))
    torch.testing.assert_close(sparse_attention(q, k, v, block, **options), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"block": 9}, {"block": 20}, {"block": 1}, {"block": 9, "pattern": "fixed"},
        {"block": 4, "pattern": "fixed", "summary": 4},
    ],
)  # fmt: skip
def test_where_the_mask_is_full_it_is_dense_attention(options):
    q, k, v = draw(9)
    assert torch.equal(seen(9, **options), torch.ones(9, 9).tril().bool())
    dense = attention(q, k, v, causal=True)
    torch.testing.assert_close(sparse_attention(q, k, v, **options), dense)


def test_the_patterns_are_those_of_the_paper():
    rows = seen(9, 3)[8].nonzero().flatten().tolist()
    assert rows == [2, 5, 6, 7, 8]
    rows = seen(9, 3, pattern="fixed")[7].nonzero().flatten().tolist()
    assert rows == [2, 5, 6, 7]


@pytest.mark.parametrize("pattern", ["strided", "fixed"])
def test_two_layers_join_any_two_tokens(pattern):
    one = seen(30, 5, pattern=pattern).double()
    assert ((one @ one > 0) == torch.ones(30, 30).tril().bool()).all()


@pytest.mark.parametrize("pattern", ["strided", "fixed"])
@pytest.mark.parametrize("n", [64, 256, 1024])
def test_its_cost_grows_as_n_root_n(pattern, n):
    block = math.isqrt(n)
    q, k, v = draw(n, batch=1, heads=1)
    with FlopCounterMode(display=False) as counter:
        sparse_attention(q, k, v, block, pattern=pattern)
    counted = counter.get_total_flops() / (2 * 2 * q.shape[-1])  # two products, two operations
    assert (
        counted
        == scores(n, block, pattern=pattern)
        == (3 if pattern == "strided" else 2) * (n**1.5)
    )


def test_a_hundred_thousand_tokens_are_ten_billion_scores():
    """The plan's claim attention-100k, and what a stride leaves of it."""
    n = 100_000
    assert n**2 == 10**10
    assert n**2 * torch.finfo(torch.float16).bits // 8 == 20 * 10**9  # bytes
    assert round(scores(n, math.isqrt(n)) / 1e6) == 95


def test_gradients_are_those_under_the_mask():
    leaves = [x.requires_grad_() for x in draw(11)]
    after = torch.randn(2, 2, 11, 4, dtype=torch.float64)
    for pattern in ("strided", "fixed"):
        expected = masked(*leaves, seen(11, 4, pattern=pattern))
        for a, b in zip(
            torch.autograd.grad(sparse_attention(*leaves, 4, pattern=pattern), leaves, after),
            torch.autograd.grad(expected, leaves, after),
            strict=True,
        ):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"block": 0}, "block must be at least 1, got 0"),
        ({"block": 3, "summary": 4}, r"summary must be in \[1, block=3\], got 4"),
    ],
)
def test_bad_sizes_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        sparse_attention(*draw(4), **bad)
