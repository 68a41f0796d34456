"""Which number formats are fast here: measured once a machine, believed only if also exact.

A float32 matrix product goes to MKL unless torch is told otherwise, and MKL serves processors it
does not know with code for older ones. torch's other library, oneDNN, makes the same product,
there about twice as fast. torch has no switch that says "oneDNN, in float32". It has one that says
"bfloat16 will do", `torch.backends.mkldnn.matmul.fp32_precision = "bf16"`: the product then goes
to oneDNN, which rounds where the processor has bfloat16 matrix units, and elsewhere keeps float32.
So the switch is set only where a measurement finds the product faster and its error against
float64 the same; and as it slows small products down, only for models that are wide enough.

The answer is kept in orrery's cache, so that the same machine always computes the same bits.
"""

import contextlib
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orrery.errors import OrreryError
from orrery.files import TEMPORARY, sha256, write_json
from orrery.home import cache_folder

_mkldnn: Any = torch.backends.mkldnn

FORMAT = 1
ROWS = 256  # tokens of the batch that is measured
WIDTHS = (64, 128, 256, 384)
ROUNDS = 5
WORTH_IT = 1.1  # times faster; less is within the noise of a busy machine
SAME_ERROR = 1.5  # times; rounding to bfloat16 gives some ten thousand times the error


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """What was measured, and what follows from it."""

    widths: tuple[int, ...]
    onednn_speed_up: tuple[float, ...]
    """Of the three products of a linear layer of each width, forward and backward."""
    onednn_error: float
    """Of the switched product against float64, relative; and the same for MKL's."""
    mkl_error: float
    bfloat16_speed_up: float
    """Of the widest layer's forward product, against the faster of the two in float32."""

    @property
    def onednn_from(self) -> int | None:
        """The width from which on every wider layer is faster in oneDNN; None where none is."""
        if self.onednn_error > SAME_ERROR * self.mkl_error:
            return None
        narrowest = None
        for width, gain in zip(reversed(self.widths), reversed(self.onednn_speed_up), strict=True):
            if gain < WORTH_IT:
                break
            narrowest = width
        return narrowest

    @property
    def bfloat16(self) -> bool:
        """Whether bfloat16 is worth its rounding: the processor has instructions for it."""
        return self.bfloat16_speed_up > 1.5


def use_fast_products(model: nn.Module) -> bool:
    """Send float32 products where they are faster for this model; whether that is oneDNN.

    Holds for the whole process until the next call.
    """
    narrowest = measured().onednn_from
    wide = narrowest is not None and _width(model) >= narrowest
    _switch(onednn=wide)
    return wide


def use_default_products() -> None:
    """Leave float32 products where torch makes them unasked."""
    _switch(onednn=False)


def _width(model: nn.Module) -> int:
    """The smaller side of the linear layers, weighed by their size."""
    shapes = [m.weight.shape for m in model.modules() if isinstance(m, nn.Linear)]
    total = sum(y * x for y, x in shapes)
    return round(sum(min(y, x) * y * x for y, x in shapes) / total) if total else 0


@cache
def measured() -> Precision:
    """What is fast on this machine with this many threads; from the cache, or measured now."""
    threads = torch.get_num_threads()
    file = cache_folder("device") / f"torch-{torch.__version__}-{_processor()}-{threads}.json"
    found = _read(file)
    if found is None:
        mine = measure()
        _keep(file, mine)
        found = _read(file) or mine  # another process may have been first: all use the same
    return found


def describe() -> dict[str, Any]:
    """The measurement and what follows from it, for environment.json."""
    found = measured()
    return {
        **asdict(found),
        "onednn_speed_up": dict(zip(map(str, found.widths), found.onednn_speed_up, strict=True)),
        "onednn_from": found.onednn_from,
        "bfloat16": found.bfloat16,
    }


def measure() -> Precision:
    """Time both libraries on the products of linear layers, in turns, and compare their errors."""
    before = _mkldnn.matmul.fp32_precision
    try:
        return Precision(
            widths=WIDTHS,
            onednn_speed_up=tuple(_onednn_gain(width) for width in WIDTHS),
            onednn_error=_error(WIDTHS[-1], onednn=True),
            mkl_error=_error(WIDTHS[-1], onednn=False),
            bfloat16_speed_up=_bfloat16_gain(WIDTHS[-1]),
        )
    finally:
        _mkldnn.matmul.fp32_precision = before


def _switch(*, onednn: bool) -> None:
    _mkldnn.matmul.fp32_precision = "bf16" if onednn else "ieee"


def _layer(width: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, weights and the gradient of the outputs of a layer from `width` to four times it."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((ROWS, width), (4 * width, width), (ROWS, 4 * width))
    x, w, g = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return x, w, g


def _onednn_gain(width: int) -> float:
    """How many times faster oneDNN makes the layer's output and its two gradients."""
    x, w, g = _layer(width)

    def products(onednn: bool) -> None:
        _switch(onednn=onednn)
        _ = (x @ w.T, g @ w, g.T @ x)

    mkl, onednn = _seconds(lambda: products(False), lambda: products(True))
    return mkl / onednn


def _bfloat16_gain(width: int) -> float:
    """How many times faster the layer's output comes in bfloat16 than in float32."""
    x, w, _ = _layer(width)
    x16, w16, _ = _layer(width, torch.bfloat16)

    def product(onednn: bool) -> None:
        _switch(onednn=onednn)
        _ = x @ w.T

    *float32, bfloat16 = _seconds(
        lambda: product(False), lambda: product(True), lambda: x16 @ w16.T
    )
    return min(float32) / bfloat16


def _error(width: int, *, onednn: bool) -> float:
    """Relative error of the three products against float64: the largest of them."""
    _switch(onednn=onednn)
    x, w, g = _layer(width)
    a, b, c = (tensor.double() for tensor in (x, w, g))
    pairs = ((x @ w.T, a @ b.T), (g @ w, c @ b), (g.T @ x, c.T @ a))
    return max(float((made - true).norm() / true.norm()) for made, true in pairs)


def _seconds(*contestants: Callable[[], object]) -> list[float]:
    """The best time of each, taken in turns: whatever else runs slows all of them."""
    best = [math.inf] * len(contestants)
    for turn in range(ROUNDS + 1):
        for i, work in enumerate(contestants):
            start = time.perf_counter()
            work()
            if turn:  # the first is a warm-up
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def _processor() -> str:
    """A name for this kind of processor: two that differ in their instructions differ in it."""
    lines = []
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    kept = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    kept += [platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability()]
    return sha256("\n".join(kept).encode())[:16]


def _read(file: Path) -> Precision | None:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept.pop("format") != FORMAT:
            return None
        for name in ("widths", "onednn_speed_up"):
            kept[name] = tuple(kept[name])
        return Precision(**kept)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(file: Path, precision: Precision) -> None:
    """Write the file unless a good one is there by now; a cache that cannot be written is none."""
    mine = file.with_name(f"{file.name}.{os.getpid()}{TEMPORARY}")
    with contextlib.suppress(OSError, OrreryError):
        write_json(mine, {"format": FORMAT, **asdict(precision)})
        if file.exists() and _read(file) is None:
            file.unlink()
        with contextlib.suppress(FileExistsError):
            os.link(mine, file)  # unlike a rename this never replaces what another wrote first
        mine.unlink()
