"""Row 1: float32 products of linear layers, orrery's choice of library against torch's."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.side_by_side import interleave, report
from orrery.train import precision

TOKENS = 4_096
WIDTHS = (384, 768)


def main() -> bool:
    """Forward, and forward with backward, for each width; errors first."""
    if precision.measured().onednn_from is None:
        print(
            "# MKL is as fast as oneDNN on this processor: there is nothing to choose", flush=True
        )
    reached = [compare(width, backward) for width in WIDTHS for backward in (False, True)]
    return all(reached)


def compare(width: int, backward: bool) -> bool:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(width, 4 * width, bias=False)
    x = torch.randn(TOKENS, width, generator=generator, requires_grad=backward)
    gradient = torch.randn(TOKENS, 4 * width, generator=generator)

    def work(choose: Callable[[], object]) -> Tensor:
        choose()
        y = F.linear(x, layer.weight)
        if not backward:
            return y
        layer.weight.grad = x.grad = None
        y.backward(gradient)
        return layer.weight.grad

    def ours() -> Tensor:
        return work(lambda: precision.use_fast_products(layer))

    def default() -> Tensor:
        return work(precision.use_default_products)

    with torch.set_grad_enabled(backward):
        left, right = (gradient.T, x) if backward else (x, layer.weight.T)
        exact = left.detach().double() @ right.detach().double()
        errors = [float((f().detach() - exact).norm() / exact.norm()) for f in (ours, default)]
        assert errors[0] <= 1.05 * errors[1], f"error {errors[0]:.2e} against {errors[1]:.2e}"
        timings = interleave({"orrery": ours, "torch": default}, rounds=9, least_seconds=0.2)
    flops = (6 if backward else 2) * TOKENS * width * 4 * width
    return report(
        "1", f"linear {width}, forward{' and backward' if backward else ''}", timings, "orrery",
        goal=1.6 if backward else 1.8, unit="GFLOP/s", work=flops / 1e9, limit=peak(),
    )  # fmt: skip


def peak(*, bfloat16: bool = False) -> float:
    """The machine's own limit in GFLOP/s: the best rate of any library on large squares."""
    n, rates = 1_536, []
    a, b = torch.randn(2, n, n).to(torch.bfloat16 if bfloat16 else torch.float32)
    for choose in (precision.use_default_products, lambda: precision.use_fast_products(wide(n))):
        choose()
        timing = interleave({"": lambda: a @ b}, rounds=5)[""]
        rates.append(2 * n**3 / timing.seconds / 1e9)
    return max(rates)


def wide(n: int) -> nn.Module:
    """A model that any switch for wide layers is made for."""
    return nn.Linear(n, n)


if __name__ == "__main__":
    main()
