"""Does the softmax's gradient vanish when its logits are large?

A network of two layers learns real digits; its logits on others are then multiplied, so that their
spread grows, or moved as far by one number, so that they grow and their spread does not. Measured
is the Frobenius norm of the Jacobian of the softmax, diag(p) - p p^T, at the median digit.

The softmax knows differences of logits only, so it is the spread that should matter and not the
size. What learns is the cross-entropy, whose gradient p - y has no Jacobian left in it: there,
saturation should harm only where the net is right.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from orrery.data import digits
from orrery.data.batches import sample_batch
from orrery.lab import Claim, Control, Finding, Lab, Measured, Range, Settings
from orrery.lab.figures import COLOURS, new_figure
from orrery.lab.over_seeds import over_seeds
from orrery.systems.foundations.optimisers import Adam

FACTORS = (1, 2, 4, 8, 16, 32)
LAST = FACTORS[-1]

CLAIMS = (
    Claim(
        "softmax-saturation",
        effect=lambda m: m["spread/1"] - m[f"spread/{LAST}"],
        margin=3.0,
        text="logits spread 32 times as far shrink the softmax's Jacobian at the median digit "
        "by three powers of ten",
    ),
    Finding(
        "size alone does not: logits as large, but no further apart, keep it to a hundredth",
        effect=lambda m: 0.01 - abs(m["spread/1"] - m[f"size/{LAST}"]),
    ),
    Finding(
        "cross-entropy is spared: where the saturated net is wrong, its gradient is still above 1",
        effect=lambda m: m["loss_gradient_wrong"],
        margin=1.0,
    ),
    Finding(
        "squared error is not: there it falls by three powers of ten more than cross-entropy's",
        effect=lambda m: math.log10(m["loss_gradient_wrong"] / m["squared_gradient_wrong"]),
        margin=3.0,
    ),
    Control(
        "the net has learned: eight of ten digits right, and some wrong",
        effect=lambda m: min(m["right"] - 0.8, 0.999 - m["right"]),
    ),
    Control(
        "at the start it is not saturated: the Jacobian is above a thousandth",
        effect=lambda m: m["spread/1"],
        margin=-3.0,
    ),
)
ABLATIONS = ("shift_only",)
SCALES = {"smoke": {"steps": 5}, "tour": {}, "large": {"steps": 2_000, "width": 1_024}}

Logits = Float[Tensor, "n classes"]


class SoftmaxSaturationSettings(Settings):
    """A smoke run hardly trains."""

    steps: Annotated[int, Range(1, 1_000_000)] = 100
    """Optimiser steps of the net whose logits are looked at."""
    width: Annotated[int, Range(1, 65_536)] = 64
    """Of its hidden layer."""
    rate: Annotated[float, Range(1e-6, 1.0)] = 3e-3
    """Learning rate of Adam."""


def run(settings: SoftmaxSaturationSettings, lab: Lab) -> Measured:
    """Train the net, then spread and shift its logits."""
    (x, y), (test_x, test_y) = (
        (
            torch.from_numpy(part.images).flatten(1).double().to(lab.device) / 8 - 1,
            torch.from_numpy(part.labels).to(lab.device),
        )
        for part in digits.load()
    )
    torch.manual_seed(lab.rng("weights").initial_seed())
    net = nn.Sequential(nn.Linear(64, settings.width), nn.ReLU(), nn.Linear(settings.width, 10))
    net.double().to(lab.device)
    optimiser = Adam(net.parameters(), settings.rate)
    for step in lab.steps("net", settings.steps, state=(net, optimiser)):
        chosen = sample_batch(len(x), 64, lab.rng("batch", step))
        loss = F.cross_entropy(net(x[chosen]), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        lab.log(loss=loss)
    with torch.no_grad():
        logits = net(test_x)
    wrong = logits.argmax(1) != test_y
    measured = {"right": 1 - float(wrong.double().mean())}
    for factor in FACTORS:
        grown = factor * logits
        shifted = logits + (grown - logits).abs().amax(1, keepdim=True)
        spread = shifted if lab.ablated("shift_only") else grown
        measured[f"spread/{factor}"] = jacobian_decades(spread)
        measured[f"size/{factor}"] = jacobian_decades(shifted)
    if not wrong.any():  # nothing to look at: the control says so
        return measured | {"loss_gradient_wrong": 0.0, "squared_gradient_wrong": 1.0}
    return measured | loss_gradients(LAST * logits[wrong], test_y[wrong])


def jacobian_decades(logits: Logits) -> float:
    """log10 of the Jacobian's norm at the median example; of an exact 0, -300.

    The squared norm of diag(p) - p p^T is the sum of p_i^2 (1 - p_i)^2 and of (p_i p_j)^2.
    """
    log_p = logits.log_softmax(1)
    others = torch.stack([
        torch.cat([log_p[:, :i], log_p[:, i + 1 :]], 1).logsumexp(1) for i in range(log_p.shape[1])
    ], 1)  # log(1 - p_i), exact where p_i is nearly 1  # fmt: skip
    diagonal = (2 * (log_p + others)).exp().sum(1)
    pairs = (2 * (log_p[:, :, None] + log_p[:, None])).exp()
    corners = pairs.sum((1, 2)) - pairs.diagonal(dim1=1, dim2=2).sum(1)
    return (0.5 * (diagonal + corners.clamp(min=0)).clamp(min=1e-300).log10()).median().item()


def loss_gradients(logits: Logits, labels: Tensor) -> Measured:
    """Median norm of the gradient at the logits of these examples, for two losses."""
    found = {}
    targets = F.one_hot(labels, logits.shape[1]).double()
    for name in ("loss", "squared"):
        given = logits.clone().requires_grad_()
        if name == "loss":
            total = F.cross_entropy(given, labels, reduction="sum")
        else:
            total = (given.softmax(1) - targets).square().sum()
        norms = torch.autograd.grad(total, given)[0].norm(dim=1)
        found[f"{name}_gradient_wrong"] = max(norms.median().item(), 1e-300)
    return found


def draw(results: Sequence[Measured], settings: SoftmaxSaturationSettings) -> dict[str, Figure]:
    """The Jacobian by factor, with intervals over the seeds."""
    figure, (axis,) = new_figure(6.0, 3.4)
    for colour, (way, words) in zip(
        COLOURS, (("spread", "multiplied"), ("size", "moved as far")), strict=False
    ):
        mean, half = over_seeds(results, [f"{way}/{factor}" for factor in FACTORS])
        axis.errorbar(FACTORS, mean, half, fmt="o-", color=colour, capsize=3, label=words)
    axis.set_xscale("log", base=2)
    axis.set(
        title="Jacobian of the softmax at the median digit", xlabel="factor of the logits",
        ylabel="log10 of its norm",
    )  # fmt: skip
    axis.legend()
    return {"jacobian": figure}
