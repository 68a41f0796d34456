import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.foundations.vgg import (
    Vgg,
    VggConfig,
    in_a_row,
    vgg11,
    vgg13,
    vgg16,
    vgg19,
)
from tests.systems.foundations.nets import (
    batch_norm,
    on_meta,
    one_batch,
    parameters,
    shake,
    shapes,
)

TINY = {
    normed: VggConfig(
        convolutions=(1, 1, 2, 2, 2), width=4, hidden=16, classes=5, batch_norm=normed
    )
    for normed in (False, True)
}
normed = pytest.mark.parametrize("normed", [False, True])


@pytest.mark.parametrize(
    "wrong",
    [
        {"convolutions": (1, 1, 0, 1, 1)},
        {"width": 0},
        {"kernel": 4},
        {"fields": 0},
        {"hidden": 0},
        {"channels": 0},
        {"classes": 0},
        {"dropout": -0.1},
    ],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        VggConfig(**wrong)


LETTERS = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def layout(layers, with_norm):
    """Table 1 of the paper, numbered as in the published weights."""
    found, place, inputs = {}, 0, 3
    for word in LETTERS[layers].split():
        if word == "M":
            place += 1
            continue
        found[f"features.{place}.weight"] = (int(word), inputs, 3, 3)
        found[f"features.{place}.bias"] = (int(word),)
        if with_norm:
            found |= batch_norm(f"features.{place + 1}", int(word))
        place, inputs = place + (3 if with_norm else 2), int(word)
    for place, (outputs, inputs) in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        found[f"classifier.{place}.weight"] = (outputs, inputs)
        found[f"classifier.{place}.bias"] = (outputs,)
    return found


@pytest.mark.parametrize(
    ("preset", "layers", "with_norm", "count"),
    [
        (vgg11, 11, False, 132_863_336),
        (vgg11, 11, True, 132_868_840),
        (vgg13, 13, False, 133_047_848),
        (vgg13, 13, True, 133_053_736),
        (vgg16, 16, False, 138_357_544),
        (vgg16, 16, True, 138_365_992),
        (vgg19, 19, False, 143_667_240),
        (vgg19, 19, True, 143_678_248),
    ],
)
def test_presets_have_the_published_layout_and_size(preset, layers, with_norm, count):
    model = on_meta(Vgg, preset(batch_norm=with_norm))
    assert parameters(model) == count
    assert shapes(model) == layout(layers, with_norm)
    weights = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weights) == layers


@pytest.mark.parity
@normed
def test_logits_equal_a_chain_of_functions(normed):
    model = shake(Vgg(TINY[normed])).eval()
    w = model.state_dict()
    x = images = torch.randn(2, 3, 64, 75, dtype=torch.float64)
    place = 0
    for count in (1, 1, 2, 2, 2):
        for _ in range(count):
            x = F.conv2d(x, w[f"features.{place}.weight"], w[f"features.{place}.bias"], padding=1)
            if normed:
                place += 1
                mean, var = (w[f"features.{place}.running_{name}"] for name in ("mean", "var"))
                x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
                x = x * w[f"features.{place}.weight"][:, None, None]
                x = x + w[f"features.{place}.bias"][:, None, None]
            x, place = x.relu(), place + 2
        x, place = F.max_pool2d(x, 2), place + 1
    x = F.adaptive_avg_pool2d(x, 7).flatten(1)
    for place in (0, 3, 6):
        x = x @ w[f"classifier.{place}.weight"].T + w[f"classifier.{place}.bias"]
        x = x.relu() if place < 6 else x
    assert x.std() > 0.3
    torch.testing.assert_close(model(images), x)


@pytest.mark.parametrize(("count", "kernel", "field"), [(1, 3, 3), (2, 3, 5), (3, 3, 7), (1, 5, 5)])
def test_so_many_three_by_threes_see_one_larger_field(count, kernel, field):
    stack = nn.Sequential(*in_a_row(1, 2, count, False, kernel)).double()
    for parameter in stack.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)  # no path is cut by a relu
    image = torch.zeros(1, 1, 15, 15, dtype=torch.float64, requires_grad=True)
    stack(image)[0, 0, 7, 7].backward()
    seen = torch.zeros(15, 15, dtype=torch.bool)
    seen[7 - field // 2 : 8 + field // 2, 7 - field // 2 : 8 + field // 2] = True
    assert torch.equal(image.grad[0, 0] != 0, seen)


def test_two_are_one_five_by_five_where_they_are_linear():
    """Without the relu, two 3x3 kernels are their convolution, a 5x5 kernel."""
    torch.manual_seed(0)
    first, second = (torch.randn(4, 4, 3, 3, dtype=torch.float64) for _ in range(2))
    x = torch.randn(1, 4, 12, 12, dtype=torch.float64)
    # a kernel of correlations composes by full correlation of the flipped one
    five = F.conv2d(first.transpose(0, 1), second.flip(2, 3), padding=2).transpose(0, 1)
    torch.testing.assert_close(F.conv2d(F.conv2d(x, first), second), F.conv2d(x, five))


def test_large_kernels_and_few_fields_are_an_option():
    model = Vgg(VggConfig(convolutions=(1,) * 5, kernel=5, width=2, hidden=8, classes=4, fields=2))
    convolutions = [m for m in model.features if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size for m in convolutions] == [(5, 5)] * 5
    assert model.classifier[0].in_features == 4 * 16
    assert model(torch.randn(2, 3, 32, 40)).shape == (2, 4)


def test_the_weights_of_small_kernels_are_fewer():
    c = 8
    weights = [
        sum(p.numel() for p in nn.Sequential(*in_a_row(c, c, n, False)).parameters()
            if p.ndim == 4)
        for n in (2, 3)
    ]  # fmt: skip
    assert weights == [18 * c * c, 27 * c * c]
    five, seven = nn.Conv2d(c, c, 5), nn.Conv2d(c, c, 7)
    assert (five.weight.numel(), seven.weight.numel()) == (25 * c * c, 49 * c * c)


@settings(max_examples=8, deadline=None)
@given(st.booleans(), st.integers(1, 3), st.integers(32, 70), st.integers(32, 70))
def test_shapes(with_norm, batch, rows, columns):
    assert Vgg(TINY[with_norm]).eval()(torch.randn(batch, 3, rows, columns)).shape == (batch, 5)


@normed
def test_a_batch_is_its_images_one_by_one(normed):
    model = shake(Vgg(TINY[normed])).eval()
    images = torch.randn(3, 3, 40, 40, dtype=torch.float64)
    torch.testing.assert_close(model(images), torch.cat([model(one[None]) for one in images]))


@normed
def test_one_batch_can_be_learned_without_any_shortcut(normed):
    torch.manual_seed(0)
    config = VggConfig(
        convolutions=(2, 2, 2, 2, 2), width=8, hidden=32, classes=5, dropout=0.0, batch_norm=normed
    )
    patches = torch.randn(8, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    losses = one_batch(Vgg(config), 2 * patches, torch.arange(8) % 5, steps=55, rate=0.002)
    assert losses[0] > 1.2
    assert losses[-1] < 0.1
