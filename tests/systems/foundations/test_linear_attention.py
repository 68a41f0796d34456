import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from orrery.nn.attention import attention
from orrery.systems.foundations.linear_attention import (
    KeyValueMemory,
    chunked,
    features,
    parallel,
    recurrent,
    step,
    unmasked,
)


def draw(n, size=4, values=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(2, 2, n, c, generator=generator, dtype=torch.float64)
        for c in (size, size, values)
    )


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 12), length=st.integers(1, 13), size=st.integers(1, 4),
       seed=st.integers(0, 99))  # fmt: skip
def test_the_three_forms_agree_with_the_formula(n, length, size, seed):
    q, k, v = draw(n, size, seed=seed)
    out = torch.zeros_like(v)
    for i in range(n):
        similar = (features(q[:, :, [i]]) * features(k[:, :, : i + 1])).sum(dim=-1)
        shares = similar / similar.sum(dim=-1, keepdim=True)
        out[:, :, i] = (shares[..., None] * v[:, :, : i + 1]).sum(dim=2)
    for form in (parallel(q, k, v), recurrent(q, k, v), chunked(q, k, v, length)):
        torch.testing.assert_close(form, out)


def test_without_a_mask_the_order_of_the_products_does_not_matter():
    q, k, v = draw(7)
    torch.testing.assert_close(unmasked(q, k, v), parallel(q, k, v, causal=False))


def test_all_forms_have_the_same_gradients():
    leaves = [x.requires_grad_() for x in draw(6)]
    after = torch.randn(2, 2, 6, 3, dtype=torch.float64)
    expected = torch.autograd.grad(parallel(*leaves), leaves, after)
    for form in (recurrent(*leaves), chunked(*leaves, 4)):
        for a, b in zip(torch.autograd.grad(form, leaves, after), expected, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("n", [1, 10, 100])
def test_the_memory_does_not_grow(n):
    q, k, v = draw(n)
    memory = KeyValueMemory.empty(k, v)
    for i in range(n):
        _, memory = step(q[:, :, [i]], k[:, :, [i]], v[:, :, [i]], memory)
    assert memory.numbers() == 4 * 3 + 4


def test_in_chunks_the_work_grows_as_the_text():
    flops = []
    for n in (256, 512):
        q, k, v = draw(n)
        with FlopCounterMode(display=False) as counter:
            chunked(q, k, v, 16)
        flops.append(counter.get_total_flops())
    assert flops[1] == 2 * flops[0]


def recall_errors(pairs, size=16):
    """How far from the value stored with a key is what asking with that key gives back."""
    generator = torch.Generator().manual_seed(pairs)
    k = torch.nn.functional.normalize(
        torch.randn(1, 1, pairs, size, generator=generator, dtype=torch.float64), dim=-1
    )
    v = torch.randn(1, 1, pairs, size, generator=generator, dtype=torch.float64)
    scale = v.square().mean()
    softmax = attention(40 * k, k, v, scale=1.0)
    return tuple(float((found - v).square().mean() / scale)
                 for found in (softmax, unmasked(8 * k, 8 * k, v)))  # fmt: skip


def test_it_forgets_once_there_are_more_pairs_than_the_memory_has_room_for():
    few, many = recall_errors(2), recall_errors(64)
    assert few[1] < 0.35
    assert many[0] < 0.1  # softmax attention finds each of the pairs
    assert many[1] > 0.7  # the sum of them has lost which is which


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        chunked(*draw(3), 0)
