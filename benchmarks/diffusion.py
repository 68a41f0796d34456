"""Rows 4a to 4c: DDPM's U-Net against diffusers' UNet2DModel, training and drawing.

Both have the same sizes and the same weights, and are timed only once their outputs agree. In
float32 ours convolves by tiles (`orrery.nn.winograd`), with a part of the batch for each thread;
where the processor has bfloat16, weights and activations are bfloat16 throughout.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor

from benchmarks.products import peak
from benchmarks.side_by_side import interleave, report
from orrery.data import mnist
from orrery.data.pictures import draw_pictures
from orrery.metrics.digit_features import DigitFeatures, compare_digits
from orrery.nn.winograd import frozen_filters
from orrery.systems.generative.ddim import ddim_sample, spaced_times
from orrery.systems.generative.ddpm import Denoiser, clipped, linear_schedule, spread_times
from orrery.systems.generative.dpm_solver import dpm_solver_sample, log_spaced_times
from orrery.systems.generative.unet import UNet, UNetConfig, from_diffusers
from orrery.train import precision
from orrery.train.master import MasterWeights
from orrery.train.parts import Parts

CONFIG = UNetConfig()  # 5.9 million parameters, 32 x 32 colour images
FLOPS = 1.95e9  # of a forward pass over one image
BATCH, DRAWN = 32, 16
LAST = torch.channels_last
Step = Callable[[], Tensor]


def main() -> bool:
    """All three rows; bfloat16 only where the processor has it (emulated, a step takes minutes)."""
    torch.manual_seed(0)
    bfloat16 = precision.measured().bfloat16
    theirs = peer_network(CONFIG)
    limit = peak(bfloat16=bfloat16) * 1e9 / FLOPS
    return all([train(theirs, bfloat16, limit / 3), draw(theirs, bfloat16, limit / 50), solve()])


def peer_network(config: UNetConfig) -> UNet2DModel:
    """The same network in diffusers."""
    down = ["AttnDownBlock2D" if looks else "DownBlock2D" for looks in config.attention]
    up = ["AttnUpBlock2D" if looks else "UpBlock2D" for looks in reversed(config.attention)]
    return UNet2DModel(
        in_channels=config.channels, out_channels=config.channels, layers_per_block=config.depth,
        block_out_channels=config.widths, norm_num_groups=config.groups,
        attention_head_dim=config.widths[-1] // config.heads,
        down_block_types=tuple(down), up_block_types=tuple(up),
    )  # fmt: skip


def our_network(theirs: UNet2DModel, config: UNetConfig) -> UNet:
    """Ours with their weights."""
    ours = UNet(config)
    ours.load_state_dict(from_diffusers(theirs.state_dict(), config))
    return ours


def modes(bfloat16: bool) -> list[tuple[str, torch.memory_format, bool]]:
    """How a user of diffusers may run it: the default first."""
    layouts = (("", torch.contiguous_format), (" channels_last", LAST))
    return [
        (f"diffusers {'bfloat16' if low else 'float32'}{name}", layout, low)
        for low in sorted({False, bfloat16}) for name, layout in layouts
    ]  # fmt: skip


def train(theirs: UNet2DModel, bfloat16: bool, limit: float) -> bool:
    """4a: a training step, forward, backward and AdamW."""
    x0, noise = torch.randn(2, BATCH, CONFIG.channels, 32, 32)
    t = torch.randint(1000, (BATCH,))
    x = linear_schedule().noised(x0, noise, t)
    contestants = {
        name: peer_step(deepcopy(theirs).to(memory_format=layout), x, noise, t, layout, low)
        for name, layout, low in modes(bfloat16)
    }
    contestants["orrery"] = our_step(our_network(theirs, CONFIG), x, noise, t, bfloat16)
    # the third step's loss has been through two updates: gradients are compared with it
    losses = {name: [float(step()) for _ in range(3)][-1] for name, step in contestants.items()}
    tolerance = 2e-2 if bfloat16 else 1e-4
    assert max(losses.values()) - min(losses.values()) < tolerance, losses
    timings = interleave(contestants, rounds=7, budget_seconds=200)
    return report(
        "4a", "DDPM U-Net training step, 32 images", timings, "orrery", goal=1.25,
        unit="images/s", work=BATCH, limit=limit,
    )  # fmt: skip


def peer_step(
    model: UNet2DModel, x: Tensor, noise: Tensor, t: Tensor, layout: torch.memory_format, low: bool
) -> Step:
    """As a user of diffusers trains."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, noise = x.to(memory_format=layout), noise.to(memory_format=layout)

    def step() -> Tensor:
        precision.use_default_products()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = F.mse_loss(model(x, t).sample.float(), noise)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def our_step(model: UNet, x: Tensor, noise: Tensor, t: Tensor, bfloat16: bool) -> Step:
    """Float32 by tiles and in parts; or bfloat16 with float32 masters."""
    masters = MasterWeights(model) if bfloat16 else None
    parameters = list(model.parameters())
    trained = masters.of(parameters) if masters else parameters
    optimiser = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    parts, dtype = Parts(torch.get_num_threads()), parameters[0].dtype

    def loss(part: slice) -> Tensor:
        return F.mse_loss(model(x[part].to(dtype), t[part]).float(), noise[part])

    def step() -> Tensor:
        precision.use_fast_products(model)
        found = parts.backward(BATCH, loss, parameters)
        if masters:
            masters.take_gradients()
        optimiser.step()
        if masters:
            masters.give_weights()
        optimiser.zero_grad(set_to_none=True)
        return found

    return step


def draw(theirs: UNet2DModel, bfloat16: bool, limit: float) -> bool:
    """4b: sixteen images by fifty DDIM steps."""
    noise = torch.randn(DRAWN, CONFIG.channels, 32, 32)
    contestants = {
        name: peer_draw(deepcopy(theirs).to(memory_format=layout), noise, layout, low)
        for name, layout, low in modes(bfloat16)
    }
    contestants["orrery"] = our_draw(our_network(theirs, CONFIG), noise, ddim, bfloat16)
    default, *others = [name for name in contestants if name != "orrery"]
    exact = contestants[default]()
    errors = {name: float((w() - exact).norm() / exact.norm()) for name, w in contestants.items()}
    assert max(errors.values()) < (5e-2 if bfloat16 else 1e-4), errors
    timings = interleave(contestants, rounds=4, warmups=0, budget_seconds=240)
    common = {"ours": "orrery", "unit": "images/s", "work": DRAWN, "limit": limit}
    what = "16 images by 50 DDIM steps, against diffusers'"
    return all([
        report("4b", f"{what} default", timings, goal=1.8, peers=(default,), **common),
        report("4b", f"{what} best", timings, goal=1.25, peers=(default, *others), **common),
    ])  # fmt: skip


def peer_draw(
    model: UNet2DModel, noise: Tensor, layout: torch.memory_format, low: bool, clip: bool = False
) -> Step:
    """Diffusers' loop of fifty steps."""
    scheduler = DDIMScheduler(timestep_spacing="trailing", clip_sample=clip)
    scheduler.set_timesteps(50)
    model.eval()

    def work() -> Tensor:
        precision.use_default_products()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            x = noise.to(memory_format=layout)
            for t in scheduler.timesteps:
                x = scheduler.step(model(x, t).sample.float(), t, x).prev_sample
        return x

    return work


def our_draw(
    model: UNet, noise: Tensor, sample: Callable[[Denoiser, Tensor], Tensor], bfloat16: bool
) -> Step:
    """Ours: a part of the images for each thread, filters taken apart once."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    model = deepcopy(model).to(dtype)
    parts = Parts(torch.get_num_threads())

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        return model(x.to(dtype), t).float()

    def work() -> Tensor:
        precision.use_fast_products(model)
        with frozen_filters(model):
            drawn = parts.each(len(noise), lambda part: sample(denoiser, noise[part]))
        return torch.cat(drawn)

    return work


def ddim(denoiser: Denoiser, noise: Tensor) -> Tensor:
    """Fifty steps of DDIM."""
    return ddim_sample(denoiser, linear_schedule(), noise, spaced_times(1000, 50))


def solver(denoiser: Denoiser, noise: Tensor) -> Tensor:
    """Ten steps of the second-order solver."""
    schedule = linear_schedule()
    times = log_spaced_times(schedule, 10)
    return dpm_solver_sample(clipped(denoiser, schedule), schedule, noise, times)


def solve() -> bool:
    """4c: digits as near to real ones as those of fifty DDIM steps, by any sampler."""
    digits, _ = draw_pictures(mnist.load()[1], 1_000, torch.Generator(), halvings=1)
    config = UNetConfig(
        channels=1, widths=(16, 32), depth=1, attention=(False, True), heads=2, groups=4
    )
    theirs, reader = taught(peer_network(config))
    noise = torch.randn(128, 1, *digits.shape[2:])
    contestants = {
        name: peer_draw(
            deepcopy(theirs).to(memory_format=layout), noise, layout, low=False, clip=True
        )
        for name, layout, _ in modes(bfloat16=False)
    }
    contestants["orrery"] = our_draw(our_network(theirs, config), noise, solver, bfloat16=False)
    distances = {
        name: compare_digits(
            reader, work().clamp(-1, 1), digits, permutations=1, rng=torch.Generator()
        ).distance
        for name, work in contestants.items()
    }  # fmt: skip
    ours = distances.pop("orrery")
    assert ours <= min(distances.values()), (ours, distances)
    timings = interleave(contestants, rounds=5, warmups=0, budget_seconds=120)
    return report(
        "4c", f"digits at a distance of {ours:.2f} (theirs: {min(distances.values()):.2f})",
        timings, "orrery", goal=4.0, unit="images/s", work=len(noise),
    )  # fmt: skip


def taught(model: UNet2DModel, updates: int = 500) -> tuple[UNet2DModel, DigitFeatures]:
    """The network after some training on digits, and a reader of them."""
    digits, labels = draw_pictures(mnist.load()[0], 4_000, torch.Generator(), halvings=1)
    reader = DigitFeatures(digits.shape[-1])
    adams = [torch.optim.Adam(m.parameters(), lr=2e-3) for m in (model, reader)]
    schedule, rng = linear_schedule(), torch.Generator().manual_seed(0)
    for _ in range(updates):
        chosen = torch.randint(len(digits), (BATCH,), generator=rng)
        x0, t = digits[chosen], spread_times(1000, BATCH, rng)
        noise = torch.randn(x0.shape, generator=rng)
        loss = F.mse_loss(model(schedule.noised(x0, noise, t), t).sample, noise)
        (loss + F.cross_entropy(reader(x0), labels[chosen])).backward()
        for adam in adams:
            adam.step()
            adam.zero_grad()
    return model, reader


if __name__ == "__main__":
    main()
