"""Transfer learning: layers learned on one task are kept for another, under a new head.

A net learns a task for which there is much to learn from. Then its last layer, the head, is
replaced by a fresh one with the classes of a second task, and either the head alone is trained
(the rest is frozen: a feature extractor) or everything (fine-tuning), the kept layers more gently.

Source: Yosinski, Clune, Bengio, Lipson 2014, "How transferable are features in deep neural
networks?", arXiv:1411.1792, section 2 (frozen and fine-tuned layers); Howard and Ruder 2018,
arXiv:1801.06146, section 3.2 (a lower rate for each lower layer).
Differs from the papers: normalising layers that are frozen keep their running statistics, too.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, nn

from orrery.catalog import System

SYSTEM = System(
    stem="transfer", area="foundations", title="Transfer learning", year=2014,
    papers=("arXiv:1411.1792", "arXiv:1801.06146"), builds_on=(), realises=("transfer-learning",),
)  # fmt: skip


class Frozen(nn.Module):
    """A module that gives what it gives and learns nothing, whatever mode it is put in."""

    def __init__(self, module: nn.Module) -> None:
        """Freeze `module` itself: its parameters need no gradient from here on."""
        super().__init__()
        self.module = module.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in evaluation: no dropout, no running statistics that move."""
        super().train(False)
        return self

    def forward(self, *inputs: Any) -> Any:
        """What the module makes of its inputs."""
        return self.module(*inputs)


def replace_head(model: nn.Module, name: str, classes: int, generator: Generator) -> nn.Linear:
    """Put a fresh linear layer with `classes` outputs in place of the one called `name`.

    Args:
        model: changed in place.
        name: dotted, as in `named_modules`.
        classes: of the new task.
        generator: draws the new weights, evenly within 1 / sqrt(inputs) as torch does.

    Raises:
        ValueError: there is no linear layer of that name, or classes is below 1.
    """
    if classes < 1:
        raise ValueError(f"classes must be at least 1, got {classes}")
    old = dict(model.named_modules()).get(name)
    if not isinstance(old, nn.Linear):
        raise ValueError(f"name must be that of a linear layer, got {name!r}")
    head = nn.Linear(
        old.in_features, classes, bias=old.bias is not None, dtype=old.weight.dtype,
        device=old.weight.device,
    )  # fmt: skip
    bound = old.in_features**-0.5
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    model.set_submodule(name, head)
    return head


def gentle_groups(layers: Sequence[nn.Module], rate: float, factor: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: `rate` for the last layer, less and less going down.

    Args:
        layers: from the input up; those without parameters to train are left out.
        rate: of the last of them.
        factor: by which each layer's rate is lower than that of the layer above, from 0 to 1.

    Raises:
        ValueError: the rate is not above 0, or the factor not above 0 and at most 1.
    """
    if rate <= 0:
        raise ValueError(f"rate must be above 0, got {rate}")
    if not 0 < factor <= 1:
        raise ValueError(f"factor must be above 0 and at most 1, got {factor}")
    trained = [[p for p in layer.parameters() if p.requires_grad] for layer in layers]
    trained = [parameters for parameters in trained if parameters]
    top = len(trained) - 1
    return [{"params": p, "lr": rate * factor ** (top - i)} for i, p in enumerate(trained)]
