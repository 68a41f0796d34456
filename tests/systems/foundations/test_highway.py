import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from orrery.systems.foundations.highway import Highway, HighwayConfig, HighwayLayer
from tests.systems.foundations.nets import one_batch, parameters, shake


@pytest.mark.parametrize(
    "wrong", [{"inputs": 0}, {"width": 0}, {"depth": 0}, {"classes": 0}, {"activation": "gelu"}]
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises((ValueError, TypeError), match=name):
        HighwayConfig(**wrong)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_layer_is_equation_3(activation):
    layer = shake(HighwayLayer(HighwayConfig(width=6, activation=activation)))
    x = torch.randn(4, 6, dtype=torch.float64)
    t = 1 / (1 + (-(x @ layer.gate.weight.T + layer.gate.bias)).exp())
    h = getattr(torch, activation)(x @ layer.transform.weight.T + layer.transform.bias)
    torch.testing.assert_close(layer(x), h * t + x * (1 - t))
    assert torch.autograd.gradcheck(layer, x.clone().requires_grad_())


@pytest.mark.parametrize(("bias", "share"), [(-60.0, 0.0), (60.0, 1.0)])
def test_a_closed_gate_is_the_identity_and_an_open_one_a_plain_layer(bias, share):
    layer = HighwayLayer(HighwayConfig(width=5, gate_bias=bias)).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    plain = torch.relu(layer.transform(x))
    torch.testing.assert_close(layer(x), share * plain + (1 - share) * x)


def test_a_closed_net_passes_the_gradient_unchanged():
    """Equation 5: the Jacobian is the identity where T = 0."""
    layer = HighwayLayer(HighwayConfig(width=5, gate_bias=-800.0)).double()
    x = torch.randn(5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer(v[None])[0], x)
    torch.testing.assert_close(jacobian, torch.eye(5, dtype=torch.float64))


def test_the_first_openings_follow_from_the_bias():
    net = Highway(HighwayConfig(depth=4, width=32, gate_bias=-3.0))
    openings = net.openings(torch.randn(64, 64))
    assert openings.shape == (4, 64, 32)
    assert 0.02 < openings.mean() < 0.09  # sigmoid(-3) is 0.047
    with pytest.raises(ValueError, match="gated"):
        Highway(HighwayConfig(gated=False)).openings(torch.randn(1, 64))


def test_gates_double_the_weights_of_a_layer():
    gated, plain = (parameters(Highway(HighwayConfig(depth=7, gated=g))) for g in (True, False))
    assert gated - plain == 7 * (50 * 50 + 50)


def test_fifty_layers_learn_digits_where_a_plain_net_does_not():
    pixels, labels = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels[:256] / 8 - 1).float(), torch.tensor(labels[:256])
    losses = {}
    for gated in (True, False):
        torch.manual_seed(0)
        net = Highway(HighwayConfig(depth=50, width=24, gated=gated, activation="tanh"))
        losses[gated] = one_batch(net, images, labels, steps=40, rate=0.01)
        if gated:
            openings = net.openings(images)
            assert openings.mean((1, 2)).std() > 0.005  # layers open differently
            assert openings.std(1).max() > 0.1  # and gates answer to the image
    assert min(losses[True][0], losses[False][0]) > 2.2
    assert losses[True][-1] < 0.6
    assert losses[False][-1] > 1.2


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 5), st.booleans())
def test_shapes(batch, width, depth, gated):
    net = Highway(HighwayConfig(inputs=3, width=width, depth=depth, classes=4, gated=gated))
    assert net(torch.randn(batch, 3)).shape == (batch, 4)


def test_a_batch_is_its_rows_one_by_one():
    net = shake(Highway(HighwayConfig(depth=5)))
    x = torch.randn(3, 64, dtype=torch.float64)
    torch.testing.assert_close(net(x), torch.cat([net(row[None]) for row in x]))


def test_one_batch_can_be_learned():
    torch.manual_seed(0)
    net = Highway(HighwayConfig(depth=8, width=16, classes=5))
    losses = one_batch(net, torch.randn(8, 64), torch.arange(8) % 5, steps=60)
    assert losses[0] > 1.2
    assert losses[-1] < 0.05
    loss = F.cross_entropy(net(torch.randn(4, 64)), torch.arange(4))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
