import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from orrery.systems.foundations.resnet_1000 import (
    DeepResNet,
    DeepResNetConfig,
    PreActivationBlock,
    resnet1001,
)
from tests.systems.foundations.nets import on_meta, one_batch, parameters, shake

TINY = {
    "basic": DeepResNetConfig(block="basic", depth=32, width=2, classes=5),
    "bottleneck": DeepResNetConfig(depth=47, width=2, classes=5),
}
kinds = pytest.mark.parametrize("kind", TINY)


@pytest.mark.parametrize(
    "wrong",
    [
        {"block": "wide"},
        {"depth": 2},
        {"depth": 1000},
        {"width": 0},
        {"channels": 0},
        {"classes": 0},
    ],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises((ValueError, TypeError), match=name):
        DeepResNetConfig(**wrong)


def test_a_thousand_and_one_layers():
    model = on_meta(DeepResNet, resnet1001())
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    projections = [b for b in model.blocks if b.projection is not None]
    assert len(layers) - len(projections) == 1001
    assert 10.1e6 < parameters(model) < 10.4e6  # table 4 of the paper: 10.2 million


class Memory(TorchDispatchMode):
    """The most bytes of new tensors that were alive at once."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak, self.known = 0, 0, weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return result

    def count(self, storage):
        if storage in self.known:
            return
        self.known.add(storage)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self.forgotten, storage.nbytes())

    def forgotten(self, size):
        self.alive -= size


def peak(model, images):
    with Memory() as memory:
        model(images).sum().backward()
    return memory.peak


def test_forgetting_saves_most_of_the_memory_and_more_the_deeper_the_net():
    """On the meta device: no numbers, but tensors of the same sizes. Weights are not counted."""
    images = torch.empty(64, 1, 16, 16, device="meta")
    shares = []
    for depth in (38, 92):
        config = DeepResNetConfig(block="basic", depth=depth, width=4)
        whole, forgetful = (
            peak(on_meta(DeepResNet, replace(config, forget=forget)), images)
            for forget in (False, True)
        )
        shares.append(forgetful / whole)
    assert shares[0] < 0.5
    assert shares[1] < 0.33


@kinds
@pytest.mark.parametrize("training", [True, False])
def test_forgetting_changes_no_number(kind, training):
    whole = shake(DeepResNet(replace(TINY[kind], forget=False))).train(training)
    forgetful = DeepResNet(TINY[kind]).double().train(training)
    forgetful.load_state_dict(whole.state_dict())
    images = torch.randn(4, 1, 9, 8, dtype=torch.float64)
    for _ in range(2):
        losses = [
            F.cross_entropy(m(images), torch.arange(4)) for m in (whole, forgetful)
        ]  # fmt: skip
        torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
        for loss in losses:
            loss.backward()
        for mine, other in zip(forgetful.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad)
    torch.testing.assert_close(dict(forgetful.named_buffers()), dict(whole.named_buffers()))


@pytest.mark.parity
@kinds
def test_a_block_equals_a_chain_of_functions(kind):
    config = TINY[kind]
    block = shake(PreActivationBlock(6, 4, 2, config)).eval()
    x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
    steps, y = [2, 1, 1], x
    for index, (norm, conv) in enumerate(zip(block.norms, block.convolutions, strict=True)):
        scale = norm.weight / (norm.running_var + 1e-5).sqrt()
        y = (y - norm.running_mean[:, None, None]) * scale[:, None, None]
        y = (y + norm.bias[:, None, None]).relu()
        if index == 0:
            first = y
        y = F.conv2d(y, conv.weight, stride=steps[index], padding=conv.weight.shape[-1] // 2)
    expected = y + F.conv2d(first, block.projection.weight, stride=2)
    assert expected.std() > 0.3
    torch.testing.assert_close(block(x), expected)


@kinds
def test_nothing_stands_on_the_shortcut(kind):
    """Equations 4 and 5: the stream is what went in plus all branches, and so is its gradient."""
    config = TINY[kind]
    blocks = [shake(PreActivationBlock(4 * config.expansion, 4, 1, config), i) for i in range(5)]
    x = torch.randn(2, 4 * config.expansion, 5, 5, dtype=torch.float64, requires_grad=True)
    stream, branches = x, []
    for block in blocks:
        before = stream
        stream = block(stream)
        branches.append(stream - before)
    torch.testing.assert_close(stream, x + sum(branches))
    for block in blocks:
        torch.nn.init.zeros_(block.convolutions[-1].weight)
    y = x
    for block in blocks:
        y = block(y)
    torch.testing.assert_close(y, x, rtol=0, atol=0)  # negative numbers too


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(sorted(TINY)), st.booleans(), st.integers(1, 3), st.integers(4, 12))
def test_shapes(kind, shortcut, batch, rows):
    config = replace(TINY[kind], depth=20, shortcut=shortcut)
    assert DeepResNet(config).eval()(torch.randn(batch, 1, rows, 7)).shape == (batch, 5)


@kinds
def test_a_batch_is_its_images_one_by_one(kind):
    model = shake(DeepResNet(TINY[kind])).eval()
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(model(images), torch.cat([model(one[None]) for one in images]))


def test_eighty_layers_learn_one_batch_with_shortcuts_and_not_without():
    torch.manual_seed(0)
    images, labels = torch.randn(10, 1, 8, 8), torch.arange(10) % 5
    losses = {}
    for shortcut in (True, False):
        torch.manual_seed(0)
        config = DeepResNetConfig(
            block="basic", depth=80, width=4, classes=5, shortcut=shortcut, forget=False
        )
        losses[shortcut] = one_batch(DeepResNet(config), images, labels, steps=14, rate=0.01)
    assert losses[True][0] > 1.2
    assert losses[True][-1] < 0.7
    assert losses[False][-1] > 1.2
