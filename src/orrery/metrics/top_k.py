"""Top-k accuracy: how often the right class is among the k that score highest.

ImageNet is reported by its complement: top-5 error is one minus `top_k_accuracy(..., k=5)`.

Source: Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge",
arXiv:1409.0575, section 4.1.
Differs from the paper: ties count against the net, so that one which scores all classes alike is
never right by luck; so does a score that is not a number.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Scores = Float[Tensor, "n classes"]
Labels = Int[Tensor, " n"]


def in_top_k(scores: Scores, labels: Labels, k: int) -> Bool[Tensor, " n"]:
    """Whether each row's label is among its k highest scores.

    Raises:
        ValueError: k is below 1 or above the number of classes, or a label is no class.
    """
    classes = scores.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(f"k must be from 1 to the {classes} classes, got {k}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise ValueError(f"labels must be from 0 to {classes - 1}, got {found}")
    own = scores.gather(1, labels[:, None].long())
    behind = (scores < own).sum(1)  # a tie is not behind, nor is what is not a number
    return classes - behind <= k


def top_k_accuracy(scores: Scores, labels: Labels, k: int = 1) -> float:
    """The share of rows whose label is among their k highest scores; of no rows, not a number."""
    return float(in_top_k(scores, labels, k).to(torch.float64).mean())
