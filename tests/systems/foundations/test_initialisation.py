import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.foundations.activations import relu, tanh
from orrery.systems.foundations.initialisation import (
    fans,
    he_normal_,
    he_uniform_,
    he_variance,
    relu_mean_square,
    tanh_mean_square,
    xavier_normal_,
    xavier_uniform_,
    xavier_variance,
)
from orrery.systems.foundations.signal_propagation import forward_map, mean_slope

F64 = torch.float64
SHAPES = [(5, 7), (64, 32), (8, 4, 3, 3), (6, 3, 5)]


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parity
@pytest.mark.parametrize("shape", SHAPES)
def test_draws_equal_torchs_from_the_same_generator(shape):
    pairs = [
        (xavier_uniform_, nn.init.xavier_uniform_, {"gain": 1.7}),
        (xavier_normal_, nn.init.xavier_normal_, {"gain": 0.3}),
    ]
    for mode in ("fan_in", "fan_out"):
        for ours, theirs in (
            (he_uniform_, nn.init.kaiming_uniform_), (he_normal_, nn.init.kaiming_normal_),
        ):  # fmt: skip
            pairs.append((ours, lambda w, t=theirs, **kw: t(w, nonlinearity="relu", **kw),
                          {"mode": mode}))  # fmt: skip
    for ours, theirs, options in pairs:
        found = ours(torch.empty(shape, dtype=F64), stream(), **options)
        expected = theirs(torch.empty(shape, dtype=F64), generator=stream(), **options)
        torch.testing.assert_close(found, expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.lists(st.integers(1, 4), max_size=2))
def test_fans_count_what_goes_in_and_out(outputs, inputs, kernel):
    weight = torch.ones(outputs, inputs, *kernel)
    n_in, n_out = fans(weight)
    assert n_in == weight[0].numel()
    assert n_out == weight[:, 0].numel()
    assert xavier_variance(weight) == pytest.approx(2 / (n_in + n_out))
    assert he_variance(weight) == pytest.approx(2 / n_in)
    assert he_variance(weight, "fan_out") == pytest.approx(2 / n_out)


@pytest.mark.parametrize("fill", [xavier_uniform_, xavier_normal_, he_uniform_, he_normal_])
def test_draws_have_their_variance_and_no_mean_in_place(fill):
    layer = nn.Linear(300, 500)
    generator = stream()
    assert fill(layer.weight, generator) is layer.weight
    variance = (xavier_variance if "xavier" in fill.__name__ else he_variance)(layer.weight)
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.02)
    assert abs(layer.weight.mean().item()) < 4 * math.sqrt(variance / layer.weight.numel())
    bound = math.sqrt(3 * variance) if "uniform" in fill.__name__ else math.inf
    assert layer.weight.abs().max() <= bound


def test_fifty_relu_layers_keep_the_signal_with_he_and_lose_it_with_xavier():
    generator, x = stream(), torch.randn(64, 300, dtype=F64, generator=stream(1))
    for fill, scale in ((he_normal_, 2.0), (xavier_normal_, 1.0)):
        h = x
        for _ in range(50):
            weight = fill(torch.empty(300, 300, dtype=F64), generator)
            h = relu(h) @ weight.T
        predicted = relu_mean_square(1.0, 50, scale)
        assert abs(math.log(h.square().mean().item() / predicted)) < 1.5
    assert relu_mean_square(1.0, 50, 2.0) == 1
    assert relu_mean_square(1.0, 50, 1.0) == pytest.approx(2**-50)


def test_the_relu_map_is_the_gaussian_integral_repeated():
    q = 0.7
    for _ in range(5):
        q = forward_map(relu, q, 1.3)
    assert relu_mean_square(0.7, 5, 1.3) == pytest.approx(q)
    assert mean_slope(relu, 0.7, 2.0) == pytest.approx(0)  # He keeps gradients, too
    assert mean_slope(relu, 0.7, 1.0) == pytest.approx(-0.5 * math.log(2))  # Xavier does not


def test_the_tanh_map_agrees_to_second_order_and_decays_slowly_with_xavier():
    for q in (1e-2, 1e-3):
        exact = forward_map(tanh, q, 1.0)
        assert abs(tanh_mean_square(q, 1, 1.0) - exact) < 10 * q**3
    assert abs(mean_slope(tanh, 1e-3, 1.0)) < 2e-3  # near 0 a gradient passes unchanged
    assert tanh_mean_square(0.1, 500, 1.0) == pytest.approx(1 / 1_000, rel=0.1)
    assert tanh_mean_square(0.1, 50, 0.5) < 1e-16


def test_a_square_layer_keeps_a_gradient_as_it_keeps_a_signal():
    weight = xavier_normal_(torch.empty(800, 800, dtype=F64), stream())
    x = torch.randn(64, 800, dtype=F64, generator=stream(2))
    for y in (x @ weight.T, x @ weight):  # forwards, backwards
        assert y.square().mean().item() == pytest.approx(x.square().mean().item(), rel=0.05)
