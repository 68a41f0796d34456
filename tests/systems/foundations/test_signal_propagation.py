import math

import pytest
import torch
from torch import nn

from orrery.systems.foundations.activations import Activation, relu, sigmoid, tanh
from orrery.systems.foundations.signal_propagation import (
    bound_slope,
    fitted_slope,
    forward_map,
    gradient_bound,
    gradient_norms,
    mean_slope,
    mean_squares,
)

F64 = torch.float64
FUNCTIONS = {"relu": (relu, 1.0), "tanh": (tanh, 1.0), "sigmoid": (sigmoid, 0.25)}
each = pytest.mark.parametrize("name", FUNCTIONS)


def stack(name, depth, width, scale, seed=0):
    """Layers of one linear map and one activation, with fan-in times variance `scale`."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False, dtype=F64)
        nn.init.normal_(linear.weight, std=math.sqrt(scale / width), generator=generator)
        layers.append(nn.Sequential(Activation(name), linear))
    return layers


def inputs(n, width, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, dtype=F64, generator=generator)


def squared(y):
    return y.square().sum() / 2


def test_gradients_of_a_chain_of_numbers_are_products_of_weights_and_slopes():
    weights = [0.5, -2.0, 3.0]
    layers = []
    for w in weights:
        linear = nn.Linear(1, 1, bias=False, dtype=F64)
        nn.init.constant_(linear.weight, w)
        layers.append(nn.Sequential(linear, Activation("tanh")))
    x = torch.tensor([[0.3]], dtype=F64)
    found = gradient_norms(layers, x, lambda y: y.sum())
    h, factors = 0.3, []
    for w in weights:
        h = math.tanh(w * h)
        factors.append(abs(w) * (1 - h * h))
    expected = [math.prod(factors[i:]) for i in range(4)]
    assert found == pytest.approx(expected)
    assert mean_squares(layers, x)[-1] == pytest.approx(h * h)


@each
@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
def test_no_gradient_exceeds_the_bound(name, scale):
    _, steepest = FUNCTIONS[name]
    layers = stack(name, 6, 16, scale)
    norms = gradient_norms(layers, inputs(1, 16), squared)
    weights = [layer[1].weight for layer in layers]
    assert norms[0] <= norms[-1] * gradient_bound(weights, steepest) * (1 + 1e-9)
    for below, above, weight in zip(norms, norms[1:], weights, strict=False):
        assert math.log(below / above) <= bound_slope(weight, steepest) + 1e-9


def test_the_bound_is_reached_and_norms_above_one_do_not_force_an_explosion():
    twice = 2 * torch.eye(3, dtype=F64)
    assert gradient_bound([twice] * 3, 1.0) == pytest.approx(8)
    first, second = (nn.Linear(2, 2, bias=False, dtype=F64) for _ in range(2))
    first.weight.data = torch.diag(torch.tensor([2.0, 0], dtype=F64))
    second.weight.data = torch.diag(torch.tensor([0, 2.0], dtype=F64))
    x = torch.ones(1, 2, dtype=F64)
    assert gradient_bound([first.weight, second.weight], 1.0) == pytest.approx(4)
    assert gradient_norms([first, second], x, lambda y: y.sum())[0] == 0


@each
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 4.0])
def test_a_wide_stack_follows_the_mean_maps(name, scale):
    """Ten layers of 400 units; single layers stray by a tenth, their mean hardly."""
    function, _ = FUNCTIONS[name]
    layers = stack(name, 10, 400, scale)
    x = inputs(8, 400)
    q, growth, slopes = x.square().mean().item(), [], []
    for found in mean_squares(layers, x):
        slopes.append(mean_slope(function, q, scale))
        growth.append(math.log(found / forward_map(function, q, scale)))
        q = found
    assert sum(growth) / 10 == pytest.approx(0, abs=0.12)
    norms = gradient_norms(layers, x, lambda y: (y * inputs(8, 400, seed=6)).sum())
    assert fitted_slope(norms) == pytest.approx(sum(slopes) / 10, abs=0.06)


def test_the_maps_have_their_closed_forms():
    for q in (0.1, 1.0, 7.0):
        assert forward_map(relu, q, 3.0) == pytest.approx(1.5 * q)
        assert mean_slope(relu, q, 3.0) == pytest.approx(0.5 * math.log(1.5))
        assert forward_map(lambda z: z, q, 3.0) == pytest.approx(3 * q)
        assert forward_map(torch.sin, q, 1.0) == pytest.approx((1 - math.exp(-2 * q)) / 2)
    assert mean_slope(tanh, 0.0, 1.0) == pytest.approx(0)
    assert mean_slope(sigmoid, 0.0, 16.0) == pytest.approx(0)  # sixteen undoes a quarter, squared
    samples = inputs(2_000, 100) * math.sqrt(2)
    assert forward_map(tanh, 2.0, 1.0) == pytest.approx(
        samples.tanh().square().mean().item(), rel=0.01
    )


def test_a_slope_is_fitted_downwards():
    assert fitted_slope([8.0, 4.0, 2.0, 1.0]) == pytest.approx(math.log(2))  # explodes going down
    assert fitted_slope([1.0, 10.0]) == pytest.approx(-math.log(10))  # vanishes


@pytest.mark.parametrize("norms", [[], [1.0], [1.0, 0.0], [1.0, -1.0]])
def test_norms_without_a_slope_are_refused(norms):
    with pytest.raises(ValueError, match="norms"):
        fitted_slope(norms)


def test_a_mean_square_below_zero_is_refused():
    with pytest.raises(ValueError, match="q must be"):
        forward_map(tanh, -1.0, 1.0)


def test_any_modules_are_layers_and_none_gets_a_gradient():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3)]
    norms = gradient_norms(layers, torch.randn(2, 1, 6, 6), squared)
    assert len(norms) == 5
    assert min(norms) > 0
    assert all(p.grad is None for layer in layers for p in layer.parameters())
