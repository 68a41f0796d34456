import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from orrery.systems.foundations.cifar_resnet import CifarResNet, CifarResNetConfig
from orrery.systems.foundations.residual_paths import (
    layer_gradients,
    path_gradients,
    removal_errors,
)

F64 = torch.float64


@pytest.fixture
def examples():
    torch.manual_seed(1)
    return torch.randn(6, 1, 8, 8, dtype=F64), torch.arange(6)


def net(shortcut=True, training=False):
    torch.manual_seed(0)
    config = CifarResNetConfig(depth=8, width=4, shortcut=shortcut)
    return CifarResNet(config).double().train(training)


@pytest.mark.parametrize("training", [True, False])
def test_layer_gradients_are_those_of_the_loss_and_leave_the_net_as_it_was(examples, training):
    model = net(training=training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    norms = layer_gradients(model, *examples)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())
    F.cross_entropy(model(examples[0]), examples[1]).backward()
    expected = [p.grad.norm().item() for p in model.parameters() if p.ndim == 4]
    assert norms == pytest.approx(expected)
    assert len(norms) == 7


def single_path(model, images, labels, routes):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x, routes), labels), x)[0].norm().item()


def test_each_length_is_its_number_of_paths_times_one_of_them(examples):
    model = net()
    found = path_gradients(model, *examples, torch.Generator().manual_seed(3))
    assert len(found) == 4
    for length, size in enumerate(found):
        candidates = [
            math.comb(3, length) * single_path(
                model, *examples, ["branch" if i in chosen else "shortcut" for i in range(3)]
            )
            for chosen in itertools.combinations(range(3), length)
        ]  # fmt: skip
        assert min(abs(size / candidate - 1) for candidate in candidates) < 1e-9


def test_a_plain_net_has_one_path_whatever_is_asked(examples):
    found = path_gradients(net(shortcut=False), *examples, torch.Generator())
    assert found == pytest.approx([math.comb(3, k) * found[0] for k in range(4)])


@pytest.mark.parametrize("shortcut", [True, False])
def test_removal_leaves_out_one_branch(examples, shortcut):
    model, (images, labels) = net(shortcut), examples
    found = removal_errors(model, images, labels)
    for removed, share in enumerate(found):
        x = F.relu(model.norm(model.stem(images)))
        for index, block in enumerate(model.blocks):
            x = block.without_parameters(x) if index == removed else block(x)
        wrong = model.classify(x.mean((2, 3))).argmax(1) != labels
        assert share == pytest.approx(wrong.double().mean().item())


def test_a_block_that_adds_nothing_can_be_removed_for_nothing(examples):
    model, (images, labels) = net(), examples
    torch.nn.init.zeros_(model.blocks[0].bn2.weight)
    whole = (model(images).argmax(1) != labels).double().mean().item()
    assert removal_errors(model, images, labels)[0] == pytest.approx(whole)
