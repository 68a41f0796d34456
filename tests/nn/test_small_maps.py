import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn import small_maps
from orrery.nn.small_maps import ByProduct, SmallMapConv, filter_gradient, product_pays

LAST = torch.channels_last


def noise(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@settings(max_examples=25, deadline=None)
@given(b=st.integers(1, 3), inputs=st.integers(1, 4), outputs=st.integers(1, 4),
       y=st.integers(3, 8), x=st.integers(3, 8), side=st.integers(1, 3), stride=st.integers(1, 2),
       padding=st.integers(0, 1), last=st.booleans())  # fmt: skip
def test_both_gradients_are_autograds(b, inputs, outputs, y, x, side, stride, padding, last):
    layout = LAST if last else torch.contiguous_format
    maps = noise(b, inputs, y, x).contiguous(memory_format=layout).requires_grad_()
    filters = noise(outputs, inputs, side, side, seed=1).requires_grad_()
    expected = F.conv2d(maps, filters, None, stride, padding)
    found = ByProduct.apply(maps, filters, (stride,) * 2, (padding,) * 2)
    torch.testing.assert_close(found, expected)
    gradient = noise(*expected.shape, seed=2)
    theirs = torch.autograd.grad(expected, (maps, filters), gradient)
    ours = torch.autograd.grad(found, (maps, filters), gradient)
    torch.testing.assert_close(ours, theirs)


def test_gradcheck():
    maps, filters = noise(2, 3, 4, 4).requires_grad_(), noise(2, 3, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: ByProduct.apply(x, w, (1, 1), (1, 1)),
                                    (maps, filters))  # fmt: skip


def test_a_first_layer_asks_for_no_gradient_of_its_input():
    filters = noise(2, 3, 3, 3).requires_grad_()
    ByProduct.apply(noise(2, 3, 4, 4, seed=1), filters, (1, 1), (1, 1)).sum().backward()
    assert filters.grad.shape == filters.shape


@pytest.mark.parametrize("autocast", [True, False])
def test_the_layer_in_bfloat16_learns_what_the_exact_one_does(autocast, monkeypatch):
    calls = []
    monkeypatch.setattr(small_maps, "filter_gradient",
                        lambda *a: calls.append(a) or filter_gradient(*a))  # fmt: skip
    layer = SmallMapConv(8, 16, 3, padding=1)
    exact = nn.Conv2d(8, 16, 3, padding=1, bias=False).double()
    exact.load_state_dict(layer.state_dict())
    x = noise(4, 8, 4, 4).requires_grad_()
    exact(x).square().sum().backward()
    low = x.detach().bfloat16().contiguous(memory_format=LAST).requires_grad_()
    if not autocast:
        layer.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = layer(low)
    found.float().square().sum().backward()
    assert len(calls) == 1
    for ours, theirs in ((layer.weight.grad, exact.weight.grad), (low.grad, x.grad)):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_large_maps_other_types_and_frozen_filters_take_the_usual_way(monkeypatch):
    layer = SmallMapConv(4, 4, 3, padding=1)
    maps = torch.zeros(1, 4, 4, 4, dtype=torch.bfloat16)
    assert product_pays(maps, layer)
    assert not product_pays(maps.float(), layer)
    assert not product_pays(torch.zeros(1, 4, 5, 4, dtype=torch.bfloat16), layer)
    assert product_pays(torch.zeros(1, 4, 8, 8, dtype=torch.bfloat16), SmallMapConv(4, 4, 3, 2, 1))
    monkeypatch.setattr(ByProduct, "apply", None)  # would fail if it were called
    layer.bfloat16().requires_grad_(False)
    assert layer(maps).shape == maps.shape
    with torch.no_grad():
        assert layer.requires_grad_(True)(maps).shape == maps.shape


def test_it_holds_the_weights_of_a_usual_layer():
    layer = SmallMapConv(3, 5, 3, 2, 1)
    usual = nn.Conv2d(3, 5, 3, 2, 1, bias=False)
    usual.load_state_dict(layer.state_dict())
    x = noise(2, 3, 9, 7, dtype=torch.float32)
    torch.testing.assert_close(layer(x), usual(x))
