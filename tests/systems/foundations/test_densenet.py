import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.densenet import (
    DenseBlock,
    DenseLayer,
    DenseNet,
    DenseNetConfig,
    Transition,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
)
from tests.systems.foundations.nets import (
    batch_norm,
    on_meta,
    one_batch,
    parameters,
    shake,
    shapes,
)

TINY = DenseNetConfig(blocks=(2, 3, 1, 2), growth=4, width=6, bottleneck=2, classes=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"blocks": ()},
        {"blocks": (2, 0)},
        {"growth": 0},
        {"width": 1},
        {"bottleneck": 0},
        {"dropout": 1.0},
        {"channels": 0},
        {"classes": 0},
    ],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        DenseNetConfig(**wrong)


def layout(blocks, k, maps):
    """Names and shapes of the published weights, by the rule of the paper's table 1."""
    found = {"features.conv0.weight": (maps, 3, 7, 7), **batch_norm("features.norm0", maps)}
    for index, layers in enumerate(blocks, 1):
        for layer in range(1, layers + 1):
            at = f"features.denseblock{index}.denselayer{layer}."
            found |= batch_norm(f"{at}norm1", maps) | batch_norm(f"{at}norm2", 4 * k)
            found[f"{at}conv1.weight"] = (4 * k, maps, 1, 1)
            found[f"{at}conv2.weight"] = (k, 4 * k, 3, 3)
            maps += k
        if index < len(blocks):
            at = f"features.transition{index}."
            found |= batch_norm(f"{at}norm", maps)
            found[f"{at}conv.weight"] = (maps // 2, maps, 1, 1)
            maps //= 2
    found |= batch_norm("features.norm5", maps)
    return found | {"classifier.weight": (1000, maps), "classifier.bias": (1000,)}


@pytest.mark.parametrize(
    ("preset", "count", "blocks", "k", "maps", "layers"),
    [
        (densenet121, 7_978_856, (6, 12, 24, 16), 32, 64, 121),
        (densenet161, 28_681_000, (6, 12, 36, 24), 48, 96, 161),
        (densenet169, 14_149_480, (6, 12, 32, 32), 32, 64, 169),
        (densenet201, 20_013_928, (6, 12, 48, 32), 32, 64, 201),
    ],
)
def test_presets_have_the_published_layout_and_size(preset, count, blocks, k, maps, layers):
    model = on_meta(DenseNet, preset())
    assert parameters(model) == count
    assert shapes(model) == layout(blocks, k, maps)
    weights = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(weights) == layers


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 5), st.integers(2, 20))
def test_a_block_has_as_many_parameters_as_the_formula_says(layers, k, bottleneck, k0):
    """Layer l reads m = k_0 + k (l - 1) maps, with 2m + m b k + 2 b k + 9 b k^2 parameters."""
    config = DenseNetConfig(blocks=(layers,), growth=k, width=k0, bottleneck=bottleneck)
    read = layers * k0 + k * layers * (layers - 1) // 2  # the sum of m over the layers
    bk = bottleneck * k
    expected = read * (2 + bk) + layers * (2 * bk + 9 * bk * k)
    assert parameters(DenseBlock(k0, layers, config)) == expected


def test_a_block_concatenates_and_never_changes_what_it_was_given():
    block = shake(DenseBlock(6, 3, TINY)).eval()
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    y = block(x)
    assert y.shape == (2, 6 + 3 * 4, 5, 5)
    torch.testing.assert_close(y[:, :6], x, rtol=0, atol=0)
    seen = [x]
    for layer in block.children():
        seen.append(layer(torch.cat(seen, 1)))  # equation 2: all that came before
    torch.testing.assert_close(y, torch.cat(seen, 1))


def test_every_layer_reads_every_layer_before_it():
    block = shake(DenseBlock(6, 4, TINY)).eval()
    last = list(block.children())[-1]
    x = torch.randn(1, 6, 5, 5, dtype=torch.float64)
    read = []
    last.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    block(x)
    maps = read[0].detach().requires_grad_()
    last(maps).sum().backward()
    assert (maps.grad.abs().sum((0, 2, 3)) > 0).all()
    assert maps.shape[1] == 6 + 3 * 4


@pytest.mark.parity
def test_a_layer_and_a_transition_equal_chains_of_functions():
    def normed(bn, y):
        mean, var, a, b = (
            t[:, None, None] for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias)
        )
        return ((y - mean) / (var + 1e-5).sqrt() * a + b).relu()

    x = torch.randn(2, 7, 6, 5, dtype=torch.float64)
    layer = shake(DenseLayer(7, TINY)).eval()
    y = torch.einsum("bcyx,oc->boyx", normed(layer.norm1, x), layer.conv1.weight[:, :, 0, 0])
    y = F.conv2d(normed(layer.norm2, y), layer.conv2.weight, padding=1)
    assert y.std() > 0.3
    torch.testing.assert_close(layer(x), y)
    transition = shake(Transition(7)).eval()
    y = torch.einsum(
        "bcyx,oc->boyx", normed(transition.norm, x), transition.conv.weight[:, :, 0, 0]
    )
    y = y[:, :, :, :4].unflatten(3, (2, 2)).unflatten(2, (3, 2)).mean((3, 5))
    torch.testing.assert_close(transition(x), y)


@pytest.mark.parity
def test_the_net_is_its_parts_in_order():
    model = shake(DenseNet(TINY)).eval()
    f = model.features
    images = torch.randn(2, 3, 64, 70, dtype=torch.float64)
    x = F.max_pool2d(f.norm0(F.conv2d(images, f.conv0.weight, stride=2, padding=3)).relu(), 3, 2, 1)
    x = f.transition1(f.denseblock1(x))
    x = f.transition2(f.denseblock2(x))
    x = f.transition3(f.denseblock3(x))
    x = f.norm5(f.denseblock4(x)).relu().mean((2, 3))
    x = x @ model.classifier.weight.T + model.classifier.bias
    assert x.std() > 0.2
    torch.testing.assert_close(model(images), x)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 3), st.integers(33, 70), st.integers(33, 70), st.integers(2, 9))
def test_shapes(batch, rows, columns, width):
    config = DenseNetConfig(blocks=(1, 2), growth=3, width=width, bottleneck=1, classes=4)
    assert DenseNet(config).eval()(torch.randn(batch, 3, rows, columns)).shape == (batch, 4)


def test_a_batch_is_its_images_one_by_one():
    model = shake(DenseNet(TINY)).eval()
    images = torch.randn(3, 3, 40, 40, dtype=torch.float64)
    torch.testing.assert_close(model(images), torch.cat([model(one[None]) for one in images]))


def test_one_batch_can_be_learned():
    torch.manual_seed(0)
    losses = one_batch(DenseNet(TINY), torch.randn(8, 3, 40, 40), torch.arange(8) % 5, steps=40)
    assert losses[0] > 1.2
    assert losses[-1] < 0.1
