"""A recurrence without a matrix: every element of the state by itself, c_t = f_t c_(t-1) + g_t.

All that needs a matrix product is done before, for all steps at once; what is left to do one step
after another is a product and a sum. The gradient is the same recurrence, run backwards:

    e_t = d_t + f_(t+1) e_(t+1)      d f_t = e_t c_(t-1)      d g_t = e_t
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Steps = Float[Tensor, "t b d"]


def element_recurrence(f: Steps, g: Steps, c: Float[Tensor, "b d"]) -> Steps:
    """The state c after each step.

    Args:
        f: what is kept of c at each step, time first.
        g: what is added.
        c: before the first step.
    """
    states: Steps = _Recurrence.apply(f, g, c)  # type: ignore[no-untyped-call]
    return states


def by_doubling(f: Steps, g: Steps, c: Float[Tensor, "b d"]) -> Steps:
    """The same in log2 t rounds, each over all steps at once: a scan that could run in parallel.

    Two steps in a row are one of the same kind, f2 (f1 c + g1) + g2 = (f2 f1) c + (f2 g1 + g2), so
    each round joins every step with those that went before. More work, fewer things that wait.
    """
    g = torch.cat([torch.addcmul(g[:1], f[:1], c), g[1:]])
    reach = 1
    while reach < len(g):
        g = torch.cat([g[:reach], torch.addcmul(g[reach:], f[reach:], g[:-reach])])
        f = torch.cat([f[:reach], f[reach:] * f[:-reach]])
        reach *= 2
    return g


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Tensor, g: Tensor, c: Tensor) -> Tensor:
        states = torch.empty_like(g, memory_format=torch.contiguous_format)
        before = c
        for kept, added, after in zip(f.unbind(), g.unbind(), states.unbind(), strict=True):
            before = torch.addcmul(added, kept, before, out=after)
        ctx.save_for_backward(f, states, c)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f, states, c = ctx.saved_tensors
        d_g = d_states.clone(memory_format=torch.contiguous_format)
        kept, errors = f.unbind(), d_g.unbind()
        for t in range(len(errors) - 2, -1, -1):
            errors[t].addcmul_(kept[t + 1], errors[t + 1])
        before = torch.cat([c[None], states[:-1]])
        return d_g * before, d_g, d_g[0] * f[0]
