import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn import attention as module
from orrery.nn.attention import attention, attention_weights, causal_bias, padding_bias

sizes = st.integers(1, 6)


def draw(t, s, dtype=torch.float64, batch=2, heads=2, key=4, value=5):
    generator = torch.Generator().manual_seed(t * 10 + s)
    return (
        torch.randn(batch, heads, n, c, generator=generator, dtype=torch.float64).to(dtype)
        for n, c in ((t, key), (s, key), (s, value))
    )


def one_by_one(q, k, v, causal):
    """The formula for one query at a time, with nothing but loops and exp."""
    b, h, t, size = q.shape
    s = k.shape[2]
    out = q.new_zeros(b, h, t, v.shape[-1])
    for index in torch.cartesian_prod(torch.arange(b), torch.arange(h), torch.arange(t)).tolist():
        i, j, position = index
        seen = s - t + position + 1 if causal else s
        chances = [float((q[i, j, position] @ k[i, j, p] / size**0.5).exp()) for p in range(seen)]
        for p in range(seen):
            out[i, j, position] += chances[p] / sum(chances) * v[i, j, p]
    return out


@settings(max_examples=12, deadline=None)
@given(t=sizes, more=st.integers(0, 4), causal=st.booleans())
def test_it_is_the_formula(t, more, causal):
    q, k, v = draw(t, t + more)
    torch.testing.assert_close(attention(q, k, v, causal=causal), one_by_one(q, k, v, causal))
    weights = attention_weights(q, k, causal=causal)
    torch.testing.assert_close(weights @ v, one_by_one(q, k, v, causal))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones_like(weights[..., 0]))


@pytest.mark.parametrize(("t", "s"), [(6, 6), (2, 6), (1, 6)])
@pytest.mark.parametrize("causal", [True, False])
def test_both_ways_agree_and_have_the_same_gradients(t, s, causal):
    leaves = [tensor.requires_grad_() for tensor in draw(t, s)]
    by_kernel = attention(*leaves, causal=causal)
    by_products = attention_weights(leaves[0], leaves[1], causal=causal) @ leaves[2]
    torch.testing.assert_close(by_kernel, by_products)
    after = torch.randn(by_kernel.shape, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(by_kernel, leaves, after),
        torch.autograd.grad(by_products, leaves, after),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_bfloat16_takes_the_products_only_while_the_matrix_is_small(monkeypatch):
    calls = []
    real = module.attention_weights
    monkeypatch.setattr(
        module, "attention_weights", lambda *a, **k: calls.append(1) or real(*a, **k)
    )
    limit = module.PLAIN_UP_TO
    for dtype, s, products in (
        (torch.bfloat16, limit, 1), (torch.bfloat16, limit + 1, 0), (torch.float32, 8, 0),
    ):  # fmt: skip
        calls.clear()
        attention(*draw(2, s, dtype), causal=True)
        assert len(calls) == products, (dtype, s)


def test_in_bfloat16_it_stays_as_near_as_bfloat16_is():
    exact = attention(*draw(16, 16), causal=True)
    rounded = attention(*draw(16, 16, torch.bfloat16), causal=True).double()
    assert (rounded - exact).abs().max() < 0.03 * exact.abs().max()


def test_dropout_keeps_the_mean():
    q, k, _ = draw(4, 4)
    ones = torch.ones(2, 2, 4, 1, dtype=torch.float64)
    torch.manual_seed(0)
    many = torch.stack([attention(q, k, ones, dropout=0.5) for _ in range(400)])
    assert many.std() > 0.1
    assert abs(many.mean() - 1) < 0.05


@pytest.mark.parametrize(("t", "s"), [(4, 4), (2, 4), (1, 4)])
@pytest.mark.parametrize("causal", [True, False])
def test_bias_and_scale_enter_the_formula_both_ways(t, s, causal):
    q, k, v = draw(t, s)
    bias = torch.randn(1, 2, t, s, dtype=torch.float64)
    scores = 0.7 * q @ k.transpose(-2, -1) + bias
    if causal:
        scores = scores + causal_bias(t, s, q)
    expected = scores.softmax(dim=-1) @ v
    given_ = {"causal": causal, "bias": bias, "scale": 0.7}
    torch.testing.assert_close(attention(q, k, v, **given_), expected)
    torch.testing.assert_close(attention_weights(q, k, **given_) @ v, expected)


def test_padding_is_not_seen():
    q, k, v = draw(3, 5)
    seen = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    out = attention(q, k, v, bias=padding_bias(seen, q))
    torch.testing.assert_close(out[0], attention(q, k[:, :, :3], v[:, :, :3])[0])
    torch.testing.assert_close(out[1], attention(q, k, v)[1])
