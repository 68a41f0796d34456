"""The adder: a GPT that is shown sums of two numbers, digit by digit, and learns to add.

Source: Karpathy 2020, minGPT, projects/adder: a + b as a row of digits, the sum's digits in
reverse, and a loss on the sum's digits alone.
Differs from the paper: the model is `gpt`, without biases.

With n = 2, 85 + 50 = 135 is the row 8 5 5 0 5 3 1. In reverse the sum can be written from its last
digit on, each with the carry of the one before.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from orrery.catalog import System
from orrery.systems.language.gpt import Gpt, GptConfig

SYSTEM = System(
    stem="mingpt", area="language", title="minGPT's adder", year=2020,
    papers=("Karpathy 2020, minGPT",), builds_on=("gpt",), realises=("mingpt",),
)  # fmt: skip

Numbers = Int[Tensor, " b"]
Rows = Int[Tensor, "b t"]  # digits
NOT_ASKED = -100  # a place whose digit is given, not to be found


@dataclass(frozen=True, kw_only=True, slots=True)
class AdderConfig:
    """How long the numbers are, and the model's sizes."""

    digits: int = 2
    depth: int = 2
    heads: int = 4
    width: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= 9:
            raise ValueError(f"digits must be in [1, 9], got {self.digits}")
        self.gpt()

    @property
    def length(self) -> int:
        """Of a row: two numbers and a sum that may have a digit more."""
        return 3 * self.digits + 1

    def gpt(self) -> GptConfig:
        """The model reads all of a row but its last digit."""
        return GptConfig(vocab=10, context=self.length - 1, depth=self.depth, heads=self.heads,
                         width=self.width)  # fmt: skip


def digits_of(numbers: Numbers, count: int) -> Rows:
    """The last `count` digits of each number, the last first."""
    places = 10 ** torch.arange(count, device=numbers.device)
    return numbers[:, None] // places % 10


def number_of(digits: Rows) -> Numbers:
    """The number that digits, the last first, are of."""
    return (digits * 10 ** torch.arange(digits.shape[1], device=digits.device)).sum(dim=1)


def rows_of(a: Numbers, b: Numbers, digits: int) -> Rows:
    """The sums a + b as rows: both numbers as they are written, their sum in reverse."""
    return torch.cat(
        [digits_of(a, digits).flip(1), digits_of(b, digits).flip(1), digits_of(a + b, digits + 1)],
        dim=1,
    )


def every_sum(digits: int) -> tuple[Numbers, Numbers]:
    """All pairs of numbers of so many digits."""
    numbers = torch.arange(10**digits)
    pairs = torch.cartesian_prod(numbers, numbers)
    return pairs[:, 0], pairs[:, 1]


class Adder(Gpt):
    """A GPT that answers sums."""

    def __init__(self, config: AdderConfig) -> None:
        super().__init__(config.gpt())
        self.adder = config

    def sum_loss(self, rows: Rows) -> Float[Tensor, ""]:
        """Mean cross-entropy of the sum's digits, in nats; the two numbers are not asked for."""
        targets = rows[:, 1:].clone()
        targets[:, : 2 * self.adder.digits - 1] = NOT_ASKED
        logits = self(rows[:, :-1]).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_ASKED)

    @torch.no_grad()
    def add(self, a: Numbers, b: Numbers) -> Numbers:
        """What the model takes a + b to be, its likeliest digit at every step."""
        digits = self.adder.digits
        given = rows_of(a, b, digits)[:, : 2 * digits]
        written = self.generate(given, digits + 1, generator=torch.Generator(), temperature=0.0)
        return number_of(written[:, 2 * digits :])
