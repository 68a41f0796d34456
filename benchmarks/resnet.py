"""Rows 5a and 5b: a training step of ResNet-18, and the time to its accuracy.

5a: the net has the usual stem for pictures of 32 x 32 pixels. The peer is plain PyTorch, in
float32 and under bfloat16 autocast, channels first or last; both hold the same weights, and are
timed only once their losses agree after two updates. Ours has bfloat16 weights with float32
masters where the processor has bfloat16, and `SmallMapConv` in its blocks.

5b: the peer is that ResNet-18 as it is usually trained (SGD with momentum, crops and flips, one
cycle of the rate), in its best mode, against `cnn_speedrun` with its recipe. Both see the same
part of Fashion-MNIST for a fixed number of passes, in turns, so that whatever else the machine
does slows both; the ratio of the times counts if ours tells as many test pictures right.
"""

import json
import time
from collections.abc import Callable
from copy import deepcopy
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.products import peak
from benchmarks.side_by_side import interleave, report
from orrery.data import fashion_mnist
from orrery.data.labelled import Labelled
from orrery.experiments.foundations._speedrun import (
    Data,
    Speedrun,
    Tricks,
    as_pictures,
    scores,
    told_right,
)
from orrery.systems.foundations.augmentation import AugmentationConfig, augment
from orrery.systems.foundations.resnet import BasicBlock, initialise_convolutions
from orrery.train import precision
from orrery.train.master import MasterWeights
from orrery.train.schedule import scale_rates

BATCH, CLASSES = 128, 10
FLOPS = 1.11e9  # of a forward pass over one picture of 32 x 32 pixels
LAST = torch.channels_last
PART, TESTED = 6_000, 2_000  # pictures of row 5b
PASSES = {"ResNet-18": 6, "orrery": 8}
Step = Callable[[], Tensor]


class PlainBlock(nn.Module):
    """The basic block as anyone writes it; its names are those of `BasicBlock`."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


def resnet18(block: Callable[[int, int, int], nn.Module], channels: int = 3) -> nn.Sequential:
    """Of eight blocks, for small pictures: a 3 x 3 stem, and no pooling behind it."""
    stem = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    layers: list[nn.Module] = [stem, nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for stage in range(4):
        for index in range(2):
            layers.append(block(inputs, 64 << stage, 2 if stage and not index else 1))
            inputs = 64 << stage
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))
    initialise_convolutions(net)
    return net


def main() -> bool:
    """Both rows; bfloat16 only where the processor has it."""
    torch.manual_seed(0)
    bfloat16 = precision.measured().bfloat16
    return all([train(bfloat16), to_accuracy(bfloat16)])


def train(bfloat16: bool) -> bool:
    """5a: a step of SGD on a batch of colour pictures."""
    theirs, ours = resnet18(PlainBlock), resnet18(BasicBlock)
    ours.load_state_dict(theirs.state_dict())
    x, y = torch.randn(BATCH, 3, 32, 32), torch.randint(CLASSES, (BATCH,))
    contestants: dict[str, Step] = {}
    for low in sorted({False, bfloat16}):
        for layout in (torch.contiguous_format, LAST):
            kind = "bfloat16" if low else "float32"
            name = f"PyTorch {kind}{' channels_last' if layout is LAST else ''}"
            contestants[name] = peer_step(deepcopy(theirs), x, y, layout, low)
    default, *others = contestants
    contestants["orrery"] = our_step(ours, x, y, bfloat16)
    losses = {name: [float(step()) for _ in range(3)][-1] for name, step in contestants.items()}
    assert max(losses.values()) - min(losses.values()) < (0.1 if bfloat16 else 1e-3), losses
    timings = interleave(contestants, rounds=7, budget_seconds=120)
    limit = peak(bfloat16=bfloat16) * 1e9 / (3 * FLOPS)
    what = f"ResNet-18 training step, {BATCH} pictures, against PyTorch's"
    common = {"ours": "orrery", "unit": "images/s", "work": BATCH, "limit": limit}
    return all([
        report("5a", f"{what} default", timings, goal=2.5, peers=(default,), **common),
        report("5a", f"{what} best", timings, goal=1.05, peers=(default, *others), **common),
    ])  # fmt: skip


def peer_step(
    model: nn.Module, x: Tensor, y: Tensor, layout: torch.memory_format, low: bool
) -> Step:
    """As a user of PyTorch trains."""
    model, x = model.to(memory_format=layout), x.to(memory_format=layout)
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)

    def step() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = F.cross_entropy(model(x).float(), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def our_step(model: nn.Module, x: Tensor, y: Tensor, bfloat16: bool) -> Step:
    """Weights and maps in bfloat16, norms and masters in float32; or all in float32."""
    model = model.to(memory_format=LAST)
    masters = MasterWeights(model, torch.bfloat16 if bfloat16 else torch.float32)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    trained = masters.of(model.parameters())
    optimiser = torch.optim.SGD(trained, 0.01, momentum=0.9, fused=True)
    x = x.to(torch.bfloat16 if bfloat16 else torch.float32, memory_format=LAST)

    def step() -> Tensor:
        loss = F.cross_entropy(model(x).float(), y)
        loss.backward()
        masters.take_gradients()
        optimiser.step()
        masters.give_weights()
        return loss.detach()

    return step


def usual(data: Data, passes: int) -> tuple[nn.Module, int, Callable[[int], None]]:
    """ResNet-18, the number of its steps, and one step as it is usually trained."""
    images, labels = data
    net = resnet18(PlainBlock, channels=1).to(memory_format=LAST)
    per_pass = len(images) // BATCH
    steps, warmup = passes * per_pass, 0.2 * passes * per_pass
    optimiser = torch.optim.SGD(
        net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True
    )

    def step(i: int) -> None:
        epoch, place = divmod(i, per_pass)
        order = torch.randperm(len(images), generator=Generator().manual_seed(epoch))
        rows = order[place * BATCH : (place + 1) * BATCH]
        pictures = augment(images[rows], AugmentationConfig(), Generator().manual_seed(i))
        loss = F.cross_entropy(scores(net, pictures), labels[rows])
        loss.backward()
        scale_rates(optimiser, min((i + 1) / warmup, (steps - i) / (steps - warmup)))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return net, steps, step


def to_accuracy(bfloat16: bool) -> bool:
    """5b: seconds until as many test pictures are told right as ResNet-18 tells in the end."""
    train_part, test_part = fashion_mnist.load()
    data, held_out = (
        as_pictures(Labelled(part.images[:count], part.labels[:count]), torch.device("cpu"))
        for part, count in ((train_part, PART), (test_part, TESTED))
    )

    def rng(name: str, *index: int) -> Generator:
        return Generator().manual_seed(crc32(repr((name, *index)).encode()))

    theirs, their_steps, their_step = usual(data, PASSES["ResNet-18"])
    ours = Speedrun(
        Tricks(), data, (32, 64, 128), epochs=PASSES["orrery"], batch=250, rng=rng
    )  # fmt: skip
    seconds = take_turns({
        "ResNet-18": (their_step, their_steps), "orrery": (ours.learn, ours.steps),
    })  # fmt: skip
    right = {
        "ResNet-18": told_right(theirs, held_out, views=False),
        "orrery": told_right(ours.net, held_out, views=True),
    }
    ratio, goal = seconds["orrery"] / seconds["ResNet-18"], 0.25
    reached = right["orrery"] >= right["ResNet-18"] and ratio <= goal
    print(json.dumps({
        "row": "5b", "what": f"time to ResNet-18's accuracy, {PART} pictures of Fashion-MNIST",
        "ratio": round(ratio, 3), "goal": goal, "reached": reached,
        "best_peer": f"ResNet-18 {'bfloat16' if bfloat16 else 'float32'} channels_last",
        "share_of_limit": None, "contended": [], "right": right,
        "seconds": {k: round(v, 1) for k, v in seconds.items()},
    }), flush=True)  # fmt: skip
    return reached


def take_turns(runs: dict[str, tuple[Callable[[int], object], int]]) -> dict[str, float]:
    """Seconds of each run; after every step of the longest each is as far on its way."""
    seconds, done = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0)
    turns = max(steps for _, steps in runs.values())
    for turn in range(1, turns + 1):
        for name, (step, steps) in runs.items():
            while done[name] < round(turn * steps / turns):
                start = time.perf_counter()
                step(done[name])
                seconds[name] += time.perf_counter() - start
                done[name] += 1
    return seconds


if __name__ == "__main__":
    main()
