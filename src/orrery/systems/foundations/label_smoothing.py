"""Label smoothing: a small part of the target is spread evenly over all classes.

    target   q_k = (1 - a) [k = label] + a / K
    loss     -sum_k q_k log p_k = (1 - a) (-log p_label) + a (-mean_k log p_k)

The best prediction is q itself, at a finite distance between logits, log((1 - a) K / a + 1); with
a = 0 they drift apart for ever. The loss cannot fall below the entropy of q.

Source: Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer Vision",
arXiv:1512.00567, section 7.
Differs from the paper: none; its prior over labels u(k) is the even one, as in its experiments.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from orrery.catalog import System

SYSTEM = System(
    stem="label_smoothing", area="foundations", title="Label smoothing", year=2015,
    papers=("arXiv:1512.00567",), builds_on=(), realises=(),
)  # fmt: skip

Logits = Float[Tensor, "n classes"]
Labels = Int64[Tensor, " n"]


def smooth_targets(labels: Labels, classes: int, amount: float) -> Float[Tensor, "n classes"]:
    """The distribution q of every label.

    Args:
        labels: from 0 to classes - 1.
        classes: there are.
        amount: that is spread over all classes, from 0 to 1.
    """
    _check(amount)
    return (1 - amount) * F.one_hot(labels, classes).to(
        torch.get_default_dtype()
    ) + amount / classes


def smoothed_cross_entropy(logits: Logits, labels: Labels, amount: float) -> Float[Tensor, ""]:
    """Mean cross-entropy between smoothed targets and predictions, in nats.

    Args:
        logits: a score for each class.
        labels: the right classes.
        amount: that is spread over all classes, from 0 to 1.
    """
    _check(amount)
    log_p = logits - torch.logsumexp(logits, 1, keepdim=True)
    right = log_p.gather(1, labels[:, None])[:, 0]
    return -((1 - amount) * right + amount * log_p.mean(1)).mean()


def best_gap(classes: int, amount: float) -> float:
    """By how much the right logit exceeds the others where the loss is least."""
    _check(amount)
    return math.inf if amount == 0 else math.log((1 - amount) * classes / amount + 1)


def least_loss(classes: int, amount: float) -> float:
    """The entropy of q: no prediction gets below it."""
    _check(amount)
    right, other = 1 - amount + amount / classes, amount / classes
    wrong = (classes - 1) * other * math.log(other) if amount and classes > 1 else 0.0
    return -right * math.log(right) - wrong


def _check(amount: float) -> None:
    if not 0 <= amount <= 1:
        raise ValueError(f"amount must be from 0 to 1, got {amount}")
