"""What does recurrence cost in time?

An RNN, an LSTM, a QRNN, an SRU and attention each do the same amount of arithmetic, spread over
many short sequences or over few long ones. Where a step has to wait for the step before, the same
work takes longer on long sequences. Times are the least of several, taken in turns, so what is
compared are ratios from one machine at one moment.

On a single core nothing runs side by side, so what is seen is only that many small steps cost more
than few large ones; on a machine with thousands of cores the gap is wider.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from orrery.experiments.language._clock import seconds
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.nn.attention import attention_weights
from orrery.nn.element_recurrence import by_doubling, element_recurrence
from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.lstm import Lstm
from orrery.systems.language.qrnn import Qrnn, QrnnConfig
from orrery.systems.language.rnn import Rnn
from orrery.systems.language.sru import Sru, SruConfig

ARMS = ("rnn", "lstm", "qrnn", "sru", "attention")
SHORT, LONG = "8", "512"
LENGTHS = (8, 32, 128, 512)
Network = Callable[[Tensor], object]


def growth(m: Measured, arm: str) -> float:
    """Time at the longest over time at the shortest, for as much work."""
    return m[f"{arm}/{LONG}-seconds"] / m[f"{arm}/{SHORT}-seconds"]


def work(m: Measured) -> list[float]:
    """Operations of every arm at every length."""
    return [m[f"{arm}/work-{length}"] for arm in ARMS for length in LENGTHS]


CLAIMS = (
    Claim(
        "rnn-parallel",
        effect=lambda m: min(growth(m, "rnn"), 2.25 - growth(m, "attention")),
        margin=1.25,
        text="for as much work 512 steps take an RNN over a quarter more time than 8, and do not "
        "take attention so",
    ),
    Finding(
        "gates that do not read the state: QRNN and SRU slow down less than the LSTM",
        effect=lambda m: growth(m, "lstm") / max(growth(m, "qrnn"), growth(m, "sru")),
        margin=1.0,
    ),
    Finding(
        "at 512 steps QRNN and SRU are faster than the LSTM for as much work",
        effect=lambda m: m["lstm/512-seconds"] / max(m["qrnn/512-seconds"], m["sru/512-seconds"]),
        margin=1.0,
    ),
    Finding(
        "one long element-wise recurrence is faster by doubling than step by step",
        effect=lambda m: m["recurrence/steps-seconds"] / m["recurrence/doubling-seconds"],
        margin=1.0,
    ),
    Control(
        "every arm does as much arithmetic at every length, to a fifth",
        effect=lambda m: 1.2 - max(work(m)) / min(work(m)),
    ),
)
ABLATIONS = ("no_recurrence",)
SCALES = {
    "smoke": {"rounds": 1},
    "large": {"rounds": 50, "megaflops": 10_000},
}


class RecurrenceSpeedSettings(Settings):
    """A smoke run takes every time once."""

    width: Annotated[int, Range(4, 4_096)] = 64
    """Of every network."""
    megaflops: Annotated[int, Range(100, 1_000_000)] = 170
    """Work of a pass."""
    rounds: Annotated[int, Range(1, 1_000)] = 15
    """Times that each time is taken."""


def run(settings: RecurrenceSpeedSettings, lab: Lab) -> Measured:
    """Count the work of every arm at every length, then take the times in turns."""
    torch.manual_seed(lab.rng("weights").initial_seed())
    nets = networks(settings.width)
    if lab.ablated("no_recurrence"):
        step = nets["rnn"]  # every step a sequence of its own: as much work, nothing waits
        nets["rnn"] = lambda x: step(x.reshape(-1, 1, x.shape[2]))
    return lab.measure("times", lambda: times(nets, settings))


def networks(width: int) -> dict[str, Network]:
    """One layer of each kind."""
    sizes = RecurrentConfig(inputs=width, width=width)
    qkv, out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)

    def attention(x: Tensor) -> Tensor:
        q, k, v = qkv(x)[:, None].chunk(3, dim=-1)
        return out((attention_weights(q, k) @ v)[:, 0])

    return {
        "rnn": Rnn(sizes),
        "lstm": Lstm(sizes),
        "qrnn": Qrnn(QrnnConfig(inputs=width, width=width)),
        "sru": Sru(SruConfig(inputs=width, width=width)),
        "attention": attention,
    }


@torch.no_grad()
def times(nets: dict[str, Network], settings: RecurrenceSpeedSettings) -> Measured:
    """Seconds for as much work in short and long sequences, and how much work it was."""
    measured: Measured = {}
    works: dict[str, Callable[[], object]] = {}
    for arm, net in nets.items():
        for length in LENGTHS:
            one = operations(net, torch.randn(2, length, settings.width)) / 2
            count = max(1, round(1e6 * settings.megaflops / one))
            x = torch.randn(count, length, settings.width)
            measured[f"{arm}/work-{length}"] = count * one / 1e6
            works[f"{arm}/{length}"] = partial(net, x)
    f, g = torch.rand(2, 4_096, 1, settings.width).unbind()
    works["recurrence/steps"] = lambda: element_recurrence(f, g, g[0])
    works["recurrence/doubling"] = lambda: by_doubling(f, g, g[0])
    return measured | seconds(works, settings.rounds)


def operations(net: Network, x: Tensor) -> float:
    """Floating-point operations in the matrix products of a pass."""
    with FlopCounterMode(display=False) as counter:
        net(x)
    return float(counter.get_total_flops())


def draw(results: Sequence[Measured], settings: RecurrenceSpeedSettings) -> dict[str, Figure]:
    """Time by length, every arm in units of its own time at the shortest."""
    figure, (axis,) = new_figure(6.0, 3.4)
    relative = [
        {
            f"{arm}/{n}": m[f"{arm}/{n}-seconds"] / m[f"{arm}/{SHORT}-seconds"]
            for arm in ARMS
            for n in LENGTHS
        }
        for m in results
    ]
    for colour, arm in zip(COLOURS, ARMS, strict=False):
        mean, half = over_seeds(relative, [f"{arm}/{length}" for length in LENGTHS])
        axis.errorbar(LENGTHS, mean, half, fmt=".-", color=colour, label=arm)
    axis.set(
        xscale="log", yscale="log", xlabel="steps in a sequence",
        title="The same work in longer sequences", ylabel="time / time at 8 steps",
    )  # fmt: skip
    axis.legend()
    return {"growth": figure}
