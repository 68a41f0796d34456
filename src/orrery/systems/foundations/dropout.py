"""Dropout: in training every unit is silenced with probability p, at test none is.

    train   y = m x / (1 - p),   m = 1 with probability 1 - p, else 0, drawn for every number
    test    y = x

Because what is kept is scaled up (inverted dropout), the mean of y over masks is x, and a test
needs no change of weights. A linear layer under squared error can be averaged over all masks in
closed form: dropout adds an L2 penalty in which a weight counts as much as its input varies.

Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout", JMLR 15:1929-1958,
sections 4 and 9.1; Hinton et al. 2012, arXiv:1207.0580.
Differs from the paper: it scales the weights by 1 - p at test; here training scales by 1 / (1 - p),
which its section 10 notes to be the same. The probability here is that of being silenced.
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from orrery.catalog import System

SYSTEM = System(
    stem="dropout", area="foundations", title="Dropout", year=2012,
    papers=("JMLR 15:1929-1958", "arXiv:1207.0580"), builds_on=(), realises=("dropout",),
)  # fmt: skip

Numbers = Float[Tensor, "*shape"]
Inputs = Float[Tensor, "n d"]
Weights = Float[Tensor, " d"]


def dropout(x: Numbers, rate: float, generator: Generator) -> Numbers:
    """Some numbers become 0, the others 1 / (1 - rate) times as large.

    Args:
        x: any numbers.
        rate: the probability of 0, from 0 to less than 1.
        generator: draws the mask; on the device of `x`.

    Raises:
        ValueError: the rate is out of its range.
    """
    check_rate(rate)
    if rate == 0:
        return x
    kept = torch.rand(x.shape, generator=generator, device=x.device) >= rate
    return x * kept / (1 - rate)


class Dropout(nn.Module):
    """Dropout as a layer: of training only, and with the generator handed in."""

    def __init__(self, rate: float = 0.5) -> None:
        """Refuse a rate that is not from 0 to less than 1."""
        super().__init__()
        check_rate(rate)
        self.rate = rate

    def forward(self, x: Numbers, generator: Generator | None = None) -> Numbers:
        """In training `x` with some numbers silenced, else `x`.

        Raises:
            ValueError: the layer is in training and there is no generator.
        """
        if not self.training:
            return x
        if generator is None:
            raise ValueError("generator must be given in training, got None")
        return dropout(x, self.rate, generator)


def check_rate(rate: float) -> None:
    """Check a probability of silence.

    Raises:
        ValueError: it is not from 0 to less than 1.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be from 0 to less than 1, got {rate}")


def mean_squared_error(
    inputs: Inputs, targets: Float[Tensor, " n"], weights: Weights, rate: float
) -> Float[Tensor, ""]:
    """Squared error of a linear model, averaged over all masks on its inputs (section 9.1).

    sum over examples of (t - x.w)^2, and rate / (1 - rate) sum over inputs of w_i^2 x_i^2.
    """
    check_rate(rate)
    error = (targets - inputs @ weights).square().sum()
    return error + rate / (1 - rate) * (inputs.square() @ weights.square()).sum()
