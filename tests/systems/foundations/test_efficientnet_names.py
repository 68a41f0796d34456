import random

import pytest
import torch
from transformers import EfficientNetConfig as ReferenceConfig
from transformers import EfficientNetForImageClassification

from orrery.systems.foundations.efficientnet import EfficientNet, efficientnet_lite0
from orrery.systems.foundations.efficientnet_names import (
    from_layout,
    names,
    read_transformers_config,
    to_layout,
)
from tests.systems.foundations.nets import on_meta, shake


def random_settings(seed):
    """Settings of a tiny net, odd ones among them."""
    draw = random.Random(seed)
    stages = draw.randint(1, 4)
    outputs = [draw.choice([8, 12, 16, 20, 32]) for _ in range(stages)]
    width = draw.choice([0.05, 0.25, 0.5, 1.0])

    def rounded(channels):
        wanted = channels * width
        nearest = max(8, int(wanted + 4) // 8 * 8)
        return nearest + 8 if nearest < 0.9 * wanted else nearest

    return {
        "width_coefficient": width,
        "depth_coefficient": draw.choice([0.4, 1.0, 1.5]),
        "in_channels": [32, *outputs[:-1]],
        "out_channels": outputs,
        "kernel_sizes": [draw.choice([3, 5, 7]) for _ in range(stages)],
        "strides": [draw.choice([1, 2]) for _ in range(stages)],
        "expand_ratios": [draw.choice([1, 2, 3]) for _ in range(stages)],
        "num_block_repeats": [draw.randint(1, 3) for _ in range(stages)],
        "depthwise_padding": draw.sample(range(6), draw.randint(0, 4)),
        "squeeze_expansion_ratio": draw.choice([0.03, 0.25, 0.5]),
        "hidden_act": draw.choice(["swish", "silu", "relu", "relu6", "gelu"]),
        "hidden_dim": rounded(1280),
        "batch_norm_eps": draw.choice([1e-3, 1e-5]),
        "num_channels": draw.choice([1, 3, 4]),
        "num_labels": draw.choice([2, 7]),
        "image_size": 32,
    }


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(16))
def test_logits_equal_those_of_transformers(seed):
    reference = shake(EfficientNetForImageClassification(ReferenceConfig(**random_settings(seed))))
    reference.eval()
    config = read_transformers_config(reference.config.to_dict())
    model = EfficientNet(config).double().eval()
    model.load_state_dict(from_layout(model, reference.state_dict(), "transformers"))
    torch.manual_seed(seed)
    images = torch.randn(2, config.channels, 33 + seed % 4, 36, dtype=torch.float64) * 3
    logits = model(images)
    assert logits.std() > 0.02
    torch.testing.assert_close(logits, reference(images).logits)
    theirs = to_layout(model, "transformers")
    assert theirs.keys() == reference.state_dict().keys()
    reference.load_state_dict(theirs)
    torch.testing.assert_close(logits, reference(images).logits)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pooling_type", "max"),
        ("depth_divisor", 4),
        ("hidden_act", "tanh"),
        ("hidden_dim", 999),
        ("in_channels", [32, 64, 24, 40, 80, 112, 192]),
        ("kernel_sizes", [2, 3, 5, 3, 5, 5, 3]),
        ("model_type", "resnet"),
    ],
)
def test_what_is_not_supported_is_refused(name, value):
    values = ReferenceConfig().to_dict() | {name: value}
    with pytest.raises(ValueError, match=name.removesuffix("s").removesuffix("_size")):
        read_transformers_config(values)


def test_the_names_of_the_first_ports():
    model = on_meta(EfficientNet, efficientnet_lite0())
    found = names(model, "blocks")
    assert len(set(found.values())) == len(found) == 296
    assert found["features.0.0.weight"] == "_conv_stem.weight"
    assert found["features.1.0.block.0.0.weight"] == "_blocks.0._depthwise_conv.weight"
    assert found["features.2.1.block.2.1.running_var"] == "_blocks.2._bn2.running_var"
    assert found["features.8.1.bias"] == "_bn1.bias"
    assert found["classifier.1.weight"] == "_fc.weight"


def test_a_missing_or_foreign_weight_is_refused():
    model = on_meta(EfficientNet, efficientnet_lite0())
    whole = to_layout(model, "blocks")
    with pytest.raises(ValueError, match=r"hold _fc\.scale"):
        from_layout(model, whole | {"_fc.scale": torch.zeros(1)}, "blocks")
    del whole["_fc.bias"]
    with pytest.raises(ValueError, match=r"lack _fc\.bias"):
        from_layout(model, whole, "blocks")
