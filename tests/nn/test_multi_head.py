import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn.attention import attention, padding_bias
from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.multi_head import MultiHeadAttention


def make(width=8, heads=2, **options):
    torch.manual_seed(0)
    layer = MultiHeadAttention(width, heads, **options).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(std=0.6)
    return layer


def draw(batch, length, width=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, width, generator=generator, dtype=torch.float64)


@pytest.mark.parity
@settings(max_examples=15, deadline=None)
@given(
    heads=st.integers(1, 4), size=st.integers(1, 4), t=st.integers(1, 5), s=st.integers(1, 6),
    bias=st.booleans(), cross=st.booleans(), causal=st.booleans(),
)  # fmt: skip
def test_it_is_torchs_both_ways(heads, size, t, s, bias, cross, causal):
    width = heads * size
    ours = make(width, heads, bias=bias)
    theirs = nn.MultiheadAttention(width, heads, bias=bias, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.out_proj.weight.copy_(ours.out.weight)
        if bias:
            theirs.in_proj_bias.copy_(ours.qkv.bias)
            theirs.out_proj.bias.copy_(ours.out.bias)
    x = draw(2, t, width)
    source = draw(2, s, width, seed=2) if cross else x
    causal = causal and not cross
    hidden = torch.ones(t, t, dtype=torch.bool).triu(1) if causal else None
    expected, weights = theirs(x, source, source, attn_mask=hidden, average_attn_weights=False)
    maps = []
    out = ours(x, source if cross else None, causal=causal, maps=maps)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(maps[0], weights)


@settings(max_examples=10, deadline=None)
@given(heads=st.integers(1, 3), head_size=st.integers(1, 5))
def test_it_is_a_loop_over_heads(heads, head_size):
    layer, x = make(6, heads, head_size=head_size), draw(2, 4, 6)
    inner = heads * head_size
    q, k, v = layer.qkv.weight.split(inner)
    bq, bk, bv = layer.qkv.bias.split(inner)
    parts = []
    for head in range(heads):
        own = slice(head * head_size, (head + 1) * head_size)
        one = [(x @ w[own].T + b[own])[:, None] for w, b in ((q, bq), (k, bk), (v, bv))]
        parts.append(attention(*one)[:, 0])
    torch.testing.assert_close(layer(x), layer.out(torch.cat(parts, dim=-1)))


def test_a_hidden_part_of_the_source_changes_nothing_and_a_seen_part_does():
    layer, x, source = make(), draw(2, 3), draw(2, 5, seed=2)
    seen = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    other = source.clone()
    other[:, 4] += 1
    before = layer(x, source, bias=padding_bias(seen, x))
    after = layer(x, other, bias=padding_bias(seen, x))
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_a_source_is_projected_once_and_then_kept_in_the_cache():
    layer, x, source, cache = make(), draw(1, 3), draw(1, 5, seed=2), KeyValueCache()
    steps = [layer(x[:, i : i + 1], source, cache=cache) for i in range(3)]
    assert len(cache) == 5
    torch.testing.assert_close(torch.cat(steps, dim=1), layer(x, source))


def test_the_cache_of_self_attention_changes_nothing():
    layer, x, cache = make(), draw(2, 6), KeyValueCache()
    parts = [layer(x[:, a:b], causal=True, cache=cache) for a, b in ((0, 1), (1, 4), (4, 6))]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x, causal=True))


def test_one_layer_looks_up_over_any_distance():
    """Query i asks for the token whose key is i, wherever it stands: one step, any distance."""
    n = 12
    layer = MultiHeadAttention(2 * n, 1, bias=False).double()
    first, second = torch.eye(2 * n, dtype=torch.float64).split(n)
    with torch.no_grad():
        zero = torch.zeros(n, 2 * n, dtype=torch.float64)
        layer.qkv.weight.copy_(torch.cat([first * 200, zero, first, zero, second, zero]))
        layer.out.weight.copy_(torch.eye(2 * n, dtype=torch.float64))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    names = torch.eye(n, dtype=torch.float64)
    source = torch.cat([names[order], names], dim=1)[None]  # its name, and where it stands
    asks = torch.cat([names, 0 * names], dim=1)[None]
    found = layer(asks, source)[0, :, :n].argmax(dim=1)
    assert torch.equal(found, order.argsort())


def test_a_width_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="width must be a multiple of heads=3, got 8"):
        MultiHeadAttention(8, 3)
