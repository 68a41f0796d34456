import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.multi_head import MultiHeadAttention
from orrery.nn.sinusoidal import frequencies, shift, sinusoids


@settings(max_examples=30, deadline=None)
@given(place=st.integers(0, 500), pair=st.integers(0, 3))
def test_it_is_the_formula(place, pair):
    encoding = sinusoids(1, 8, start=place)[0]
    angle = place / 10_000 ** (2 * pair / 8)
    assert encoding[2 * pair] == pytest.approx(math.sin(angle), abs=1e-12)
    assert encoding[2 * pair + 1] == pytest.approx(math.cos(angle), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(-50, 50), width=st.sampled_from([2, 6, 16]))
def test_a_step_is_the_same_rotation_everywhere(steps, width):
    here = sinusoids(20, width, start=60)
    there = sinusoids(20, width, start=60 + steps)
    torch.testing.assert_close(shift(here, steps), there)
    torch.testing.assert_close(shift(here, steps).norm(dim=-1), here.norm(dim=-1))


def test_products_depend_on_the_distance_alone():
    encoding = sinusoids(40, 12)
    products = encoding @ encoding.T
    for distance in range(20):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert products[0, 0] > products[0, 1] > products[0, 2]


def test_without_positions_attention_only_permutes_with_its_input_and_with_them_it_does_not():
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(8, 2).double(), torch.randn(1, 6, 8, dtype=torch.float64)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])
    places = sinusoids(6, 8)
    assert not torch.allclose(layer(x[:, order] + places), layer(x + places)[:, order])


@pytest.mark.parametrize("width", [0, 1, 7])
def test_an_odd_width_is_refused(width):
    with pytest.raises(ValueError, match=f"width must be even and at least 2, got {width}"):
        frequencies(width)
