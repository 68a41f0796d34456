import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from orrery.systems.foundations.resnet import BottleneckBlock
from orrery.systems.foundations.resnext import (
    AggregatedBlock,
    ResNeXt,
    ResNeXtConfig,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
)
from tests.systems.foundations.nets import (
    on_meta,
    one_batch,
    parameters,
    residual_layout,
    shake,
    shapes,
)

TINY = ResNeXtConfig(cardinality=4, transform=2, blocks=(1, 2, 1, 1), width=8, classes=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cardinality": 0},
        {"transform": 0},
        {"blocks": (1, 0, 1, 1)},
        {"width": 0},
        {"channels": 0},
        {"classes": 0},
    ],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        ResNeXtConfig(**wrong)


@pytest.mark.parametrize(
    ("preset", "count", "blocks", "inner", "groups"),
    [
        (resnext50_32x4d, 25_028_904, (3, 4, 6, 3), 128, 32),
        (resnext101_32x8d, 88_791_336, (3, 4, 23, 3), 256, 32),
        (resnext101_64x4d, 83_455_272, (3, 4, 23, 3), 256, 64),
    ],
)
def test_presets_have_the_published_layout_and_size(preset, count, blocks, inner, groups):
    model = on_meta(ResNeXt, preset())
    assert parameters(model) == count
    assert shapes(model) == residual_layout(blocks, inner, 256, groups=groups)


def transform(block, x, which):
    """T_i of the paper, alone: reduce to d channels, convolve, expand; equation 3."""
    d = block.conv2.in_channels // block.conv2.groups
    part = slice(which * d, which * d + d)

    def norm(bn, y):
        return F.batch_norm(
            y, bn.running_mean[part], bn.running_var[part], bn.weight[part], bn.bias[part]
        )

    y = F.relu(norm(block.bn1, F.conv2d(x, block.conv1.weight[part])))
    y = F.conv2d(y, block.conv2.weight[part], stride=block.conv2.stride, padding=1)
    return F.conv2d(F.relu(norm(block.bn2, y)), block.conv3.weight[:, part])


@pytest.mark.parametrize(("cardinality", "stride"), [(1, 1), (3, 1), (4, 2), (12, 1)])
def test_the_branch_is_the_sum_of_as_many_transforms(cardinality, stride):
    block = shake(AggregatedBlock(10, 5, stride, cardinality=cardinality, inner=12)).eval()
    x = torch.randn(2, 10, 7, 7, dtype=torch.float64)
    total = sum(transform(block, x, which) for which in range(cardinality))
    torch.testing.assert_close(block(x), F.relu(block.downsample(x) + block.bn3(total)))


def test_one_transform_is_a_bottleneck():
    aggregated = shake(AggregatedBlock(16, 4, cardinality=1, inner=4))
    bottleneck = BottleneckBlock(16, 4).double()
    bottleneck.load_state_dict(aggregated.state_dict())
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(aggregated(x), bottleneck(x))


def test_more_transforms_at_the_cost_of_a_bottleneck():
    """Table 2 of the paper: 1x64d to 32x4d, at about equal weights and multiplications."""
    costs = []
    for cardinality, d in [(1, 64), (2, 40), (4, 24), (8, 14), (32, 4)]:
        block = AggregatedBlock(256, 64, cardinality=cardinality, inner=cardinality * d).eval()
        with FlopCounterMode(display=False) as counter:
            block(torch.randn(1, 256, 4, 4))
        weights = sum(p.numel() for p in block.parameters() if p.ndim == 4)
        assert weights == cardinality * (256 * d + 9 * d * d + d * 256)  # the paper's formula
        assert counter.get_total_flops() == 2 * 16 * weights
        costs.append(weights)
    assert max(costs) < 1.05 * min(costs)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(33, 60))
def test_shapes(cardinality, d, batch, rows):
    config = ResNeXtConfig(
        cardinality=cardinality, transform=d, blocks=(1, 1, 1, 1), width=4, classes=3
    )
    assert ResNeXt(config).eval()(torch.randn(batch, 3, rows, 40)).shape == (batch, 3)


def test_a_batch_is_its_images_one_by_one():
    model = shake(ResNeXt(TINY)).eval()
    images = torch.randn(3, 3, 40, 40, dtype=torch.float64)
    torch.testing.assert_close(model(images), torch.cat([model(one[None]) for one in images]))


def test_one_batch_can_be_learned():
    torch.manual_seed(0)
    losses = one_batch(ResNeXt(TINY), torch.randn(8, 3, 33, 33), torch.arange(8) % 5)
    assert losses[0] > 1.2
    assert losses[-1] < 0.1
