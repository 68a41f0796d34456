import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn import grouped_query as module
from orrery.nn.attention import attention, attention_weights, padding_bias
from orrery.nn.grouped_query import block_attention, grouped_attention, grouped_weights

shapes = st.sampled_from([(1, 1), (4, 1), (4, 2), (4, 4), (6, 3)])


def draw(t, s, heads, groups, dtype=torch.float64):
    generator = torch.Generator().manual_seed(t + 10 * s)
    q = torch.randn(2, heads, t, 4, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, 2, groups, s, 4, generator=generator, dtype=torch.float64)
    return q.to(dtype), k.to(dtype), v.to(dtype)


@settings(max_examples=30, deadline=None)
@given(shape=shapes, t=st.integers(1, 4), more=st.integers(0, 3), causal=st.booleans(),
       kind=st.sampled_from(["none", "padding", "by head"]))  # fmt: skip
def test_it_is_attention_with_each_groups_keys_repeated(shape, t, more, causal, kind):
    heads, groups = shape
    q, k, v = draw(t, t + more, heads, groups)
    seen = torch.ones(2, t + more)
    seen[0, 1:] = 0
    by_head = torch.randn(1, heads, t, t + more, dtype=torch.float64)
    bias = {"none": None, "padding": padding_bias(seen, q), "by head": by_head}[kind]
    wide_k, wide_v = (x.repeat_interleave(heads // groups, dim=1) for x in (k, v))
    expected = attention(q, wide_k, wide_v, causal=causal, bias=bias)
    options = {"causal": causal, "bias": bias}
    torch.testing.assert_close(grouped_attention(q, k, v, **options), expected)
    weights = grouped_weights(q, k, **options)
    torch.testing.assert_close(weights, attention_weights(q, wide_k, **options))


def test_in_bfloat16_it_stays_as_near_as_bfloat16_is():
    exact = grouped_attention(*draw(9, 9, 4, 2), causal=True)
    rounded = grouped_attention(*draw(9, 9, 4, 2, torch.bfloat16), causal=True).double()
    assert (rounded - exact).abs().max() < 0.03 * exact.abs().max()


@settings(max_examples=20, deadline=None)
@given(shape=shapes, t=st.integers(1, 7), more=st.integers(0, 3), block=st.integers(1, 4),
       kind=st.sampled_from(["none", "padding", "by head"]))  # fmt: skip
def test_block_by_block_is_all_at_once(shape, t, more, block, kind):
    heads, groups = shape
    q, k, v = draw(t, t + more, heads, groups)
    seen = torch.ones(2, t + more)
    seen[0, :1] = 0
    by_head = torch.randn(1, heads, t, t + more, dtype=torch.float64)
    bias = {"none": None, "padding": padding_bias(seen, q), "by head": by_head}[kind]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = block_attention(q, k, v, bias=bias)
    wide = (x.repeat_interleave(heads // groups, dim=1) for x in (k, v))
    torch.testing.assert_close(found, attention(q, *wide, causal=True, bias=bias))


@pytest.mark.parametrize(
    ("t", "s", "dtype"),
    [
        (1, 6, torch.float32),
        (1, 6, torch.bfloat16),
        (1, 600, torch.bfloat16),
        (5, 6, torch.bfloat16),
    ],
)
def test_a_step_copies_no_keys(monkeypatch, t, s, dtype):
    def never(*_, **__):
        raise AssertionError("copied")

    q, k, v = draw(t, s, 4, 2, dtype)
    wide = (x.double().repeat_interleave(2, dim=1) for x in (k, v))
    expected = attention(q.double(), *wide, causal=True)
    monkeypatch.setattr(module, "attention", never)
    out = grouped_attention(q, k, v, causal=True).double()
    assert (out - expected).abs().max() < 0.03 * expected.abs().max()
