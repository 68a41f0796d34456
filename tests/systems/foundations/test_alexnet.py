import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.alexnet import (
    AlexNet,
    AlexNetConfig,
    ResponseNorm,
    alexnet,
    alexnet_2012,
)
from tests.systems.foundations.nets import on_meta, one_batch, parameters, shake, shapes

TINY = AlexNetConfig(widths=(8, 8, 12, 8, 8), hidden=32, classes=5)
TINY_2012 = AlexNetConfig(
    widths=(8, 8, 12, 8, 8), hidden=32, classes=5, groups=2, response_norm=True
)
TANH = AlexNetConfig(widths=(8, 8, 12, 8, 8), hidden=32, classes=5, activation="tanh", fields=2)
all_three = pytest.mark.parametrize("config", [TINY, TINY_2012, TANH], ids=["one", "2012", "tanh"])
both = pytest.mark.parametrize("config", [TINY, TINY_2012], ids=["published", "2012"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"widths": (64, 192, 0, 256, 256)},
        {"groups": 0},
        {"hidden": 0},
        {"fields": 0},
        {"channels": 0},
        {"classes": 0},
        {"pool": 1},
        {"dropout": 1.0},
    ],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        AlexNetConfig(**wrong)


def test_widths_must_fall_into_groups():
    with pytest.raises(ValueError, match="groups=3"):
        AlexNetConfig(groups=3)


def test_the_published_layout_and_size():
    model = on_meta(AlexNet, alexnet())
    assert parameters(model) == 61_100_840
    expected = {}
    for place, (outputs, inputs, side) in {
        0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3),
    }.items():  # fmt: skip
        expected[f"features.{place}.weight"] = (outputs, inputs, side, side)
        expected[f"features.{place}.bias"] = (outputs,)
    for place, (outputs, inputs) in {1: (4096, 9216), 4: (4096, 4096), 6: (1000, 4096)}.items():
        expected[f"classifier.{place}.weight"] = (outputs, inputs)
        expected[f"classifier.{place}.bias"] = (outputs,)
    assert shapes(model) == expected


def test_the_net_of_2012_has_the_papers_units_and_size():
    model = on_meta(AlexNet, alexnet_2012())
    assert parameters(model) == 60_965_224
    sizes, x = [], torch.empty(1, 3, 224, 224, device="meta")
    for layer in model.features:
        x = layer(x)
        if isinstance(layer, torch.nn.Conv2d):
            sizes.append(x.numel())
    # Section 3.5; the paper's own figure for the first layer, 253,440, is that of 48 + 48 maps
    # cut to 55 x 48; the other four it gives are these.
    assert sizes == [290_400, 186_624, 64_896, 64_896, 43_264]
    assert x.shape == (1, 256, 6, 6)


@pytest.mark.parity
@all_three
def test_logits_equal_a_chain_of_functions(config):
    model = shake(AlexNet(config)).eval()
    w = model.state_dict()
    x = images = torch.randn(2, 3, 231, 227, dtype=torch.float64)
    steps = {0: (4, 2, 1), 3: (1, 2, 2), 6: (1, 1, 1), 8: (1, 1, 2), 10: (1, 1, 2)}
    for place, (stride, padding, groups) in steps.items():
        g = groups if config.groups == 2 else 1
        x = F.conv2d(
            x, w[f"features.{place}.weight"], w[f"features.{place}.bias"], stride, padding, groups=g
        )
        x = x.tanh() if config.activation == "tanh" else x.relu()
        if config.response_norm and place < 6:  # torch divides alpha by n: the paper does not
            halves = x.chunk(2, 1)
            x = torch.cat([F.local_response_norm(h, 5, 5e-4, 0.75, 2.0) for h in halves], 1)
        if place not in (6, 8):
            x = F.max_pool2d(x, 3, 2)
    x = F.adaptive_avg_pool2d(x, config.fields).flatten(1)
    for place in (1, 4, 6):
        x = x @ w[f"classifier.{place}.weight"].T + w[f"classifier.{place}.bias"]
        if place < 6:
            x = x.tanh() if config.activation == "tanh" else x.relu()
    assert x.std() > 0.3
    torch.testing.assert_close(model(images), x)


def test_response_norm_is_the_papers_sum():
    norm = ResponseNorm(n=4, k=0.5, alpha=0.3, beta=0.6)
    a = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    expected = torch.empty_like(a)
    for i in range(6):
        window = a[:, max(0, i - 1) : i + 3]  # n = 4: one before, two after
        expected[:, i] = a[:, i] / (0.5 + 0.3 * window.square().sum(1)) ** 0.6
    torch.testing.assert_close(norm(a), expected)
    assert torch.autograd.gradcheck(norm, a.clone().requires_grad_())


def test_halves_meet_only_in_the_third_convolution():
    model = shake(AlexNet(TINY_2012)).eval()
    x = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    for layer in model.features[:3]:
        x = layer(x)
    other = x.clone()
    other[:, 4:] += 1  # only the second half of the maps changes
    for place, layer in enumerate(model.features[3:], 3):
        x, other = layer(x), layer(other)
        half = x.shape[1] // 2
        assert torch.equal(x[:, :half], other[:, :half]) == (place < 6)


def test_overlapping_windows_are_an_option():
    apart = AlexNet(AlexNetConfig(widths=(8, 8, 12, 8, 8), hidden=8, pool=2))
    pools = [m for m in apart.features if isinstance(m, torch.nn.MaxPool2d)]
    assert [(p.kernel_size, p.stride) for p in pools] == [(2, 2)] * 3
    overlapping = [m for m in AlexNet(TINY).features if isinstance(m, torch.nn.MaxPool2d)]
    assert all(p.kernel_size > p.stride for p in overlapping)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([TINY, TINY_2012]), st.integers(1, 3), st.integers(64, 130))
def test_shapes(config, batch, rows):
    assert AlexNet(config).eval()(torch.randn(batch, 3, rows, 80)).shape == (batch, 5)


@both
def test_a_batch_is_its_images_one_by_one(config):
    model = shake(AlexNet(config)).eval()
    images = torch.randn(3, 3, 70, 70, dtype=torch.float64)
    torch.testing.assert_close(model(images), torch.cat([model(one[None]) for one in images]))


def test_dropout_halves_the_units_in_training_only():
    torch.manual_seed(0)
    model = AlexNet(TINY)
    kept = []
    model.classifier[1].register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    images = torch.randn(8, 3, 224, 224)
    model.train()(images)
    model.eval()(images)
    alive = kept[1] != 0
    assert 0.4 < (kept[0][alive] != 0).float().mean() < 0.6


@both
def test_one_batch_can_be_learned(config):
    torch.manual_seed(0)
    model = AlexNet(config).eval()  # eval: no dropout
    images, labels = torch.randn(8, 3, 64, 64), torch.arange(8) % 5
    losses = one_batch(model, images, labels, steps=100)
    assert losses[0] > 1.2
    assert losses[-1] < 0.1
