"""How far back can an RNN, an LSTM and a GRU remember?

Each learns the adding problem at growing lengths: two of many numbers are marked, one at the
beginning, one in the second half, and their sum is asked for at the end. Errors are shares of the
error of guessing. Then gradients of the trained networks by both numbers are compared.

The plan's three bottlenecks of an RNN are each put to a test that can fail: as many numbers in
fewer, longer sequences must take longer (computation is sequential); the error at the longest
length must be far above that at the shortest (decay); and an encoder that copies lists by way of
one vector must lose a larger share of long ones (fixed size).
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from torch.nn.utils import clip_grad_norm_

from orrery.experiments.language._clock import seconds
from orrery.experiments.language._recall import GUESSING, adding, copying, reach, reader
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.rnn import Rnn
from orrery.systems.language.seq2seq import Seq2Seq, Seq2SeqConfig
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("rnn", "lstm_1997", "lstm", "gru")
SHARES = (0.2, 0.5, 1.0)  # of the longest length
LISTS = (2, 6, 18)  # symbols to copy
SYMBOLS = 8


def bottlenecks(m: Measured) -> float:
    """By how much the weakest of the three exceeds what would count as none."""
    return min(
        m["time/long-seconds"] / m["time/short-seconds"] - 1.5,
        m["rnn/2"] - m["rnn/0"] - 0.25,
        m["copy/18"] - m["copy/2"] - 0.1,
    )


CLAIMS = (
    Claim(
        "lstm-highway",
        effect=lambda m: m["rnn/2"] - m["lstm_1997/2"],
        margin=0.5,
        text="at the longest length the error of an LSTM that never forgets is smaller than the "
        "RNN's by half of the error of guessing",
    ),
    Claim("rnn-three-bottlenecks", effect=bottlenecks),
    Finding(
        "GRU as good as LSTM with three quarters of the parameters, to a tenth of guessing",
        effect=lambda m: 0.1 - (m["gru/2"] - m["lstm/2"]),
    ),
    Finding(
        "a forget gate does not help here: the LSTM of 2000 is no better, to a tenth of guessing",
        effect=lambda m: 0.1 - (m["lstm_1997/2"] - m["lstm/2"]),
    ),
    Finding(
        "its gradient by the first number, once trained, is over half of that by the second",
        effect=lambda m: m["lstm_1997/reach"],
        margin=0.5,
    ),
    Control(
        "every network learns the shortest length: under half of the error of guessing",
        effect=lambda m: 0.5 - max(m[f"{arm}/0"] for arm in ARMS),
    ),
    Control("lists of two are copied", effect=lambda m: 0.1 - m["copy/2"]),
)
ABLATIONS = ("no_highway",)
SEEDS = 4
SCALES = {
    "smoke": {"steps": 3, "copy_steps": 3, "longest": 20, "batch": 8},
    "large": {"steps": 5_000, "copy_steps": 5_000, "longest": 400, "width": 128},
}


class MemorySettings(Settings):
    """A smoke run takes a few steps on short sequences."""

    steps: Annotated[int, Range(1, 1_000_000)] = 600
    """Optimiser steps of each network at each length."""
    copy_steps: Annotated[int, Range(1, 1_000_000)] = 400
    """Optimiser steps of each network that copies."""
    longest: Annotated[int, Range(10, 10_000, "numbers")] = 60
    """Length of the longest sequences; the others are a fifth and a half as long."""
    width: Annotated[int, Range(2, 1_024)] = 32
    """Of every network's state."""
    batch: Annotated[int, Range(2, 4_096, "sequences")] = 64
    """Sequences in a batch."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.01
    """Highest learning rate."""


def run(settings: MemorySettings, lab: Lab) -> Measured:
    """Train every network at every length, then the copyists, then take the time."""
    measured: Measured = {}
    for arm in ARMS:
        for i, share in enumerate(SHARES):
            length = round(share * settings.longest)
            found = add(arm, length, settings, lab)
            measured[f"{arm}/{i}"] = found["error"]
            measured[f"{arm}/reach"] = found["reach"]  # of the longest, which comes last
    for length in LISTS:
        measured[f"copy/{length}"] = copy(length, settings, lab)
    return measured | lab.measure("time", clocks)


def add(arm: str, length: int, settings: MemorySettings, lab: Lab) -> Measured:
    """Learn to add at one length; the error on new sequences, and the reach of the gradient."""
    torch.manual_seed(lab.rng("weights").initial_seed())
    model = reader(arm, settings.width, highway=not lab.ablated("no_highway")).to(lab.device)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
    for step in lab.steps(f"{arm}-{length}", settings.steps, state=(model, optimiser)):
        x, y = adding(length, settings.batch, lab.rng("adding", length, step))
        loss = (model(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    x, y = adding(length, 512, lab.rng("new", length))
    with torch.no_grad():
        error = float((model(x) - y).square().mean()) / GUESSING
    return {"error": error, "reach": reach(model, x)}


def copy(length: int, settings: MemorySettings, lab: Lab) -> float:
    """Learn to copy lists by way of one vector; the share of symbols that come out wrong."""
    torch.manual_seed(lab.rng("copyist").initial_seed())
    vocab = SYMBOLS + 2
    model = Seq2Seq(Seq2SeqConfig(source_vocab=vocab, target_vocab=vocab, width=settings.width)).to(
        lab.device
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
    for step in lab.steps(f"copy-{length}", settings.copy_steps, state=(model, optimiser)):
        rng = lab.rng("copying", length, step)
        loss = model.loss(*copying(length, settings.batch, SYMBOLS, rng))
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        scale_rates(optimiser, trapezoid(step, settings.copy_steps, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    read, _, written = copying(length, 512, SYMBOLS, lab.rng("new lists", length))
    return float((model.greedy(read, length, start=1) != written).float().mean())


def clocks() -> Measured:
    """Seconds for as many numbers in many short sequences and in few long ones."""
    net = Rnn(RecurrentConfig(inputs=32, width=32))
    x = torch.randn(4_096, 32)
    with torch.no_grad():
        found = seconds(
            {
                "time/short": lambda: net(x.reshape(256, 16, 32)),
                "time/long": lambda: net(x.reshape(8, 512, 32)),
            },
            rounds=15,
        )
    return found


def draw(results: Sequence[Measured], settings: MemorySettings) -> dict[str, Figure]:
    """Errors by length for every network, and of the copies."""
    figure, (axis, lists) = new_figure(8.4, 3.2, columns=2)
    lengths = [round(share * settings.longest) for share in SHARES]
    for colour, arm in zip(COLOURS, ARMS, strict=False):
        mean, half = over_seeds(results, [f"{arm}/{i}" for i in range(len(SHARES))])
        axis.errorbar(lengths, mean, half, fmt=".-", color=colour, label=arm)
    axis.set(title="Adding", xlabel="numbers in a sequence", ylabel="error / error of guessing")
    axis.legend()
    mean, half = over_seeds(results, [f"copy/{length}" for length in LISTS])
    lists.errorbar(LISTS, mean, half, fmt=".-")
    lists.set(title="Copying through one vector", xlabel="symbols", ylabel="share wrong")
    return {"errors": figure}
