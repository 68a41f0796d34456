"""Does a Transformer learn to learn from examples in its context?

A small GPT reads points and answers of one random linear function after another, each text a
function of its own, and foretells every answer from the pairs before it. Then, its weights fixed,
it meets functions it has never seen. What is possible is known: ridge regression on the pairs with
the right penalty cannot be beaten, and least squares comes near once there are many.

The plan has in-context learning appear suddenly at six billion parameters, corrected to: small
Transformers trained from scratch learn linear functions in context. That is what is tested, and
holds if the error after all examples is less than half of that without any.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from matplotlib.figure import Figure
from pydantic import model_validator
from torch import Tensor

from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.language.gpt import GptConfig
from orrery.systems.language.in_context import InContextLearner, LinearTasks, errors, regress
from orrery.train.muon import muon_and_adamw
from orrery.train.precision import use_fast_products
from orrery.train.schedule import scale_rates, trapezoid

ARMS = ("transformer", "ridge", "least_squares", "untrained")


def examples(m: Measured) -> int:
    """Most pairs before an answer that was foretold."""
    return sum(key.startswith("ridge/") for key in m) - 1


def last(m: Measured, arm: str) -> float:
    """Error after all examples."""
    return m[f"{arm}/{examples(m)}"]


CLAIMS = (
    Claim(
        "emergence-real",
        effect=lambda m: 0.5 - last(m, "transformer") / m["transformer/0"],
        text="a small Transformer trained from scratch learns linear functions in its context",
    ),
    Finding(
        "after all examples it is within a tenth of an answer's variance of least squares",
        effect=lambda m: 0.1 - (last(m, "transformer") - last(m, "least_squares")),
    ),
    Finding(
        "after any number of examples it is within a tenth of the best there is, ridge",
        effect=lambda m: (
            0.1
            - max(m[f"transformer/{i}"] - m[f"ridge/{i}"] for i in range(examples(m) + 1))
        ),
    ),
    Control(
        "ridge with the right penalty is not beaten, to a fiftieth",
        effect=lambda m: (
            0.02
            + min(m[f"transformer/{i}"] - m[f"ridge/{i}"] for i in range(examples(m) + 1))
        ),
    ),
    Control(
        "examples are of no use to an untrained Transformer, to a tenth",
        effect=lambda m: 0.1 - (m["untrained/0"] - last(m, "untrained")),
    ),
)  # fmt: skip
ABLATIONS = ("shuffled_answers",)
SCALES = {
    "smoke": {"steps": 3, "batch": 4, "tests": 64, "head_size": 8, "depth": 2},
    "tour": {"dim": 2, "pairs": 8, "steps": 500},
    "large": {"dim": 20, "pairs": 41, "steps": 200_000, "depth": 12, "heads": 8, "head_size": 32},
}  # fmt: skip


class InContextSettings(Settings):
    """A smoke run trains a smaller network for a few steps; a tour has two unknowns a task."""

    dim: Annotated[int, Range(1, 64, "numbers")] = 3
    """Numbers a point: unknowns of a task."""
    pairs: Annotated[int, Range(2, 256)] = 10
    """Points and answers of a task; the last is foretold from all others."""
    noise: Annotated[float, Range(0.0, 10.0)] = 0.3
    """Standard deviation of what is added to answers, whose own is 1."""
    steps: Annotated[int, Range(1, 1_000_000)] = 1_200
    """Optimiser steps."""
    batch: Annotated[int, Range(1, 4_096, "tasks")] = 64
    """Tasks in a batch."""
    depth: Annotated[int, Range(1, 48)] = 3
    """Blocks."""
    heads: Annotated[int, Range(1, 32)] = 4
    """Attention heads in a block."""
    head_size: Annotated[int, Range(1, 128)] = 16
    """Of a head's keys."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 0.01
    """Highest learning rate."""
    tests: Annotated[int, Range(1, 100_000, "tasks")] = 4_000
    """New tasks on which errors are measured."""

    @model_validator(mode="after")
    def _more_pairs_than_unknowns(self) -> "InContextSettings":
        if self.pairs < self.dim + 2:
            raise ValueError(f"pairs must be at least dim + 2 = {self.dim + 2}, got {self.pairs}")
        return self


def run(settings: InContextSettings, lab: Lab) -> Measured:
    """Train on tasks and meet new ones."""
    tasks = LinearTasks(dim=settings.dim, noise=settings.noise)

    def told(y: Tensor, name: str, step: int = 0) -> Tensor:
        """The answers that the network is given: ablated, each is some other task's."""
        if not lab.ablated("shuffled_answers"):
            return y
        order = torch.rand(y.shape, generator=lab.rng(f"shuffled {name}", step)).argsort(dim=0)
        return y.gather(0, order)

    torch.manual_seed(lab.rng("weights").initial_seed())
    config = GptConfig(
        vocab=1, context=2 * settings.pairs, depth=settings.depth, heads=settings.heads,
        width=settings.heads * settings.head_size,
    )  # fmt: skip
    model = InContextLearner(config, settings.dim).to(lab.device)
    x, y = tasks.draw(settings.tests, settings.pairs, lab.rng("tests"))
    given = x.to(lab.device), told(y, "tests").to(lab.device)
    measured = by_examples("untrained", forecast(model, *given), given[1])
    use_fast_products(model)
    optimisers = muon_and_adamw(model, settings.rate)
    for step in lab.steps("train", settings.steps, state=(model, *optimisers)):
        points, answers = tasks.draw(settings.batch, settings.pairs, lab.rng("batch", step))
        loss = model.loss(points.to(lab.device), told(answers, "batch", step).to(lab.device))
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            scale_rates(optimiser, trapezoid(step, settings.steps, cooldown=0.4))
            optimiser.step()
        lab.log(loss=loss)
    measured |= by_examples("transformer", forecast(model, *given), given[1])
    measured |= by_examples("ridge", tasks.ridge(x, y), y)
    return measured | by_examples("least_squares", regress(x, y), y)


def by_examples(arm: str, foretold: Tensor, y: Tensor) -> Measured:
    """An arm's error after 0, 1, 2, ... pairs."""
    return {f"{arm}/{i}": error for i, error in enumerate(errors(foretold, y).tolist())}


@torch.no_grad()
def forecast(model: InContextLearner, x: Tensor, y: Tensor) -> Tensor:
    """What the model foretells."""
    return model(x, y)


def draw(results: Sequence[Measured], settings: InContextSettings) -> dict[str, Figure]:
    """The error by the number of examples."""
    figure, (axis,) = new_figure(6.4, 3.6)
    seen = range(settings.pairs)
    for colour, arm in zip(COLOURS, ARMS, strict=False):
        mean, half = over_seeds(results, [f"{arm}/{i}" for i in seen])
        axis.errorbar(seen, mean, yerr=half, color=colour, marker="o", markersize=3,
                      label=arm.replace("_", " "))  # fmt: skip
    axis.axhline(settings.noise**2, color="#9aa0aa", linestyle="--", label="noise")
    axis.axvline(settings.dim, color="#9aa0aa", linestyle=":")
    axis.set(title="New linear functions", xlabel="examples in the context",
             ylabel="squared error", ylim=(0, 1.8))  # fmt: skip
    axis.legend()
    return {"error-by-examples": figure}
