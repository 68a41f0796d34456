"""Can two cores learn Fashion-MNIST to 94 % within ten minutes, and by which tricks?

`record`: a small convolutional net (`cnn_speedrun`) learns all training pictures by the whole
recipe. After each pass it judges the test pictures; how long it had then been training is the CPU
time of one process on one thread, without the time for judging.

`tricks`: the same net learns a part of the pictures in fewer passes, by the whole recipe, by the
recipe without one trick, and without any: a plain net, trained by SGD with momentum; there each
test picture is judged by one view. Rates, passes and widths were chosen on the last sixth of the
training pictures, which for that were left out of the training; test pictures only judge.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Annotated

from matplotlib.figure import Figure

from orrery.data import fashion_mnist
from orrery.data.labelled import Labelled
from orrery.experiments.foundations._speedrun import (
    PLAIN,
    Data,
    Speedrun,
    Tricks,
    as_pictures,
    told_right,
)
from orrery.lab import Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds

LEVELS = (90, 92, 93, 94)  # per cent, to which the time is measured
BUDGET = 2 * 600.0  # CPU seconds: ten minutes of two cores
TRICKS = tuple(field.name for field in fields(Tricks))
ARMS = ("recipe", *(f"no-{trick}" for trick in TRICKS), "plain")


def gain(m: Measured, trick: str) -> float:
    """Share of the pictures that are told right only with the trick."""
    return m["recipe/right"] - m[f"no-{trick}/right"]


CLAIMS = (
    Finding(
        "94 % of the test pictures are told right",
        effect=lambda m: m["record/right"],
        margin=0.94,
    ),
    Finding(
        "that training takes less time of a processor than two cores have in ten minutes",
        effect=lambda m: BUDGET - m["record/seconds"],
    ),
    Finding("whitened first filters help", effect=lambda m: gain(m, "whitening")),
    Finding("Muon's orthogonal steps help", effect=lambda m: gain(m, "muon")),
    Finding("shortcuts help", effect=lambda m: gain(m, "shortcuts")),
    Finding("smoothed labels help", effect=lambda m: gain(m, "smoothing")),
    Finding("alternating flips help", effect=lambda m: gain(m, "flips")),
    Finding("shifts help", effect=lambda m: gain(m, "shifts")),
    Finding(
        "six views of a picture tell more than one",
        effect=lambda m: m["record/right"] - m["record/one-view"],
    ),
    Control(
        "without any training the net hardly does better than guessing: under two fifths",
        effect=lambda m: 0.4 - m["record/untrained"],
    ),
    Control(
        "the plain net learns, too: three quarters are right",
        effect=lambda m: m["plain/right"],
        margin=0.75,
    ),
    Control(
        "the whole recipe beats the plain net",
        effect=lambda m: m["recipe/right"] - m["plain/right"],
    ),
)
ABLATIONS = ("no_tricks",)
SEEDS = 4
SCALES = {
    "smoke": {"images": 40, "epochs": 2, "part": 20, "passes": 1, "batch": 10, "width": 4},
    "tour": {"images": 6_000, "epochs": 4, "part": 3_000, "passes": 2},
    "large": {"epochs": 40, "width": 64, "part": 30_000},
}


class FashionRecordSettings(Settings):
    """A smoke run learns a handful of pictures, a tour a tenth of them."""

    images: Annotated[int, Range(20, 60_000)] = 60_000
    """Pictures the record learns."""
    epochs: Annotated[int, Range(1, 1_000)] = 12
    """Passes over them."""
    part: Annotated[int, Range(10, 60_000)] = 10_000
    """Pictures that are learnt to compare the tricks."""
    passes: Annotated[int, Range(1, 1_000)] = 6
    """Passes over these."""
    batch: Annotated[int, Range(2, 10_000, "images")] = 500
    """Pictures in a batch."""
    width: Annotated[int, Range(1, 1_024, "channels")] = 32
    """Channels of the first block; the second has twice, the third four times as many."""


def run(settings: FashionRecordSettings, lab: Lab) -> Measured:
    """Train for the record, then each arm of the comparison."""
    train, test = fashion_mnist.load()
    held_out = as_pictures(first(test, settings.images), lab.device)
    measured = record(settings, lab, first(train, settings.images), held_out)
    part = as_pictures(first(train, settings.part), lab.device)
    for arm in ARMS:
        recipe = PLAIN if arm == "plain" else without(arm.removeprefix("no-"))
        runner = speedrun(recipe, part, settings.passes, settings, lab)
        for step in lab.steps(arm, runner.steps, state=runner.state()):
            lab.log(loss=runner.learn(step))
        measured |= judged(arm, runner, held_out, lab, views=False)
    lab.table("tricks", [{"arm": arm, "right": measured[f"{arm}/right"]} for arm in ARMS])
    return measured


def first(part: Labelled, count: int) -> Labelled:
    """The first pictures of a part; they are in no order."""
    return Labelled(part.images[:count], part.labels[:count])


def without(trick: str) -> Tricks:
    """The recipe less one of its tricks, or whole."""
    return replace(Tricks(), **{trick: False}) if trick in TRICKS else Tricks()


def speedrun(
    recipe: Tricks, data: Data, epochs: int, settings: FashionRecordSettings, lab: Lab
) -> Speedrun:
    """An untrained net, and what trains it."""
    widths = (settings.width, 2 * settings.width, 4 * settings.width)
    return Speedrun(recipe, data, widths, epochs=epochs, batch=settings.batch, rng=lab.rng)


def judged(arm: str, runner: Speedrun, held_out: Data, lab: Lab, *, views: bool) -> Measured:
    """How many test pictures the trained net tells right."""

    def judge() -> Measured:
        return {f"{arm}/right": told_right(runner.net, held_out, views=views)}

    return lab.measure(f"judge {arm}", judge)


def record(settings: FashionRecordSettings, lab: Lab, train: Labelled, held_out: Data) -> Measured:
    """Learn all pictures, and judge the test pictures after each pass."""
    tricks = not lab.ablated("no_tricks")
    recipe = Tricks() if tricks else PLAIN
    runner = speedrun(recipe, as_pictures(train, lab.device), settings.epochs, settings, lab)
    untrained = told_right(runner.net, held_out, views=False)
    for step in lab.steps("record", runner.steps, state=runner.state()):
        lab.log(loss=runner.learn(step))
        if runner.ends_epoch(step):
            runner.book.note(told_right(runner.net, held_out, views=False))
    measured = judged("record", runner, held_out, lab, views=tricks)
    book = runner.book
    one_view = {f"record/pass-{i}": float(right) for i, right in enumerate(book.right, 1)}
    return measured | one_view | {
        "record/untrained": untrained,
        "record/one-view": float(book.right[-1]),
        "record/seconds": float(book.spent_seconds),
        **{f"record/to-{level}-seconds": found for level in LEVELS
           if (found := book.reached(level / 100, measured["record/right"])) is not None},
    }  # fmt: skip


def draw(results: Sequence[Measured], settings: FashionRecordSettings) -> dict[str, Figure]:
    """Accuracy after each pass, and what is lost without each trick."""
    figure, (passes, tricks) = new_figure(9.0, 3.4, columns=2)
    places = range(1, settings.epochs + 1)
    mean, half = over_seeds(results, [f"record/pass-{i}" for i in places])
    passes.errorbar(places, mean, half, fmt=".-", color=COLOURS[0], label="one view")
    mean, half = over_seeds(results, ["record/right"])
    passes.errorbar([settings.epochs], mean, half, fmt="o", color=COLOURS[1], label="six views")
    passes.axhline(0.94, color="#9aa0aa", linestyle=":")
    passes.set(title="The record", xlabel="passes over the pictures", ylabel="right")
    passes.legend()
    lost = [{arm: m["recipe/right"] - m[f"{arm}/right"] for arm in ARMS[1:]} for m in results]
    mean, half = over_seeds(lost, ARMS[1:])
    tricks.barh(range(len(mean)), mean, xerr=half, color=COLOURS[0], ecolor="#9aa0aa")
    tricks.set_yticks(range(len(mean)), ARMS[1:])
    tricks.invert_yaxis()
    tricks.set(title="Fewer passes, one trick less", xlabel="share of pictures lost")
    return {"record": figure}
