import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.cnn_speedrun import (
    CnnSpeedrun,
    CnnSpeedrunConfig,
    alternate_flip,
    average_views,
    whitening_filters,
)
from tests.systems.foundations.nets import one_batch, shake

F64 = torch.float64


def net(widths=(4, 6, 8), **more):
    torch.manual_seed(0)
    return CnnSpeedrun(CnnSpeedrunConfig(widths=widths, **more))


def pictures(*shape, seed=0):
    """Noise whose neighbours are alike, as in photographs."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return F.avg_pool2d(noise, 3, stride=1, padding=1)


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 0}, {"classes": 0}, {"widths": (4, 0, 4)}, {"patch": 3}, {"patch": 0},
     {"renewal": 0.0}, {"renewal": 1.1}],
)  # fmt: skip
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        CnnSpeedrunConfig(**wrong)


def test_small_pictures_are_refused():
    with pytest.raises(ValueError, match="8 pixels a side"):
        net()(torch.zeros(2, 1, 8, 7))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([2, 4, 6]),
       st.integers(8, 30), st.integers(8, 30), st.booleans())  # fmt: skip
def test_shapes(batch, channels, patch, rows, columns, shortcut):
    model = net(channels=channels, patch=patch, shortcut=shortcut, classes=7).eval()
    assert model(torch.randn(batch, channels, rows, columns)).shape == (batch, 7)


@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_patches_are_uncorrelated_and_of_size_1(channels):
    images = 100 * pictures(40, channels, 16, 16)
    filters = whitening_filters(images, 4)
    half = 16 * channels
    torch.testing.assert_close(filters[half:], -filters[:half])
    answers = F.conv2d(images, filters[:half], stride=2).movedim(1, 0).flatten(1)
    found = answers @ answers.T / answers.shape[1]
    torch.testing.assert_close(found, torch.eye(half, dtype=F64), rtol=0, atol=1e-4)


def test_whitened_filters_are_not_learnt_but_their_bias_is():
    model = net().double()
    assert model.first.weight.requires_grad
    model.whiten(pictures(8, 1, 16, 16))
    assert not model.first.weight.requires_grad
    model(pictures(4, 1, 16, 16)).square().sum().backward()
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert "first.bias" in learnt
    assert not [n for n in learnt if "norm" in n and n.endswith("weight")]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learnt.values())


def test_the_first_filters_of_a_convolution_pass_a_channel_on():
    block = net(widths=(32, 48, 48)).blocks[1]
    x = torch.randn(2, 32, 6, 6)
    torch.testing.assert_close(block.conv1(x)[:, :32], x)
    assert block.conv1(x)[:, 32:].std() > 0


@pytest.mark.parity
@pytest.mark.parametrize("shortcut", [True, False])
def test_logits_equal_a_chain_of_functions(shortcut):
    model = shake(net(shortcut=shortcut)).eval()
    w, x = model.state_dict(), pictures(3, 1, 28, 28)
    y = F.relu(F.conv2d(x, w["first.weight"], w["first.bias"], stride=2, padding=1))
    for i in range(3):

        def norm(maps, k, i=i):
            at = f"blocks.{i}.norm{k}."
            mean, var = w[at + "running_mean"], w[at + "running_var"]
            spread = (var + 1e-5).sqrt()[:, None, None]
            scale, bias = w[at + "weight"][:, None, None], w[at + "bias"][:, None, None]
            return (maps - mean[:, None, None]) / spread * scale + bias

        y = F.conv2d(y, w[f"blocks.{i}.conv1.weight"], padding=1)
        y = F.max_pool2d(y, 2) if i else y
        y = F.relu(norm(y, 1))
        z = F.relu(norm(F.conv2d(y, w[f"blocks.{i}.conv2.weight"], padding=1), 2))
        y = y + z if shortcut else z
    expected = y.flatten(2).max(2).values @ w["head.weight"].T / 8**0.5
    assert expected.std() > 0.1
    torch.testing.assert_close(model(x), expected)


def test_two_passes_show_both_faces_of_every_picture():
    x = torch.arange(24.0).reshape(6, 1, 2, 2)
    chosen = torch.tensor([True, False, True, False, False, True])
    passes = [alternate_flip(x, chosen, epoch) for epoch in range(4)]
    torch.testing.assert_close(passes[0], torch.where(chosen[:, None, None, None], x.flip(3), x))
    torch.testing.assert_close(passes[1], passes[0].flip(3))
    torch.testing.assert_close(passes[2], passes[0])
    torch.testing.assert_close(passes[3], passes[1])


def test_six_views_are_averaged():
    weights = torch.randn(36, 5, dtype=F64)
    seen = []

    def model(images):
        seen.append(images)
        return images.flatten(1) @ weights

    x = pictures(3, 1, 6, 6)
    found = average_views(model, x)
    assert len(seen) == 6
    up, down = torch.zeros_like(x), torch.zeros_like(x)
    up[:, :, 1:, 1:], down[:, :, :-1, :-1] = x[:, :, :-1, :-1], x[:, :, 1:, 1:]
    mean = (x + x.flip(3)) / 4 + (up + up.flip(3) + down + down.flip(3)) / 8
    torch.testing.assert_close(found, mean.flatten(1) @ weights)


def test_it_learns_one_batch():
    model = net(widths=(16, 16, 32), renewal=0.5).double()
    x, labels = pictures(20, 1, 16, 16), torch.arange(20) % 10
    model.whiten(x)
    losses = one_batch(model, x, labels)
    assert losses[0] > 1.5
    assert losses[-1] < 0.3
