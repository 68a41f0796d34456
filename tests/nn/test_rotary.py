import cmath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.rotary import angles, rotate


def vectors(t, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, t, size, generator=generator, dtype=torch.float64)


@settings(max_examples=15, deadline=None)
@given(t=st.integers(1, 6), pairs=st.integers(1, 4))
def test_a_pair_is_a_complex_number_that_turns(t, pairs):
    x, base = vectors(t, 2 * pairs), 100.0
    turned = rotate(x, angles(t, 2 * pairs, base=base).double())
    for m in range(t):
        for i in range(pairs):
            z = complex(x[0, 0, m, i], x[0, 0, m, i + pairs])
            z *= cmath.exp(1j * m * base ** (-i / pairs))
            assert complex(turned[0, 0, m, i], turned[0, 0, m, i + pairs]) == pytest.approx(z, 1e-5)


def test_a_product_knows_the_distance_and_nothing_else():
    q, k = vectors(1, 8, seed=1), vectors(1, 8, seed=2)
    turns = angles(12, 8).double()
    products = rotate(q.expand(2, 3, 12, 8), turns) @ rotate(k.expand(2, 3, 12, 8), turns).mT
    for distance in range(-11, 12):
        along = products.diagonal(distance, dim1=-2, dim2=-1)
        torch.testing.assert_close(along, along[..., :1].expand_as(along), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(products[..., 0, 0], products[..., 0, 1])


def test_turning_keeps_lengths():
    x = vectors(5, 6)
    torch.testing.assert_close(rotate(x, angles(5, 6).double()).norm(dim=-1), x.norm(dim=-1))


def test_an_odd_size_is_refused():
    with pytest.raises(ValueError, match="size must be even, got 5"):
        angles(3, 5)
