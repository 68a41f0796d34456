import dataclasses
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from orrery.systems.foundations.alexnet import AlexNet, AlexNetConfig, alexnet_2012
from orrery.systems.foundations.model_parallel import Tower, cross_talk, share_of, side_by_side
from tests.systems.foundations.nets import on_meta, one_batch, parameters, shake

CONFIG = AlexNetConfig(
    widths=(8, 12, 8, 8, 4), groups=2, response_norm=True, hidden=16, classes=6, dropout=0.0
)


def whole_net():
    net = shake(AlexNet(CONFIG))
    images = torch.randn(3, 3, 70, 64, dtype=torch.float64)
    return net, images, torch.tensor([1, 5, 0])


def two_towers(net):
    towers = [Tower(CONFIG).double() for _ in range(2)]
    for which, tower in enumerate(towers):
        tower.load_state_dict(share_of(net.state_dict(), which))
    return towers


@pytest.mark.parametrize("wrong", [{"groups": 1}, {"classes": 5}, {"hidden": 15}])
def test_a_net_that_cannot_be_shared_is_refused(wrong):
    (name,) = wrong
    sizes = {"widths": (8, 12, 8, 8, 4), "groups": 2, "classes": 6, "hidden": 16}
    with pytest.raises(ValueError, match=name):
        Tower(AlexNetConfig(**sizes | wrong))


def test_each_device_holds_half_of_the_papers_net():
    tower = on_meta(Tower, alexnet_2012())
    assert parameters(tower) * 2 == 60_965_224
    maps = [m.out_channels for m in tower.features if isinstance(m, torch.nn.Conv2d)]
    assert maps == [48, 128, 192, 192, 128]  # figure 2


def test_towers_bend_and_pool_as_the_whole_net_does():
    config = dataclasses.replace(CONFIG, activation="tanh", fields=2)
    net = shake(AlexNet(config))
    towers = [Tower(config).double() for _ in range(2)]
    for which, tower in enumerate(towers):
        tower.load_state_dict(share_of(net.state_dict(), which))
    images = torch.randn(2, 3, 70, 64, dtype=torch.float64)
    torch.testing.assert_close(side_by_side(towers, images), net(images))


def test_two_devices_are_the_grouped_net():
    net, images, labels = whole_net()
    towers = two_towers(net)
    logits = side_by_side(towers, images)
    assert logits.std() > 0.2
    torch.testing.assert_close(logits, net(images))
    F.cross_entropy(logits, labels).backward()
    F.cross_entropy(net(images), labels).backward()
    wanted = {name: p.grad for name, p in net.named_parameters()}
    for which, tower in enumerate(towers):
        found = {name: p.grad for name, p in tower.named_parameters()}
        torch.testing.assert_close(found, share_of(wanted, which))


def test_one_tower_is_the_whole():
    net, images, _ = whole_net()
    tower = Tower(CONFIG, towers=1).double()
    tower.load_state_dict(net.state_dict())
    torch.testing.assert_close(side_by_side([tower], images), net(images))
    part = torch.randn(2, 3)
    assert cross_talk(part) is part


def test_devices_talk_in_four_places_and_nowhere_else():
    """A change on the second device reaches the first one's next segment, not its own."""
    net, images, _ = whole_net()
    one, two = two_towers(net)
    for parameter in two.features[3].parameters():
        parameter.data.add_(1)  # the second convolution of the second device
    changed = side_by_side([one, two], images)
    assert not torch.allclose(changed, net(images))
    assert len(one.segments()) == 5
    first = [tower.segments()[0](images) for tower in (one, two)]
    same = [tower.segments()[0](images) for tower in two_towers(net)]
    torch.testing.assert_close(first[0], same[0])
    assert not torch.allclose(first[1], same[1])


def test_two_towers_learn():
    torch.manual_seed(0)
    towers = torch.nn.ModuleList(Tower(CONFIG) for _ in range(2))
    towers.forward = lambda images: side_by_side(list(towers), images)
    losses = one_batch(towers, torch.randn(8, 3, 64, 64), torch.arange(8) % 6, steps=120)
    assert losses[0] > 1.5
    assert losses[-1] < 0.2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_are_the_grouped_net(tmp_path):
    net, images, labels = whole_net()
    given = net.state_dict() | {"images": images, "labels": labels}
    save_file(given, tmp_path / "given.safetensors")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone",
         "--nproc-per-node=2", "-m", "tests.systems.foundations.two_towers", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    logits = net(images)
    F.cross_entropy(logits, labels).backward()
    wanted = {name: p.grad for name, p in net.named_parameters()}
    for which in range(2):
        found = load_file(tmp_path / f"tower{which}.safetensors")
        torch.testing.assert_close(found.pop("logits"), logits.detach())
        torch.testing.assert_close(found, share_of(wanted, which))
