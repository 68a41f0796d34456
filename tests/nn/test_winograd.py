import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn import winograd_products
from orrery.nn.winograd import Conv3x3, Winograd, frozen_filters, tiles_pay
from orrery.nn.winograd_products import convolve_tiles, filters_apart, filters_apart_backward

DOUBLE = torch.float64
LAST = torch.channels_last


def random(*shape, dtype=DOUBLE):
    numbers = torch.randn(*shape, dtype=dtype)
    return numbers.to(memory_format=LAST) if len(shape) == 4 else numbers


@settings(max_examples=8, deadline=None)
@given(
    b=st.integers(1, 5), c=st.integers(1, 5), o=st.integers(1, 5),
    down=st.integers(1, 3), across=st.integers(1, 3),
    chunk=st.sampled_from([1, 700, 10**6]),
)  # fmt: skip
def test_tiles_give_the_convolution_and_its_gradients(b, c, o, down, across, chunk):
    x, weight, bias = random(b, c, 4 * down, 4 * across), random(o, c, 3, 3), random(o)
    inputs = [z.requires_grad_() for z in (x, weight, bias)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd_products, "CHUNK", chunk)
        ours = Winograd.apply(*inputs)
        expected = F.conv2d(*inputs, padding=1)
        torch.testing.assert_close(ours, expected)
        above = torch.randn_like(expected)
        torch.testing.assert_close(
            torch.autograd.grad(ours, inputs, above), torch.autograd.grad(expected, inputs, above)
        )


def test_gradients_are_those_of_finite_differences():
    inputs = [random(2, 2, 4, 8), random(3, 2, 3, 3), random(3)]
    assert torch.autograd.gradcheck(Winograd.apply, [z.requires_grad_() for z in inputs])


def test_a_gradient_in_the_other_layout_is_fine():
    x, weight, bias = random(2, 3, 4, 4), random(2, 3, 3, 3), random(2)
    above = torch.randn(2, 2, 4, 4, dtype=DOUBLE)  # rows first in memory
    for z in (x, weight, bias):
        z.requires_grad_()
    ours = torch.autograd.grad(Winograd.apply(x, weight, bias), (x, weight, bias), above)
    expected = torch.autograd.grad(F.conv2d(x, weight, bias, padding=1), (x, weight, bias), above)
    torch.testing.assert_close(ours, expected)


def test_taking_filters_apart_and_its_gradient_are_adjoint():
    weight, places = random(4, 3, 3, 3), random(36, 3, 4)
    left = (filters_apart(weight) * places).sum()
    right = (weight * filters_apart_backward(places)).sum()
    torch.testing.assert_close(left, right)


def test_rounding_stays_in_the_fifth_decimal():
    x, weight = random(4, 64, 16, 16), random(64, 64, 3, 3) / 24  # outputs near 1
    expected = F.conv2d(x, weight, padding=1)
    ours = convolve_tiles(x.float(), filters_apart(weight.float()), torch.zeros(64))
    assert (ours - expected).abs().max() < 1e-4


def test_an_image_is_convolved_alike_alone_and_in_a_batch():
    layer = Conv3x3(32, 32)
    images = random(6, 32, 8, 8, dtype=torch.float32)
    with torch.no_grad():
        alone = torch.cat([layer(image[None]) for image in images])
        torch.testing.assert_close(layer(images), alone, rtol=1e-5, atol=1e-6)


def test_the_layer_is_a_plain_convolution_with_the_same_weights():
    torch.manual_seed(0)
    layer, plain = Conv3x3(32, 48), torch.nn.Conv2d(32, 48, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    images = random(2, 32, 8, 12, dtype=torch.float32)
    for _ in range(2):  # the second time with other weights
        with torch.no_grad():
            for z in (*layer.parameters(), *plain.parameters()):
                z += 0.1
            torch.testing.assert_close(layer(images), plain(images), rtol=1e-4, atol=1e-4)
        with frozen_filters(torch.nn.Sequential(layer)):
            torch.testing.assert_close(layer(images), plain(images), rtol=1e-4, atol=1e-4)
        ours, expected = layer(images), plain(images)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
        ours.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(layer.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "outputs"),
    [
        (random(1, 32, 8, 8), 32),  # float64
        (random(1, 32, 8, 8, dtype=torch.bfloat16), 32),
        (random(1, 16, 8, 8, dtype=torch.float32), 64),  # few channels
        (random(1, 64, 8, 8, dtype=torch.float32), 3),
        (random(1, 32, 8, 7, dtype=torch.float32), 32),  # no whole tiles
        (torch.randn(2, 32, 8, 8), 32),  # rows first in memory
    ],
)
def test_where_tiles_do_not_pay_it_is_torchs(image, outputs):
    assert not tiles_pay(image, outputs)
    layer = Conv3x3(image.shape[1], outputs).to(image.dtype)
    expected = F.conv2d(image, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(image), expected, rtol=0, atol=0)
    assert tiles_pay(random(1, 32, 8, 8, dtype=torch.float32), 32)
