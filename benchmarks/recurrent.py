"""Training an LSTM against torch.nn.LSTM, whose steps are one fused kernel of oneDNN's.

Both start from the same weights and are timed only once outputs and gradients agree.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.side_by_side import interleave, report
from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.lstm import Lstm
from orrery.train import precision

SIZES = ((32, 128, 256), (64, 64, 128))  # batch, steps, width
Pass = Callable[[], tuple[Tensor, ...]]


def main() -> bool:
    """Forward and backward at each size."""
    precision.use_default_products()
    reached = [compare(*sizes) for sizes in SIZES]
    return all(reached)


def compare(batch: int, steps: int, width: int) -> bool:
    torch.manual_seed(0)
    theirs = nn.LSTM(width, width, batch_first=True)
    ours = Lstm(RecurrentConfig(inputs=width, width=width))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(batch, steps, width, requires_grad=True)
    gradient = torch.randn(batch, steps, width)

    def step(outputs: Callable[[Tensor], Tensor], model: nn.Module) -> Pass:
        def work() -> tuple[Tensor, ...]:
            y = outputs(x)
            found = torch.autograd.grad(y, [x, *model.parameters()], gradient)
            return y, *found

        return work

    contestants = {
        "orrery": step(lambda x: ours(x).outputs, ours),
        "torch": step(lambda x: theirs(x)[0], theirs),
    }
    for own, their in zip(*(work() for work in contestants.values()), strict=True):
        assert (own - their).norm() <= 1e-4 * their.norm(), "the two do not compute the same"
    timings = interleave(contestants, rounds=25, budget_seconds=60)
    return report(
        "lstm", f"LSTM {batch} x {steps} x {width}, forward and backward", timings, "orrery",
        goal=1.0, unit="steps/s", work=batch * steps,
    )  # fmt: skip


if __name__ == "__main__":
    main()
