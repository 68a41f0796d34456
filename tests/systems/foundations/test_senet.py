import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from orrery.systems.foundations.resnet import ResNet, ResNetConfig
from orrery.systems.foundations.senet import (
    GatedBasicBlock,
    GatedBottleneckBlock,
    SENetConfig,
    SEResNet,
    SqueezeExcitation,
    se_resnet,
)
from tests.systems.foundations.nets import (
    on_meta,
    one_batch,
    parameters,
    residual_layout,
    shake,
    shapes,
)

TINY = {
    kind: SENetConfig(
        net=ResNetConfig(block=kind, blocks=(1, 2, 1, 1), width=8, classes=5), multiple=2
    )
    for kind in ("basic", "bottleneck")
}
kinds = pytest.mark.parametrize("kind", TINY)


@pytest.mark.parametrize("wrong", [{"reduction": 0}, {"multiple": 0}])
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        SENetConfig(**wrong)


@pytest.mark.parametrize(
    ("layers", "count"),
    [
        (18, 11_779_624),
        (34, 21_960_416),
        (50, 28_088_024),
        (101, 49_326_872),
        (152, 66_821_848),
    ],
)
def test_presets_have_the_published_number_of_parameters(layers, count):
    model = on_meta(SEResNet, se_resnet(layers))
    assert parameters(model) == count
    if layers >= 50:
        blocks = se_resnet(layers).net.blocks
        assert shapes(model) == residual_layout(blocks, 64, 256, gate=16)
        added = 2 * sum(n * (256 << i) ** 2 for i, n in enumerate(blocks)) // 16  # equation 5
        biases = sum(n * (256 << i) * 17 // 16 for i, n in enumerate(blocks))
        plain = parameters(on_meta(ResNet, se_resnet(layers).net))
        assert count - plain == added + biases


def test_gates_are_equations_2_to_4():
    gate = shake(SqueezeExcitation(6, 2))
    x = torch.randn(3, 6, 4, 5, dtype=torch.float64)
    z = x.flatten(2).sum(-1) / 20
    hidden = (z @ gate.fc1.weight.flatten(1).T + gate.fc1.bias).clamp(min=0)
    s = 1 / (1 + (-(hidden @ gate.fc2.weight.flatten(1).T + gate.fc2.bias)).exp())
    torch.testing.assert_close(gate(x), x * s[..., None, None])
    assert torch.autograd.gradcheck(gate, x[:1].clone().requires_grad_())


@kinds
def test_gates_vary_with_the_image_and_between_channels(kind):
    model = shake(SEResNet(TINY[kind])).eval()
    seen = []
    model.layer3[0].se.register_forward_hook(
        lambda gate, given, _: seen.append(gate.gates(given[0])[:, :, 0, 0])
    )
    model(torch.randn(6, 3, 40, 40, dtype=torch.float64))
    (gates,) = seen
    assert ((gates > 0) & (gates < 1)).all()
    assert gates.std(0).max() > 0.02  # one channel, several images
    assert gates.std(1).min() > 0.05  # one image, several channels


@kinds
def test_gates_of_one_give_the_plain_net(kind):
    model = shake(SEResNet(TINY[kind])).eval()
    plain = ResNet(TINY[kind].net).double().eval()
    weights = {n: w for n, w in model.state_dict().items() if ".se." not in n}
    plain.load_state_dict(weights)  # strict: the gates are all that is new
    images = torch.randn(2, 3, 40, 40, dtype=torch.float64)
    assert not torch.allclose(model(images), plain(images), rtol=0.1)
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):
            torch.nn.init.zeros_(module.fc2.weight)
            torch.nn.init.constant_(module.fc2.bias, 40.0)  # sigmoid(40) is 1 in float64
    torch.testing.assert_close(model(images), plain(images))


@pytest.mark.parametrize("kind", [GatedBasicBlock, GatedBottleneckBlock])
def test_the_shortcut_is_not_gated(kind):
    block = kind(8, 8 // kind.expansion, 1, TINY["basic"])
    torch.nn.init.constant_(block.se.fc2.bias, -200.0)  # all gates shut
    torch.nn.init.zeros_(block.se.fc2.weight)
    x = torch.rand(2, 8, 5, 5)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_gates_cost_next_to_no_multiplications():
    """Section 4 of the paper: about 0.26 % more than ResNet-50 at 224 x 224."""
    flops = []
    for model in (ResNet(se_resnet(50).net), SEResNet(se_resnet(50))):
        model.to("meta").eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 224, 224, device="meta"))
        flops.append(counter.get_total_flops())
    assert 1 < flops[1] / flops[0] < 1.003


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(sorted(TINY)), st.integers(1, 3), st.integers(33, 60))
def test_shapes(kind, batch, rows):
    assert SEResNet(TINY[kind]).eval()(torch.randn(batch, 3, rows, 40)).shape == (batch, 5)


@kinds
def test_a_batch_is_its_images_one_by_one(kind):
    model = shake(SEResNet(TINY[kind])).eval()
    images = torch.randn(3, 3, 40, 40, dtype=torch.float64)
    torch.testing.assert_close(model(images), torch.cat([model(one[None]) for one in images]))


@kinds
def test_one_batch_can_be_learned(kind):
    torch.manual_seed(0)
    model = SEResNet(TINY[kind])
    losses = one_batch(model, torch.randn(8, 3, 33, 33), torch.arange(8) % 5)
    assert losses[0] > 1.2
    assert losses[-1] < 0.1
    assert all(m.fc1.weight.grad.abs().sum() > 0 for m in model.modules() if hasattr(m, "fc1"))


def test_the_paper_puts_the_activation_between_the_layers():
    gate = SqueezeExcitation(4, 3, activation=F.silu)
    x = torch.randn(2, 4, 3, 3)
    expected = torch.sigmoid(gate.fc2(F.silu(gate.fc1(x.mean((2, 3), keepdim=True)))))
    torch.testing.assert_close(gate.gates(x), expected)
