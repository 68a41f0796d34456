import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.generative.unet import UNet, UNetConfig, from_diffusers, time_waves

SMALL = UNetConfig(channels=2, widths=(8, 16), depth=1, attention=(False, True), heads=2, groups=4)


def spread(model: UNet) -> UNet:
    """Weights at which outputs have a spread near 1, so that nothing hides in small numbers."""
    generator = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        if p.ndim > 1:
            p.data = torch.randn(p.shape, generator=generator) * p[0].numel() ** -0.5
        else:
            p.data = float("norm" in name and "weight" in name) + 0.3 * torch.randn(
                p.shape, generator=generator
            )
    return model


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"channels": 0}, "channels"),
        ({"depth": 0}, "depth"),
        ({"widths": ()}, "widths"),
        ({"widths": (48, 52, 144)}, "52"),
        ({"attention": (True,)}, "attention"),
        ({"heads": 5}, "heads"),
    ],
)
def test_bad_sizes_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        UNetConfig(**wrong)


def test_an_image_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="multiples of 2, got 7 x 8"):
        UNet(SMALL)(torch.zeros(1, 2, 7, 8), torch.tensor([0]))


@settings(max_examples=8, deadline=None)
@given(
    batch=st.integers(1, 3), rows=st.integers(1, 3), columns=st.integers(1, 3),
    levels=st.integers(1, 3), depth=st.integers(1, 2), channels=st.integers(1, 3),
)  # fmt: skip
def test_the_noise_has_the_shape_of_the_image(batch, rows, columns, levels, depth, channels):
    config = UNetConfig(
        channels=channels, widths=(4, 8, 8)[:levels], depth=depth, heads=2, groups=2,
        attention=(False, True, False)[:levels],
    )  # fmt: skip
    image = torch.randn(batch, channels, rows * config.divisor, columns * config.divisor)
    assert UNet(config)(image, torch.arange(batch)).shape == image.shape


def test_untrained_it_says_there_is_no_noise():
    assert not UNet(SMALL)(torch.randn(2, 2, 8, 8), torch.tensor([0, 9])).any()


def test_waves_tell_times_apart_and_are_cosines_then_sines():
    waves = time_waves(torch.tensor([0.0, 3.0, 999.0], dtype=torch.float64), 8)
    torch.testing.assert_close(waves[0], torch.tensor([1.0] * 4 + [0.0] * 4).double())
    torch.testing.assert_close(waves[1, 4].item(), math.sin(3.0))
    torch.testing.assert_close(waves[2, 1].item(), math.cos(999.0 / 10))
    assert torch.pdist(time_waves(torch.arange(1000), 16)).min() > 0.01


def test_a_batch_is_its_images_one_by_one():
    model = spread(UNet(SMALL)).double()
    images, times = torch.randn(3, 2, 8, 8).double(), torch.tensor([0, 500, 999])
    alone = [model(images[i : i + 1], times[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(model(images, times), torch.cat(alone))


def test_layout_in_memory_does_not_matter():
    model = spread(UNet(SMALL)).double()
    images, times = torch.randn(2, 2, 8, 8).double(), torch.tensor([3, 700])
    expected = model(images, times)
    model.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(model(images, times), expected)
    last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(last, times), expected)


def test_in_bfloat16_it_is_the_same_network():
    model = spread(UNet(SMALL))
    images, times = torch.randn(2, 2, 8, 8), torch.tensor([3, 700])
    expected = model(images, times)
    found = model.bfloat16()(images.bfloat16(), times)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).norm() < 0.05 * expected.norm()


def test_gradients_are_those_of_finite_differences():
    config = UNetConfig(channels=1, widths=(4, 4), depth=1, attention=(False, True), heads=2,
                        groups=2)  # fmt: skip
    model = spread(UNet(config)).double()
    image = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model(x, torch.tensor([7])), image)


def test_every_weight_gets_a_gradient():
    model = spread(UNet(SMALL))
    model(torch.randn(2, 2, 8, 8), torch.tensor([1, 2])).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model = UNet(SMALL)
    images, noise = torch.randn(4, 2, 8, 8), torch.randn(4, 2, 8, 8)
    times = torch.arange(4) * 200
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = F.mse_loss(model(images, times), noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.9
    assert losses[-1] < 0.1


@pytest.mark.parity
def test_same_noise_as_diffusers_with_its_weights():
    from diffusers import UNet2DModel

    config = UNetConfig(channels=3, widths=(16, 32, 32), depth=2, heads=2, groups=8,
                        attention=(False, False, True))  # fmt: skip
    theirs = UNet2DModel(
        in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=config.widths,
        norm_num_groups=8, attention_head_dim=16,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    spread(theirs).double()
    ours = UNet(config).double()
    ours.load_state_dict(from_diffusers(theirs.state_dict(), config))  # strict: every key is used
    images, times = torch.randn(2, 3, 8, 16).double(), torch.tensor([3, 700])
    expected = theirs(images, times).sample
    assert 0.3 < expected.std() < 3
    torch.testing.assert_close(ours(images, times), expected)
