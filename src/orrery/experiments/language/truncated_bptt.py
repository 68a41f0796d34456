"""What does cutting backpropagation through time short cost, and what does clipping save?

A recurrent network reads random bits and at every step says the bit of so many steps before. Its
gradients are sent back through windows of several lengths, and it is tried on new sequences. The
gradient of each window is compared with the whole one over many sequences, so that what is missing
is bias, not chance: before the first step, and after a tenth of the steps with whole gradients.

Then recurrent weights start so large that errors grow on their way back, and sequences are longer.
Networks learn from whole gradients by plain steps, as they are and clipped; compared are the means
over all rates, and each at its best rate, chosen on sequences that nothing else is judged on.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from pydantic import model_validator

from orrery.experiments.language._echo import SHARES, Bits, Echo, compared, echo, pictured
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.train.schedule import scale_rates, trapezoid

SHORT, LONG = 0.5, 1.5
RATES = (0.1, 0.3, 1.0)  # of plain steps where gradients explode
LAGS = (1, 5, 10)  # steps back at which errors are weighed before the first step
LIMITS = {"clipped": 1.0, "free": 1e9}  # the second only keeps numbers finite


def best(m: Measured, arm: str) -> float:
    """Share that is recalled at the rate that suits an arm best."""
    chosen = max(RATES, key=lambda rate: m[f"{arm}/{rate:g}/choosing"])
    return m[f"{arm}/{chosen:g}/recalled"]


def average(m: Measured, arm: str) -> float:
    """Share that is recalled at the mean over the rates."""
    return sum(m[f"{arm}/{rate:g}/recalled"] for rate in RATES) / len(RATES)


CLAIMS = (
    Finding(
        "a window of half the delay recalls less, by two tenths of all bits, than one of one and a "
        "half",
        effect=lambda m: m[f"window/{LONG:g}"] - m[f"window/{SHORT:g}"], margin=0.2,
    ),
    Finding(
        "a window one step too short recalls less, by two tenths of all bits, than one of one and "
        "a half",
        effect=lambda m: m[f"window/{LONG:g}"] - m["window/1"], margin=0.2,
    ),
    Finding(
        "a tenth of the way the gradient of half the delay is further off than before the first "
        "step",
        effect=lambda m: m[f"bias/on the way/{SHORT:g}"] - m[f"bias/start/{SHORT:g}"],
    ),
    Finding(
        "there it is as far from the whole one as no gradient at all, to a tenth",
        effect=lambda m: m[f"bias/on the way/{SHORT:g}"], margin=0.9,
    ),
    Finding(
        "there even the gradient of one and a half delays is off by a tenth of the whole",
        effect=lambda m: m[f"bias/on the way/{LONG:g}"], margin=0.1,
    ),
    Finding(
        "where gradients explode clipping recalls more, by a tenth of all bits, over all rates",
        effect=lambda m: average(m, "clipped") - average(m, "free"), margin=0.1,
    ),
    Finding(
        "it does so too with the best rate for each",
        effect=lambda m: best(m, "clipped") - best(m, "free"), margin=0.1,
    ),
    Control(
        "the whole gradient is autograd's, to a millionth of its length",
        effect=lambda m: 1e-6 - max(m["apart/start"], m["apart/on the way"]),
    ),
    Control(
        "every window learns what asks for no memory: 99 in a hundred bits",
        effect=lambda m: min(m[f"now/{share:g}"] for share in SHARES), margin=0.99,
    ),
    Control(
        "with large recurrent weights errors are larger ten steps back than where they arise",
        effect=lambda m: m["grown/10"], margin=1.0,
    ),
    Control(
        "with weights of the usual size they fall to less than a tenth",
        effect=lambda m: 0.1 - m["usual/10"],
    ),
)  # fmt: skip
ABLATIONS = ("short_dependency",)
SEEDS = 5
SCALES = {
    "smoke": {"steps": 10, "plain_steps": 3, "length": 20, "long": 24, "batch": 4, "tests": 16},
    "tour": {"steps": 200, "plain_steps": 100},
    "large": {"delay": 16, "length": 200, "long": 400, "steps": 5_000, "plain_steps": 2_000,
              "width": 128},
}  # fmt: skip


class TruncatedBpttSettings(Settings):
    """A smoke run takes a few steps on short sequences."""

    delay: Annotated[int, Range(4, 100, "steps")] = 8
    """Between a bit and the step that says it."""
    length: Annotated[int, Range(16, 1_000, "steps")] = 40
    """Of a sequence."""
    long: Annotated[int, Range(16, 1_000, "steps")] = 60
    """Of a sequence where gradients explode."""
    width: Annotated[int, Range(2, 1_024)] = 32
    """Of the network's state."""
    batch: Annotated[int, Range(1, 4_096, "sequences")] = 32
    """Sequences in a batch."""
    steps: Annotated[int, Range(10, 1_000_000)] = 300
    """Optimiser steps with each window; a third of them where no memory is asked for."""
    plain_steps: Annotated[int, Range(1, 1_000_000)] = 200
    """Plain steps at each rate where gradients explode."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.01
    """Highest learning rate of the windows."""
    gain: Annotated[float, Range(1.0, 100.0)] = 3.5
    """Recurrent weights start so many times larger where gradients explode."""
    tests: Annotated[int, Range(1, 100_000, "sequences")] = 1_024
    """New sequences that the networks are tried on, and gradients compared on."""

    @model_validator(mode="after")
    def _longer_than_the_delay(self) -> "TruncatedBpttSettings":
        if min(self.length, self.long) <= self.delay + 10:
            raise ValueError(f"length and long must be above delay + 10 = {self.delay + 10}")
        return self


def run(settings: TruncatedBpttSettings, lab: Lab) -> Measured:
    """Learn with every window, compare gradients, and learn where they explode."""
    s, measured = settings, Measured()
    delay = s.delay // 8 if lab.ablated("short_dependency") else s.delay
    new, now = (tests("new", lag, s.length, s, lab) for lag in (delay, 0))
    long, other = (tests(name, delay, s.long, s, lab) for name in ("judging", "choosing"))
    for share in SHARES:
        window = max(1, round(share * s.delay))
        found = with_window(f"window {window}", window, delay, s.steps, s, lab)
        measured[f"window/{share:g}"] = found.recalled(new)
        found = with_window(f"no delay {window}", window, 0, s.steps // 3, s, lab)
        measured[f"now/{share:g}"] = found.recalled(now)
    begun = with_window("on the way", s.length, delay, s.steps // 10, s, lab)
    for place, model in (("start", made(s, lab)), ("on the way", begun)):
        measured |= compared(place, model, new, s.delay)
    for rate in RATES:
        for arm, limit in LIMITS.items():
            model = plainly(f"{arm} {rate:g}", rate, limit, delay, s, lab)
            measured[f"{arm}/{rate:g}/recalled"] = model.recalled(long)
            measured[f"{arm}/{rate:g}/choosing"] = model.recalled(other)
    for name, gain in (("usual", 1.0), ("grown", s.gain)):
        by_lag = made(s, lab, gain).backward(long)[1].by_lag
        measured |= {f"{name}/{k}": float(by_lag[k] / by_lag[0]) for k in LAGS}
    return measured


def tests(name: str, delay: int, length: int, settings: TruncatedBpttSettings, lab: Lab) -> Bits:
    """Sequences that no network learns from."""
    return echo(delay, length, settings.tests, lab.rng(name))


def made(settings: TruncatedBpttSettings, lab: Lab, gain: float = 1.0) -> Echo:
    """The network before its first step; all start alike."""
    return Echo(settings.width, seed=lab.rng("weights").initial_seed(), gain=gain)


def with_window(
    phase: str, window: int, delay: int, steps: int, settings: TruncatedBpttSettings, lab: Lab
) -> Echo:
    """Adam on gradients sent back so many steps, clipped; every arm reads the same bits."""
    s, model = settings, made(settings, lab)
    optimiser = torch.optim.Adam(model.parameters(), lr=s.rate)
    for step in lab.steps(phase, steps, state=(model, optimiser)):
        loss = model.learn(echo(delay, s.length, s.batch, lab.rng("batch", step)), window, 1.0)
        scale_rates(optimiser, trapezoid(step, s.steps, cooldown=0.5))
        optimiser.step()
        lab.log(loss=loss)
    return model


def plainly(
    phase: str, rate: float, limit: float, delay: int, settings: TruncatedBpttSettings, lab: Lab
) -> Echo:
    """Plain steps from large recurrent weights on whole gradients."""
    s, model = settings, made(settings, lab, settings.gain)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    for step in lab.steps(phase, s.plain_steps, state=(model, optimiser)):
        loss = model.learn(echo(delay, s.long, s.batch, lab.rng("long", step)), None, limit)
        optimiser.step()
        lab.log(loss=loss)
    return model


def draw(results: Sequence[Measured], settings: TruncatedBpttSettings) -> dict[str, Figure]:
    """What windows recall, how wrong their gradients are, and what clipping saves."""
    return {"windows": pictured(results, RATES, tuple(LIMITS))}
