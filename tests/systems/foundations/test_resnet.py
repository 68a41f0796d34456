import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import ResNetConfig as ReferenceConfig
from transformers import ResNetForImageClassification

from orrery.systems.foundations.resnet import (
    BasicBlock,
    BottleneckBlock,
    ResNet,
    ResNetConfig,
    from_huggingface,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    to_huggingface,
)

TINY = {
    "basic": ResNetConfig(block="basic", blocks=(1, 2, 1, 1), width=8, classes=5),
    "bottleneck": ResNetConfig(block="bottleneck", blocks=(2, 1, 1, 1), width=4, classes=5),
}
kinds = pytest.mark.parametrize("kind", TINY)


def shake(model, seed=0):
    """Weights and batch norm statistics far from their start, for outputs with spread near 1."""
    torch.manual_seed(seed)
    model.double()
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1:
            tensor.normal_(0, 0.3)
    return model


@pytest.mark.parametrize(
    "wrong",
    [
        {"block": "wide"},
        {"blocks": (1, 1, 0, 1)},
        {"width": 0},
        {"channels": 0},
        {"classes": -1},
    ],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises((ValueError, TypeError), match=name):  # TypeError: the tests' shape checks
        ResNetConfig(**wrong)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        (resnet18, 11_689_512),
        (resnet34, 21_797_672),
        (resnet50, 25_557_032),
        (resnet101, 44_549_160),
        (resnet152, 60_192_808),
    ],
)
def test_presets_have_the_published_number_of_parameters(preset, parameters):
    with torch.device("meta"):
        model = ResNet(preset())
    assert sum(p.numel() for p in model.parameters()) == parameters
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    projections = [n for n, _ in model.named_modules() if n.endswith("downsample.0")]
    assert len(layers) - len(projections) == int(preset.__name__.removeprefix("resnet"))


def test_the_state_dict_has_the_published_names_and_shapes():
    with torch.device("meta"):
        shapes = {n: tuple(w.shape) for n, w in ResNet(resnet50()).state_dict().items()}
    assert len(shapes) == 320
    for name, shape in {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.conv3.weight": (256, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer2.0.downsample.1.num_batches_tracked": (),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.2.bn3.weight": (2048,),
        "fc.weight": (1000, 2048),
    }.items():
        assert shapes[name] == shape


def random_config(seed):
    """A tiny net, odd ones among them."""
    draw = random.Random(seed)
    return ResNetConfig(
        block=draw.choice(["basic", "bottleneck"]),
        blocks=tuple(draw.randint(1, 3) for _ in range(4)),
        width=draw.choice([2, 3, 4, 7, 8]),
        channels=draw.choice([1, 3, 5]),
        classes=draw.choice([2, 5, 11]),
    )


@pytest.mark.parity
@pytest.mark.parametrize("config", [*TINY.values(), *(random_config(seed) for seed in range(12))])
def test_logits_equal_those_of_transformers(config):
    expansion = 4 if config.block == "bottleneck" else 1
    reference = shake(ResNetForImageClassification(ReferenceConfig(
        embedding_size=config.width, layer_type=config.block, depths=list(config.blocks),
        hidden_sizes=[expansion * config.width << i for i in range(4)],
        num_labels=config.classes, num_channels=config.channels,
    )))  # fmt: skip
    model = ResNet(config).double()
    model.load_state_dict(from_huggingface(reference.state_dict()))  # strict: every key is used
    images = torch.randn(3, config.channels, 64, 75, dtype=torch.float64)
    for mode in (False, True):  # running statistics, then batch statistics
        model.train(mode), reference.train(mode)
        logits = model(images)
        assert logits.std() > 0.05
        torch.testing.assert_close(logits, reference(images).logits)
    torch.testing.assert_close(model.state_dict(), from_huggingface(reference.state_dict()))
    torch.testing.assert_close(to_huggingface(model.state_dict()), dict(reference.state_dict()))


def test_a_foreign_name_is_refused():
    with pytest.raises(ValueError, match="embeddings"):
        from_huggingface({"vit.embeddings.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="layer9"):
        to_huggingface({"layer9.conv1.weight": torch.zeros(1)})


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(sorted(TINY)), st.integers(1, 3), st.integers(33, 70), st.integers(33, 70))
def test_shapes(kind, batch, rows, columns):
    model = ResNet(TINY[kind]).eval()
    assert model(torch.randn(batch, 3, rows, columns)).shape == (batch, 5)


@kinds
def test_a_batch_is_its_images_one_by_one_and_channels_last_changes_nothing(kind):
    model = shake(ResNet(TINY[kind])).eval()
    images = torch.randn(3, 3, 40, 40, dtype=torch.float64)
    together = model(images)
    torch.testing.assert_close(together, torch.cat([model(image[None]) for image in images]))
    torch.testing.assert_close(together, model(images.to(memory_format=torch.channels_last)))


@pytest.mark.parametrize("block", [BasicBlock(8, 8), BottleneckBlock(8, 2)])
def test_a_block_with_zero_residual_weights_is_the_identity(block):
    last = block.bn2 if isinstance(block, BasicBlock) else block.bn3
    torch.nn.init.zeros_(last.weight)
    x = torch.rand(2, 8, 5, 5)  # what comes out of a relu: not negative
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def cost(block, channels):
    """Weights of the convolutions, and multiply-adds on an 8 x 8 map."""
    block.eval()
    with FlopCounterMode(display=False) as counter:
        block(torch.randn(1, channels, 8, 8))
    weights = sum(p.numel() for p in block.parameters() if p.ndim == 4)
    return weights, counter.get_total_flops() // 2


def test_a_bottleneck_costs_what_a_basic_block_on_a_quarter_of_the_channels_costs():
    basic = cost(BasicBlock(64, 64), 64)
    assert basic == (2 * 9 * 64**2, 2 * 9 * 64**2 * 64)
    bottleneck = cost(BottleneckBlock(256, 64), 256)  # figure 5 of the paper
    assert bottleneck == (17 * 64**2, 17 * 64**2 * 64)
    wide = cost(BasicBlock(256, 256), 256)  # the same input and output as the bottleneck
    assert wide[0] > 16 * bottleneck[0]
    assert wide[1] > 16 * bottleneck[1]


@kinds
def test_one_batch_can_be_learned(kind):
    torch.manual_seed(0)
    model = ResNet(TINY[kind])
    images, labels = torch.randn(8, 3, 33, 33), torch.arange(8) % 5
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.2
    assert losses[-1] < 0.05
