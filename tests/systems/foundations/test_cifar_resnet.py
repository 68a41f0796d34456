import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.cifar_resnet import CifarBlock, CifarResNet, CifarResNetConfig

F64 = torch.float64


def net(depth=8, width=4, shortcut=True, seed=0, **more):
    torch.manual_seed(seed)
    return CifarResNet(CifarResNetConfig(depth=depth, width=width, shortcut=shortcut, **more))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "wrong", [{"depth": 2}, {"depth": 18}, {"width": 0}, {"channels": 0}, {"classes": 0}]
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        CifarResNetConfig(**wrong)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 20), st.booleans())
def test_shapes(n, batch, rows, shortcut):
    model = net(6 * n + 2, shortcut=shortcut).eval()
    assert model(torch.randn(batch, 1, rows, rows + 1)).shape == (batch, 10)


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_plain_and_residual_nets_have_the_same_weights_and_the_named_depth(depth):
    plain, residual = net(depth, shortcut=False), net(depth)
    assert parameters(plain) == parameters(residual)
    residual.load_state_dict(plain.state_dict())
    kinds = torch.nn.Conv2d | torch.nn.Linear
    assert sum(isinstance(m, kinds) for m in plain.modules()) == depth


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_sizes_are_those_of_table_6(depth, millions):
    with torch.device("meta"):
        model = net(depth, width=16, channels=3)
    assert parameters(model) / 1e6 == pytest.approx(millions, abs=0.051 if millions > 1 else 0.0051)


@pytest.mark.parity
@pytest.mark.parametrize("shortcut", [True, False])
def test_logits_equal_a_naive_evaluation_of_the_formula(shortcut):
    model = net(14, shortcut=shortcut).double().eval()
    w = model.state_dict()
    for name, tensor in w.items():
        if "running" in name or tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    images = torch.randn(3, 1, 9, 12, dtype=F64)

    def norm(x, at):
        scale = w[f"{at}.weight"] / (w[f"{at}.running_var"] + 1e-5).sqrt()
        shift = w[f"{at}.bias"] - w[f"{at}.running_mean"] * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def conv(x, at, stride=1):
        weight = w[f"{at}.weight"]
        patches = F.unfold(x, 3, padding=1)
        y = weight.flatten(1) @ patches
        return y.unflatten(2, x.shape[2:])[:, :, ::stride, ::stride]

    x = norm(conv(images, "stem"), "norm").clamp(min=0)
    for index in range(6):
        stride = 2 if index in (2, 4) else 1
        at = f"blocks.{index}"
        y = norm(conv(x, f"{at}.conv1", stride), f"{at}.bn1").clamp(min=0)
        y = norm(conv(y, f"{at}.conv2"), f"{at}.bn2")
        if shortcut:
            y[:, : x.shape[1]] += x[:, :, ::stride, ::stride]
        x = y.clamp(min=0)
    logits = x.mean((2, 3)) @ w["classify.weight"].T + w["classify.bias"]
    torch.testing.assert_close(model(images), logits)
    assert logits.std() > 0.1


def test_zero_residual_weights_are_the_identity():
    for stride, outputs in ((1, 4), (2, 8)):
        block = CifarBlock(4, outputs, stride=stride, shortcut=True)
        torch.nn.init.zeros_(block.bn2.weight)
        x = torch.rand(2, 4, 6, 6)
        expected = torch.zeros(2, outputs, 6 // stride, 6 // stride)
        expected[:, :4] = x[:, :, ::stride, ::stride]
        torch.testing.assert_close(block(x), expected, rtol=0, atol=0)
        torch.testing.assert_close(block(x, "removed"), expected, rtol=0, atol=0)


def test_the_gradient_is_the_sum_over_all_paths():
    model = net(8).double().eval()
    images = torch.randn(2, 1, 8, 8, dtype=F64)

    def gradient(routes):
        x = images.clone().requires_grad_()
        value = model(x, routes)
        torch.testing.assert_close(value, model(images))  # a route changes gradients alone
        return torch.autograd.grad(value.square().sum(), x)[0]

    ways = ["branch", "shortcut"]
    paths = [gradient([a, b, c]) for a in ways for b in ways for c in ways]
    torch.testing.assert_close(sum(paths), gradient(None))
    assert min(path.abs().max() for path in paths) > 0


def test_a_wrong_number_of_routes_is_refused():
    with pytest.raises(ValueError, match="routes must have 3 entries, got 1"):
        net(8)(torch.randn(1, 1, 8, 8), ["both"])


def test_a_batch_is_its_images_one_by_one_and_channels_last_changes_nothing():
    model = net(14).double().eval()
    images = torch.randn(3, 1, 10, 10, dtype=F64)
    together = model(images)
    torch.testing.assert_close(together, torch.cat([model(image[None]) for image in images]))
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(together, last(images.to(memory_format=torch.channels_last)))


def test_gradients_explode_with_the_depth_of_a_plain_net_but_not_of_a_residual_net():
    first_over_last = {}
    for depth in (8, 56):
        for shortcut in (False, True):
            model = net(depth, width=4, shortcut=shortcut)
            F.cross_entropy(model(torch.randn(16, 1, 8, 8)), torch.arange(16) % 10).backward()
            norms = [p.grad.norm().item() for p in model.parameters() if p.ndim == 4]
            first_over_last[depth, shortcut] = norms[1] / norms[-1]
    assert 0.5 < first_over_last[8, False] < 2
    assert 0.5 < first_over_last[8, True] < 2
    assert first_over_last[56, True] < 20
    assert first_over_last[56, False] > 300


@pytest.mark.parametrize("shortcut", [True, False])
def test_one_batch_can_be_learned(shortcut):
    model = net(8, shortcut=shortcut)
    images, labels = torch.randn(10, 1, 8, 8), torch.arange(10)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(60):
        loss = F.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert losses[-1] < 0.1
