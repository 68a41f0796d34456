import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.swiglu import SwiGlu


@torch.no_grad()
@settings(max_examples=10, deadline=None)
@given(
    n=st.integers(1, 4), width=st.integers(1, 6), inner=st.integers(1, 7), bias=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_it_is_the_formula(n, width, inner, bias, seed):
    torch.manual_seed(seed)
    block, x = SwiGlu(width, inner, bias=bias).double(), torch.randn(n, width).double()
    gate, up = block.gate_up.weight.split(inner)
    zeros = torch.zeros(2 * inner).double()
    a, b = (block.gate_up.bias if bias else zeros).split(inner)
    for row, out in zip(x, block(x), strict=True):
        expected = block.down.bias.clone() if bias else torch.zeros(width).double()
        for i in range(inner):
            g = float(gate[i] @ row + a[i])
            swish = g / (1 + math.exp(-g))
            expected = expected + block.down.weight[:, i] * swish * (up[i] @ row + b[i])
        torch.testing.assert_close(out, expected)


def test_the_gate_shuts():
    block = SwiGlu(2, 3).double()
    with torch.no_grad():
        block.gate_up.weight[:3] = -1000.0
    assert block(torch.ones(1, 2).double()).abs().max() < 1e-100


def test_two_thirds_of_four_widths_are_as_many_weights():
    block = SwiGlu(48, 48 * 8 // 3)
    assert sum(p.numel() for p in block.parameters()) == 8 * 48**2
