import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.efficiency.awq import ALPHAS, awq, channel_scales, rounded_scaled
from orrery.systems.efficiency.quantisation import BitGrid, rounded

GRIDS = st.builds(BitGrid, bits=st.sampled_from([2, 3, 4]), group=st.sampled_from([None, 4, 8]))


def layer(rows=8, width=16, samples=50, seed=0, spread=2.0):
    """A weight, and inputs of which some are much larger than others."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    sizes = torch.exp(spread * torch.randn(width, generator=generator, dtype=torch.float64))
    inputs = torch.randn(samples, width, generator=generator, dtype=torch.float64) * sizes
    return weight, inputs


def error(made, weight, inputs):
    return float((inputs @ (made - weight).T).square().mean())


@settings(max_examples=30, deadline=None)
@given(grid=GRIDS, rows=st.integers(1, 6), samples=st.integers(1, 20), seed=st.integers(0, 99))
def test_outputs_are_never_further_off_than_after_plain_rounding(grid, rows, samples, seed):
    weight, inputs = layer(rows, samples=samples, seed=seed)
    made = awq(weight, inputs, grid)
    assert made.weight.shape == weight.shape
    assert made.scales.shape == (16,)
    assert made.error <= error(rounded(weight, grid), weight, inputs) * (1 + 1e-12)
    assert made.error == pytest.approx(error(made.weight, weight, inputs))
    errors = [
        error(rounded_scaled(weight, channel_scales(inputs, a), grid), weight, inputs)
        for a in ALPHAS
    ]
    assert made.error == pytest.approx(min(errors))
    assert made.alpha == ALPHAS[errors.index(min(errors))]


@settings(max_examples=20, deadline=None)
@given(grid=GRIDS, seed=st.integers(0, 99))
def test_without_a_power_it_is_plain_rounding(grid, seed):
    weight, inputs = layer(seed=seed)
    made = awq(weight, inputs, grid, (0.0,))
    assert torch.equal(made.weight, rounded(weight, grid))
    assert made.alpha == 0
    assert torch.equal(made.scales, torch.ones(16, dtype=torch.float64))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_before_rounding_the_layer_computes_the_same(alpha):
    weight, inputs = layer()
    scales = channel_scales(inputs, alpha)
    folded = (inputs / scales) @ (weight * scales).T
    torch.testing.assert_close(folded, inputs @ weight.T)
    fine = BitGrid(bits=8, group=1)  # a group of one is its own grid: nothing is rounded
    torch.testing.assert_close(rounded_scaled(weight, scales, fine), weight)


def test_scaled_weights_lie_on_a_grid():
    weight, inputs = layer()
    made, grid = awq(weight, inputs, BitGrid(bits=3, group=8)), BitGrid(bits=3, group=8)
    scaled = made.weight * made.scales
    steps = grid.fit(grid.groups(weight * made.scales))
    codes = grid.groups(scaled) / steps.scale + steps.zero
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-9)


def test_large_inputs_meet_weights_that_moved_less():
    gains = []
    for seed in range(8):
        weight, inputs = layer(seed=seed)
        grid = BitGrid(bits=3, group=16)
        made = awq(weight, inputs, grid)
        assert made.alpha > 0
        gains.append(made.error / error(rounded(weight, grid), weight, inputs))
        size = inputs.abs().mean(0)
        moved = (made.weight - weight).abs().mean(0)
        large = size > size.median()
        assert moved[large].mean() < moved[~large].mean()
    assert sum(gains) / len(gains) < 0.5


def test_scales_are_even_around_one_and_an_input_that_is_always_zero_does_no_harm():
    weight, inputs = layer()
    inputs[:, 3] = 0
    scales = channel_scales(inputs, 0.5)
    assert float(scales.max() * scales.min()) == pytest.approx(1)
    made = awq(weight, inputs, BitGrid(bits=3))
    assert made.weight.isfinite().all()
    ratio = channel_scales(inputs * 7, 0.5) / scales
    torch.testing.assert_close(ratio[4:], torch.full((12,), float(ratio[4]), dtype=torch.float64))


def test_bad_powers_are_refused():
    weight, inputs = layer()
    for alphas in ((), (0.5, 1.5), (-0.1,)):
        with pytest.raises(ValueError, match=r"alphas must be numbers in \[0, 1\]"):
            awq(weight, inputs, BitGrid(), alphas)
