import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from orrery.systems.foundations.efficientnet import (
    ALPHA,
    BETA,
    GAMMA,
    ConvNorm,
    EfficientNet,
    EfficientNetConfig,
    EfficientStage,
    InvertedBlock,
    compound,
    efficientnet,
    efficientnet_lite0,
)
from orrery.systems.foundations.senet import SqueezeExcitation
from tests.systems.foundations.nets import (
    batch_norm,
    on_meta,
    one_batch,
    parameters,
    shake,
    shapes,
)


def stage(expand=2, kernel=3, stride=2, outputs=16, blocks=2):
    return EfficientStage(
        expand=expand, kernel=kernel, stride=stride, outputs=outputs, blocks=blocks
    )


TINY = EfficientNetConfig(
    stages=(stage(expand=1, stride=1, blocks=1), stage(kernel=5), stage(outputs=24)),
    stem=8, head=32, classes=5, dropout=0.0, drop_path=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": ()},
        {"width": 0.0},
        {"depth": -1.0},
        {"resolution": 0},
        {"stem": 0},
        {"head": 0},
        {"squeeze": 1.5},
        {"activation": "softmax"},
        {"padding": "valid"},
        {"epsilon": 0.0},
        {"momentum": -0.1},
        {"dropout": 1.0},
        {"drop_path": 1.0},
        {"channels": 0},
        {"classes": 0},
    ],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises((ValueError, TypeError), match=name):
        EfficientNetConfig(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"expand": 0}, {"kernel": 4}, {"stride": 3}, {"outputs": 0}, {"blocks": 0}]
)
def test_a_bad_stage_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        stage(**wrong)


def layout(width, depth):
    """Names and shapes of the published weights, from table 1 and the rules of scaling."""

    def wide(channels):
        rounded = max(8, math.floor(channels * width / 8 + 0.5) * 8)
        return rounded + 8 if rounded < 0.9 * channels * width else rounded

    def conv_norm(name, shape):
        return {f"{name}.0.weight": shape, **batch_norm(f"{name}.1", shape[0])}

    maps = wide(32)
    found = conv_norm("features.0", (maps, 3, 3, 3))
    rows = [(1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3), (6, 5, 112, 3),
            (6, 5, 192, 4), (6, 3, 320, 1)]  # fmt: skip
    for number, (expand, kernel, outputs, blocks) in enumerate(rows, 1):
        for index in range(math.ceil(blocks * depth)):
            at, inner, out = f"features.{number}.{index}.block.", maps * expand, wide(outputs)
            place = 0
            if expand > 1:
                found |= conv_norm(f"{at}0", (inner, maps, 1, 1))
                place = 1
            found |= conv_norm(f"{at}{place}", (inner, 1, kernel, kernel))
            for layer, shape in {"fc1": (maps // 4, inner), "fc2": (inner, maps // 4)}.items():
                found[f"{at}{place + 1}.{layer}.weight"] = (*shape, 1, 1)
                found[f"{at}{place + 1}.{layer}.bias"] = shape[:1]
            found |= conv_norm(f"{at}{place + 2}", (out, inner, 1, 1))
            maps = out
    found |= conv_norm("features.8", (4 * maps, maps, 1, 1))
    return found | {"classifier.1.weight": (1000, 4 * maps), "classifier.1.bias": (1000,)}


@pytest.mark.parametrize(
    ("phi", "count", "width", "depth"),
    [
        (0, 5_288_548, 1.0, 1.0),
        (1, 7_794_184, 1.0, 1.1),
        (2, 9_109_994, 1.1, 1.2),
        (3, 12_233_232, 1.2, 1.4),
        (4, 19_341_616, 1.4, 1.8),
        (5, 30_389_784, 1.6, 2.2),
        (6, 43_040_704, 1.8, 2.6),
        (7, 66_347_960, 2.0, 3.1),
    ],
)
def test_presets_have_the_published_layout_and_size(phi, count, width, depth):
    model = on_meta(EfficientNet, efficientnet(phi))
    assert parameters(model) == count
    assert shapes(model) == layout(width, depth)


def multiplications(config):
    model = on_meta(EfficientNet, config).eval()
    side = config.resolution
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, config.channels, side, side, device="meta"))
    return counter.get_total_flops() / 2


def test_each_step_of_phi_doubles_the_multiplications():
    assert pytest.approx(2, rel=0.05) == ALPHA * BETA**2 * GAMMA**2
    base = multiplications(efficientnet(0))
    assert 0.38e9 < base < 0.40e9  # table 2 of the paper: 0.39 billion
    depth, width, resolution = compound(1)
    scaled = EfficientNetConfig(depth=depth, width=width, resolution=round(224 * resolution))
    assert multiplications(scaled) / base == pytest.approx(2, rel=0.3)  # channels come in eights
    assert multiplications(efficientnet(3)) / 1e9 == pytest.approx(1.8, rel=0.05)  # table 2


@pytest.mark.parity
@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding_is_tensorflows(size, kernel):
    """Outputs are size / 2 rounded up; of the pixels needed, the odd one comes after."""
    config = EfficientNetConfig(padding="same")
    conv = shake(ConvNorm(2, 3, config, kernel, stride=2)).eval()
    x = torch.randn(1, 2, size, size, dtype=torch.float64)
    out = -(-size // 2)
    needed = max((out - 1) * 2 + kernel - size, 0)
    padded = torch.zeros(1, 2, size + needed, size + needed, dtype=torch.float64)
    start = needed // 2
    padded[:, :, start : start + size, start : start + size] = x
    expected = conv[1](torch.nn.functional.conv2d(padded, conv[0].weight, stride=2))
    assert expected.shape[-1] == out
    torch.testing.assert_close(conv(x), expected)


def test_an_inverted_bottleneck_is_wide_inside_and_linear_at_its_end():
    block = InvertedBlock(8, stage(expand=6, outputs=8), 1, 0, TINY, 0.0, True)
    widths = [layer[0].out_channels for layer in block.block if isinstance(layer, ConvNorm)]
    assert widths == [48, 48, 8]
    assert block.block[1][0].groups == 48
    torch.nn.init.zeros_(block.block[-1][1].weight)
    x = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)  # negative numbers pass too


def test_dropped_paths_leave_out_whole_images_and_keep_the_mean():
    torch.manual_seed(0)
    block = InvertedBlock(8, stage(outputs=8), 1, 0, TINY, 0.25, True).requires_grad_(False).eval()
    x = torch.randn(1, 8, 4, 4).expand(4_000, -1, -1, -1)
    whole = block(x[:1]) - x[:1]
    block.training = True  # of the block alone: its norms keep their running statistics
    branch = block(x) - x
    ratio = (branch * whole).sum((1, 2, 3)) / whole.square().sum()
    assert set(ratio.mul(1000).round().tolist()) == {0, 1333}  # dropped, or divided by 0.75
    assert ratio.mean() == pytest.approx(1, abs=0.05)


def test_lite_has_no_gates_and_fixed_ends():
    model = on_meta(EfficientNet, efficientnet_lite0())
    assert parameters(model) == 4_652_008
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 4_694_073
    assert not any(isinstance(m, SqueezeExcitation) for m in model.modules())
    wide = EfficientNetConfig(width=1.4, depth=1.8, fixed_ends=True)
    assert wide.ends() == (32, 1280)
    assert [wide.deepened(i) for i in range(7)] == [1, 4, 4, 6, 6, 8, 1]


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(17, 60),
    st.integers(17, 60),
    st.sampled_from(["centred", "same", "shifted"]),
)
def test_shapes(batch, rows, columns, padding):
    config = EfficientNetConfig(stages=TINY.stages, stem=8, head=16, classes=3, padding=padding)
    assert EfficientNet(config).eval()(torch.randn(batch, 3, rows, columns)).shape == (batch, 3)


def test_a_batch_is_its_images_one_by_one():
    model = shake(EfficientNet(TINY)).eval()
    images = torch.randn(3, 3, 40, 33, dtype=torch.float64)
    torch.testing.assert_close(model(images), torch.cat([model(one[None]) for one in images]))


def test_one_batch_can_be_learned():
    torch.manual_seed(0)
    losses = one_batch(EfficientNet(TINY), torch.randn(8, 3, 32, 32), torch.arange(8) % 5, steps=40)
    assert losses[0] > 1.2
    assert losses[-1] < 0.1
