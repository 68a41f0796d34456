"""LoRA: a frozen linear layer learns a change of low rank beside its weights.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685,
section 4.1, equation 3: h = W x + (alpha / r) B A x, with B zero at first.
Differs from the paper: A begins uniform, as the authors' code and PEFT have it, where the paper
says Gaussian; rows of one layer that hold several maps (queries, keys, values) have a pair A, B
each, as the separate layers of the paper do; these pairs share one draw of dropout.

Symbols: r the rank, A maps to it, B from it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="low_rank", area="language", title="LoRA", year=2021,
    papers=("arXiv:2106.09685",), builds_on=(), realises=(),
)  # fmt: skip

Inputs = Float[Tensor, "*n i"]
Outputs = Float[Tensor, "*n o"]
Matrix = Float[Tensor, "o i"]


class LowRank(nn.Module):
    """W x + (alpha / r) B A x: W is frozen, A and B learn."""

    def __init__(
        self, base: nn.Linear, *, rank: int, alpha: float, dropout: float = 0.0,
        parts: Sequence[range] = (), generator: Generator | None = None,
    ) -> None:  # fmt: skip
        """Wrap a layer, and freeze it.

        Args:
            base: the layer.
            rank: of the change; at least 1.
            alpha: the change is multiplied by alpha / rank.
            dropout: share of the inputs of A left out in training, in [0, 1).
            parts: rows that are maps of their own, in order; all rows are one if not given.
            generator: draws A.

        Raises:
            ValueError: rank, dropout or parts is out of range.
        """
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.parts = tuple(parts) or (range(base.out_features),)
        ends = [0, *(end for part in self.parts for end in (part.start, part.stop))]
        if any(a > b for a, b in pairwise([*ends, base.out_features])):
            raise ValueError(f"parts must be rows in order below {base.out_features}, got {parts}")
        self.base, self.scale, self.dropout = base.requires_grad_(False), alpha / rank, dropout
        new = base.weight.new_zeros
        self.a = nn.Parameter(new(len(self.parts), rank, base.in_features))
        self.b = nn.ParameterList(new(len(part), rank) for part in self.parts)
        for a in self.a.detach():
            nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)

    def forward(self, x: Inputs) -> Outputs:
        """What the layer makes of x after the change."""
        low = F.linear(F.dropout(x, self.dropout, self.training), self.a.flatten(0, 1))
        columns = low.unflatten(-1, self.a.shape[:2]).unbind(-2)
        made = [F.linear(column, b) for column, b in zip(columns, self.b, strict=True)]
        change = _placed(made, self.parts, self.base.out_features)
        return self.base(x) + self.scale * change

    def change(self) -> Matrix:
        """(alpha / r) B A, as a matrix beside W."""
        made = [(b @ a).T for a, b in zip(self.a, self.b, strict=True)]
        return self.scale * _placed(made, self.parts, self.base.out_features).T


def _placed(made: Sequence[Tensor], parts: Sequence[range], size: int) -> Tensor:
    """Numbers of each part at its place along the last axis, zeros between."""
    pieces, end = list[Tensor](), 0
    for piece, part in zip(made, parts, strict=True):
        pieces += [piece.new_zeros(*piece.shape[:-1], part.start - end), piece]
        end = part.stop
    pieces.append(made[0].new_zeros(*made[0].shape[:-1], size - end))
    full = [piece for piece in pieces if piece.shape[-1]]
    return full[0] if len(full) == 1 else torch.cat(full, dim=-1)


def put_on(
    model: nn.Module, layers: Mapping[str, Sequence[range]], *, rank: int, alpha: float,
    dropout: float = 0.0, generator: Generator | None = None,
) -> None:  # fmt: skip
    """Freeze a model, and put adapters on some of its layers.

    Args:
        model: changed in place.
        layers: full names of linear layers, with the rows of each that are maps of their own.
        rank: of each change.
        alpha: changes are multiplied by alpha / rank.
        dropout: share of the inputs of A left out in training.
        generator: draws A.

    Raises:
        ValueError: a name is not that of a linear layer, or a number is out of range.
    """
    known = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for name in layers:
        if name not in known:
            raise ValueError(f"layers must name linear layers of the model, got {name!r}")
    model.requires_grad_(False)
    for name, parts in layers.items():
        base = model.get_submodule(name)
        assert isinstance(base, nn.Linear)
        adapter = LowRank(base, rank=rank, alpha=alpha, dropout=dropout, parts=parts,
                          generator=generator)  # fmt: skip
        model.set_submodule(name, adapter.train(model.training))


def adapters(model: nn.Module) -> Iterator[tuple[str, LowRank]]:
    """The adapters of a model and the names of the layers they are on."""
    yield from ((n, module) for n, module in model.named_modules() if isinstance(module, LowRank))


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What learns: A and B of every adapter."""
    return [p for _, one in adapters(model) for p in (one.a, *one.b)]


def take_off(model: nn.Module) -> None:
    """Leave the model as it was before its adapters; its weights stay frozen."""
    for name, adapter in list(adapters(model)):
        model.set_submodule(name, adapter.base)


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add every change to the weights, and take the adapters off; the weights stay frozen."""
    for _, adapter in adapters(model):
        adapter.base.weight += adapter.change()
    take_off(model)
