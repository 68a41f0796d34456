import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn import window_attention as module
from orrery.nn.attention import attention
from orrery.nn.window_attention import window_attention, window_bias


def draw(t, batch=2, heads=2, size=4):
    generator = torch.Generator().manual_seed(t)
    return torch.randn(3, batch, heads, t, size, generator=generator, dtype=torch.float64)


def one_by_one(q, k, v, window):
    out = torch.zeros_like(v)
    for i in range(q.shape[2]):
        near = slice(max(0, i - window + 1), i + 1)
        scores = q[:, :, [i]] @ k[:, :, near].mT / q.shape[-1] ** 0.5
        out[:, :, [i]] = scores.softmax(dim=-1) @ v[:, :, near]
    return out


@settings(max_examples=15, deadline=None)
@given(t=st.integers(1, 30), window=st.integers(1, 12))
def test_it_is_the_formula(t, window):
    q, k, v = draw(t)
    torch.testing.assert_close(window_attention(q, k, v, window), one_by_one(q, k, v, window))


@settings(max_examples=15, deadline=None)
@given(t=st.integers(1, 8), more=st.integers(0, 8), window=st.integers(1, 9))
def test_the_bias_hides_what_the_window_does(t, more, window):
    q, k, v = draw(t + more)
    late = attention(q[:, :, more:], k, v, bias=window_bias(t, t + more, window, q))
    torch.testing.assert_close(late, one_by_one(q, k, v, window)[:, :, more:])


def test_a_window_as_long_as_the_text_is_plain_attention():
    q, k, v = draw(9)
    torch.testing.assert_close(window_attention(q, k, v, 9), attention(q, k, v, causal=True))


def test_gradients_pass_through_the_chunks():
    leaves = [x.requires_grad_() for x in draw(17)]
    after = torch.randn(2, 2, 17, 4, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(window_attention(*leaves, 4), leaves, after),
        torch.autograd.grad(one_by_one_safe(*leaves, 4), leaves, after),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def one_by_one_safe(q, k, v, window):
    return attention(q, k, v, bias=window_bias(q.shape[2], q.shape[2], window, q))


@pytest.mark.parametrize(("t", "scores"), [(64, 8 * 8 + 7 * 8 * 16), (128, 8 * 8 + 15 * 8 * 16)])
def test_its_cost_grows_as_the_text_not_its_square(monkeypatch, t, scores):
    products = []
    real = module.attention

    def counted(q, k, v, **options):
        products.append(q.shape[0] // 2 * q.shape[2] * k.shape[2])
        return real(q, k, v, **options)

    monkeypatch.setattr(module, "attention", counted)
    window_attention(*draw(t), 8)
    assert sum(products) == scores
