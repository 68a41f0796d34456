"""The share of pictures that a classifier gets wrong."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


@torch.no_grad()
def error_rate(
    net: nn.Module,
    images: Float[Tensor, "n c y x"],
    labels: Int64[Tensor, " n"],
    *,
    batch: int = 500,
) -> float:
    """Of `images`, those whose highest score is not their label's.

    Args:
        net: gives scores of the classes; in the mode that it is to be judged in.
        images: at least one.
        labels: the right classes.
        batch: pictures looked at together.
    """
    classes = torch.cat([net(part).argmax(1) for part in images.split(batch)])
    return float((classes != labels).float().mean())
