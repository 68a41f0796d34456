import pytest
import torch
from pydantic import ValidationError

from orrery.experiments.foundations._equation import Branches, Classifier, unlike
from orrery.experiments.foundations.resnet_euler import ResnetEulerSettings
from orrery.lab.inline import run_inline
from orrery.systems.foundations.resnet_euler import EulerConfig, EulerResNet

TINY = {"depths": (2, 4), "depth": 2, "width": 3, "steps": 1, "images": 16}


def branches(depth, power=-1.0, *, smooth=True, seed=0):
    torch.manual_seed(seed)
    net = Branches(EulerConfig(scale=2.0), depth, power, smooth=smooth)
    return net.double().requires_grad_(False)


def units(count=5):
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("depths", [(8,), (16, 8), (8, 8)])
def test_depths_that_do_not_grow_are_refused(depths):
    with pytest.raises(ValidationError, match="grow"):
        ResnetEulerSettings(depths=depths)


def test_smooth_and_scaled_it_is_the_system():
    torch.manual_seed(0)
    system = EulerResNet(EulerConfig(scale=2.0)).double().requires_grad_(False)
    torch.testing.assert_close(branches(6).euler(units()), system(units(), 6))


def test_between_layers_the_branch_is_blended():
    net, x = branches(4, 0.0, smooth=False), units()
    blend = 0.75 * net.at(x, 1.0) + 0.25 * net.at(x, 2.0)
    torch.testing.assert_close(net.at(x, 1.25), blend)
    torch.testing.assert_close(net.at(x, 3.5), net.at(x, 3.0))  # behind the last layer, as there


def test_the_flow_is_the_limit_of_small_steps():
    net, x = branches(4), units()
    led = net.flow(x, 1 / 8)
    away = [float((net.euler(x, step) - led).norm()) for step in (1.0, 1 / 2, 1 / 64, 1 / 128)]
    assert away[3] < 0.02 * away[0]
    assert away[3] / away[2] == pytest.approx(0.5, abs=0.02)
    assert float((net.flow(x, 1 / 16) - led).norm()) < 1e-5 * away[0]


def test_neighbours_alike_or_strangers():
    torch.manual_seed(0)
    pixels = torch.randn(32, 1, 14, 14, dtype=torch.float64)
    found = {}
    for smooth in (True, False):
        net = Classifier(branches(16, smooth=smooth), 8).double()
        found[smooth] = unlike(net, pixels)
    assert found[True] < 0.4
    assert found[False] == pytest.approx(1.0, abs=0.15)
    table = net.branches.net.outer.weights
    table[:], net.branches.net.inner.weights[:] = table[0].clone(), 0.0
    net.branches.net.inner.weights[:, :, -1] = 1.0  # all layers the same
    assert unlike(net, pixels) < 1e-7


def test_with_independent_layers_everywhere_the_families_are_one(tmp_path):
    measured = run_inline(
        "foundations/resnet_euler", tmp_path, ablation="independent_everywhere", **TINY
    )
    assert measured["smooth/order"] == measured["independent/order"] == measured["unscaled/order"]
    assert measured["smooth/error"] == measured["independent/error"]
