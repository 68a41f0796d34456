import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from orrery.systems.foundations.resnet_euler import EulerConfig, EulerResNet, SmoothWeights


def net(seed=0, **sizes):
    torch.manual_seed(seed)
    return EulerResNet(EulerConfig(**sizes)).double().requires_grad_(False)


def exact(model, x):
    """Where the equation leads from t = 0 to 1, by a solver of high order."""

    def slope(t, flat):
        return model.branch(torch.tensor(flat).view_as(x), float(t)).numpy().ravel()

    found = solve_ivp(slope, (0, 1), x.numpy().ravel(), method="DOP853", rtol=1e-11, atol=1e-12)
    return torch.tensor(found.y[:, -1]).view_as(x)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"hidden": 0}, {"modes": 0}, {"scale": 0.0}])
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        EulerConfig(**wrong)


def test_no_depth_is_refused():
    with pytest.raises(ValueError, match="depth must be at least 1"):
        net()(torch.zeros(1, 8, dtype=torch.float64), 0)


def test_weights_are_their_series():
    weights = SmoothWeights(2, 3, 4, 1.0)
    a = weights.amplitudes
    expected = a[0] + sum(a[k] * math.cos(math.pi * k * 0.3) for k in range(1, 4))
    torch.testing.assert_close(weights(0.3), expected)


def test_a_layer_of_step_one_is_a_residual_block():
    model = net()
    x = torch.randn(4, 8, dtype=torch.float64)
    torch.testing.assert_close(model(x, 1), x + model.branch(x, 0.0))


@pytest.mark.parity
def test_the_error_halves_with_twice_the_depth():
    model = net(scale=2.0)
    x = torch.randn(4, 8, dtype=torch.float64)
    truth = exact(model, x)
    assert (truth - x).norm() > 1  # the equation leads somewhere
    errors = [float((model(x, depth) - truth).norm()) for depth in (32, 64, 128, 256)]
    ratios = np.divide(errors[1:], errors[:-1])
    np.testing.assert_allclose(ratios, 0.5, atol=0.04)
    assert errors[-1] < 0.01 * (truth - x).norm()


def test_without_the_scale_there_is_no_limit():
    model = net(scale=2.0)
    x = torch.randn(4, 8, dtype=torch.float64)
    truth = exact(model, x)
    away = [float((model(x, depth, scaled=False) - truth).norm()) for depth in (8, 32, 128)]
    assert away == sorted(away)
    assert away[-1] > 10 * (truth - x).norm()


def test_rough_weights_are_not_followed():
    """With as many cosines as layers, neighbouring layers have nothing to do with each other."""
    x = torch.randn(16, 8, dtype=torch.float64)
    missed = {}
    for modes in (2, 64):
        model = net(modes=modes, scale=3.0)
        truth = exact(model, x)
        missed[modes] = float((model(x, 16) - truth).norm() / (truth - x).norm())
    assert missed[2] < 0.1
    assert missed[64] > 3 * missed[2]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 9))
def test_shapes_and_a_batch_is_its_rows(batch, width, depth):
    model = net(width=width)
    x = torch.randn(batch, width, dtype=torch.float64)
    singly = torch.cat([model(row[None], depth) for row in x])
    torch.testing.assert_close(model(x, depth), singly)


def test_a_net_trained_at_one_depth_works_at_another():
    """Two rings are pushed apart by 8 layers; 32 layers with the same functions do it too."""
    torch.manual_seed(0)
    model = EulerResNet(EulerConfig(width=3, hidden=16, scale=2.0))
    angle = torch.rand(200) * 2 * math.pi
    labels = torch.arange(200) % 2
    radius = 0.5 + labels.float()
    x = torch.stack([radius * angle.cos(), radius * angle.sin(), torch.zeros(200)], 1)
    optimiser = torch.optim.Adam(model.parameters(), 0.03)
    losses = []
    for _ in range(80):
        score = model(x, 8)[:, 2] * 4
        loss = torch.nn.functional.binary_cross_entropy_with_logits(score, labels.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.2
    right = ((model(x, 32)[:, 2] > 0) == (labels > 0)).float().mean()
    assert right > 0.95
