import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.activations import (
    RIVALS,
    Activation,
    dead_rate,
    elu,
    leaky_relu,
    relu,
    sigmoid,
    slope,
    tanh,
)

F64 = torch.float64
REFERENCES = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}
ENDS = torch.tensor([-800.0, -40.0, -1e-9, -0.0, 0.0, 1e-9, 40.0, 800.0], dtype=F64)
each = pytest.mark.parametrize("name", RIVALS)


@pytest.mark.parity
@each
def test_values_and_slopes_equal_torchs(name):
    x = torch.cat([torch.linspace(-6, 6, 400, dtype=F64), ENDS])
    torch.testing.assert_close(RIVALS[name](x), REFERENCES[name](x))
    torch.testing.assert_close(slope(RIVALS[name], x), slope(REFERENCES[name], x))


@pytest.mark.parity
def test_constants_are_where_torch_has_them():
    x = torch.linspace(-6, 6, 101, dtype=F64)
    torch.testing.assert_close(leaky_relu(x, 0.3), F.leaky_relu(x, 0.3))
    torch.testing.assert_close(elu(x, 2.0), F.elu(x, 2.0))


@each
def test_gradcheck_away_from_the_kinks(name):
    x = torch.tensor([-3.0, -0.7, 0.4, 2.5], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(RIVALS[name], x)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(RIVALS)), st.lists(st.integers(0, 4), max_size=4))
def test_any_shape_and_type_stays(name, shape):
    x = torch.randn(shape, dtype=torch.float32)
    y = Activation(name)(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)


def test_the_slope_of_a_sigmoid_is_at_most_a_quarter_and_that_of_relu_is_none_or_one():
    x = torch.linspace(-8, 8, 4001, dtype=F64)  # with 0 in it
    steepest = slope(sigmoid, x)
    assert steepest.max().item() == pytest.approx(0.25, abs=1e-15)
    assert x[steepest.argmax()].item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(steepest, sigmoid(x) * (1 - sigmoid(x)))
    torch.testing.assert_close(slope(tanh, x), 1 - tanh(x).square())
    assert set(slope(relu, x).tolist()) == {0.0, 1.0}


def test_a_unit_is_dead_when_no_example_reaches_it():
    inputs = torch.tensor([[-1.0, 2.0, -3.0, 0.0], [-2.0, -1.0, 0.5, 0.0]])
    assert dead_rate(relu, inputs) == 0.5  # the first and the last: at 0 relu's slope is 0
    assert dead_rate(leaky_relu, inputs) == 0
    assert dead_rate(sigmoid, 100 * inputs) == 0
    assert dead_rate(sigmoid, 100 * inputs, below=1e-6) == 0.75
    assert dead_rate(sigmoid, 100 * inputs[:1], below=1e-6) == 0.75


def test_a_dead_unit_never_learns_again_and_a_leaky_one_does():
    x = torch.rand(32, 2, dtype=F64)
    for function, revives in ((relu, False), (leaky_relu, True)):
        torch.manual_seed(0)
        layer = torch.nn.Linear(2, 1).double()
        torch.nn.init.constant_(layer.bias, -9.0)
        before = layer.bias.item()
        for _ in range(20):
            layer.zero_grad()
            (function(layer(x)) - 1).square().mean().backward()
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter -= 0.5 * parameter.grad
        assert (layer.bias.item() > before) == revives


def test_a_net_without_a_bend_cannot_learn_exclusive_or():
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]], dtype=F64)
    y = torch.tensor([0.0, 1, 1, 0], dtype=F64)
    losses = {}
    for name in ("relu", "none"):
        torch.manual_seed(1)
        bend = Activation("relu") if name == "relu" else torch.nn.Identity()
        net = torch.nn.Sequential(torch.nn.Linear(2, 16), bend, torch.nn.Linear(16, 1)).double()
        optimiser = torch.optim.Adam(net.parameters(), 0.05)
        for _ in range(150):
            loss = (net(x)[:, 0] - y).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[name] = loss.item()
    assert losses["relu"] < 1e-2
    assert losses["none"] > 0.2


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="maxout"):
        Activation("maxout")
    assert math.isclose(float(Activation("silu")(torch.tensor(0.0))), 0.0)
