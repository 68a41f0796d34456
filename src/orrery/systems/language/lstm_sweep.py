"""An LSTM layer over a whole sequence, with its gradient written out by hand.

It computes what `lstm_cell` computes step by step. The inputs' products of many steps are one
matrix product; a step then adds the product of the last output in place. Backwards, a step does its
equations in one pass over its rows, and the gradients of the weights are again products over many
steps. Only what truly waits for the step before is left in the loops.

Symbols: as in `lstm.py`; a the sums W x + U h + b before the squashing; d a gradient of the loss.

    dc += dh o (1 - tanh(c)^2)
    da_i = dc g i (1 - i)         da_g = dc i (1 - g^2)
    da_f = dc c_before f (1 - f)  da_o = dh tanh(c) o (1 - o)
    dh_before = U' da             dc_before = dc f
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from orrery.train.compiled import compiled

ROWS = 1024  # steps times batch that are made at once: large products, small enough for a cache

Steps = Float[Tensor, "t b d"]
Step = Float[Tensor, "b d"]
Array = NDArray[Any]


def lstm_sweep(
    x: Float[Tensor, "t b i"],
    w: Float[Tensor, "g i"],
    u: Float[Tensor, "g d"],
    bias: Float[Tensor, " g"],
    h: Step,
    c: Step,
) -> tuple[Steps, Step]:
    """The outputs of all steps, and the cell after the last.

    Args:
        x: the inputs, time first.
        w: weights of the input: blocks i, f, g, o, or i, g, o where nothing is forgotten.
        u: weights of the output fed back.
        bias: of all blocks.
        h: output before the first step.
        c: cell before the first step.
    """
    outputs, last = _Sweep.apply(x, w, u, bias, h, c)  # type: ignore[no-untyped-call]
    return outputs, last


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, u: Tensor, bias: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = x.contiguous()  # batch first, it is a view across memory
        (t, b, _), (width, d) = x.shape, u.shape
        gates, squashed = x.new_empty(t, b, width), x.new_empty(b, d)
        outputs, cells = x.new_empty(t + 1, b, d), x.new_empty(t + 1, b, d)
        outputs[0], cells[0] = h, c
        hs, cs, steps = outputs.unbind(), cells.unbind(), gates.unbind()
        i, g, o = (gates[..., at : at + d].unbind() for at in (0, width - 2 * d, width - d))
        f = gates[..., d : 2 * d].unbind() if width == 4 * d else None
        let_in = gates[..., : width - 2 * d].unbind()  # i, and f where there is one
        along = u.T.contiguous()
        for piece in _pieces(t, b):
            first, last = piece.start, piece.stop
            product = gates[first:last].flatten(0, 1)
            torch.addmm(bias, x[first:last].flatten(0, 1), w.T, out=product)
            for k in piece:
                steps[k].addmm_(hs[k], along)
                let_in[k].sigmoid_()
                g[k].tanh_()
                o[k].sigmoid_()
                if f is None:
                    torch.addcmul(cs[k], i[k], g[k], out=cs[k + 1])
                else:
                    torch.mul(f[k], cs[k], out=cs[k + 1]).addcmul_(i[k], g[k])
                torch.tanh(cs[k + 1], out=squashed)
                torch.mul(o[k], squashed, out=hs[k + 1])
        ctx.save_for_backward(x, w, u, gates, outputs, cells)
        return outputs[1:], cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_cell: Tensor) -> tuple[Tensor | None, ...]:
        x, w, u, gates, outputs, cells = ctx.saved_tensors
        (t, b, _), width = d_outputs.shape, gates.shape[-1]
        d_w, d_u, d_bias = torch.zeros_like(w), torch.zeros_like(u), w.new_zeros(width)
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        d_hs, dh, dc = d_outputs.unbind(), d_outputs[-1].contiguous().clone(), d_cell.clone()
        for piece in reversed(_pieces(t, b)):
            first, last = piece.start, piece.stop
            squashed = cells[first + 1 : last + 1].tanh()
            d_sums = torch.empty_like(gates[first:last])
            sums = d_sums.unbind()
            step = _backwards(gates[first:last], cells[first:last], squashed, dh, dc, d_sums)
            for k in reversed(piece):
                step(k - first)
                if k:
                    torch.addmm(d_hs[k - 1], sums[k - first], u, out=dh)
                else:
                    torch.mm(sums[0], u, out=dh)
            flat = d_sums.flatten(0, 1)
            d_w.addmm_(flat.T, x[first:last].flatten(0, 1))
            d_u.addmm_(flat.T, outputs[first:last].flatten(0, 1))
            d_bias += flat.sum(0)
            if d_x is not None:
                d_x[first:last] = (flat @ w).unflatten(0, (-1, b))
        return d_x, d_w, d_u, d_bias, dh, dc


def _pieces(steps: int, batch: int) -> list[range]:
    """The steps, in order, some at a time."""
    size = max(1, ROWS // batch)
    return [range(first, min(first + size, steps)) for first in range(0, steps, size)]


def _backwards(
    gates: Tensor, before: Tensor, squashed: Tensor, dh: Tensor, dc: Tensor, da: Tensor
) -> Callable[[int], None]:
    """What takes one step back, given its number: fills da of that step, and changes dc.

    Args:
        gates: of some steps.
        before: the cells before each.
        squashed: tanh of the cells after each.
        dh: gradient by the output of the step that is taken back.
        dc: gradient by its cell, and then by the cell before.
        da: gradient by the sums of the gates.
    """
    tensors = (gates, before, squashed, dh, dc, da)
    if gates.device.type == "cpu" and gates.dtype in (torch.float32, torch.float64):
        arrays = [tensor.numpy() for tensor in tensors]
        return lambda k: step_back_compiled(
            arrays[0][k], arrays[1][k], arrays[2][k], arrays[3], arrays[4], arrays[5][k]
        )
    return lambda k: step_back(gates[k], before[k], squashed[k], dh, dc, da[k])


def step_back(gates: Tensor, before: Step, squashed: Step, dh: Step, dc: Step, da: Tensor) -> None:
    """The equations above, for one step, by tensors."""
    d = dh.shape[-1]
    blocks, slopes = gates.split(d, dim=-1), da.split(d, dim=-1)
    i, g, o = blocks[0], blocks[-2], blocks[-1]
    dc += dh * o * (1 - squashed.square())
    slopes[0].copy_(dc * g * i * (1 - i))
    slopes[-2].copy_(dc * i * (1 - g.square()))
    slopes[-1].copy_(dh * squashed * o * (1 - o))
    if len(blocks) == 4:
        f = blocks[1]
        slopes[1].copy_(dc * before * f * (1 - f))
        dc *= f


@compiled
def step_back_compiled(
    gates: Array, before: Array, squashed: Array, dh: Array, dc: Array, da: Array
) -> None:
    """The same by a loop over rows: what a step needs stays in the fastest cache.

    One short loop an equation, so that each is turned into vector instructions; 1 - y is
    multiplied out, for a 1 would make the arithmetic double.
    """
    (b, d), width = dh.shape, gates.shape[1]
    for r in range(b):
        i, g, o = gates[r, :d], gates[r, width - 2 * d : width - d], gates[r, width - d :]
        di, dg, do = da[r, :d], da[r, width - 2 * d : width - d], da[r, width - d :]
        s, h, c = squashed[r], dh[r], dc[r]
        for j in range(d):
            c[j] += h[j] * (o[j] - o[j] * s[j] * s[j])
        for j in range(d):
            di[j] = c[j] * g[j] * (i[j] - i[j] * i[j])
        for j in range(d):
            dg[j] = c[j] * (i[j] - i[j] * g[j] * g[j])
        for j in range(d):
            do[j] = h[j] * s[j] * (o[j] - o[j] * o[j])
        if width == 4 * d:
            f, df, past = gates[r, d : 2 * d], da[r, d : 2 * d], before[r]
            for j in range(d):
                df[j] = c[j] * past[j] * (f[j] - f[j] * f[j])
            for j in range(d):
                c[j] *= f[j]
