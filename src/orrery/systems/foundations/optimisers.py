"""Six update rules: SGD, momentum, AdaGrad, RMSprop, Adam and AdamW.

All read the gradient g of the loss and change the parameters p in place; lr is the learning rate:

    SGD       p -= lr g
    Momentum  v = momentum v + g;                        p -= lr v
    AdaGrad   s = s + g^2;                               p -= lr g / (sqrt(s) + eps)
    RMSprop   s = alpha s + (1 - alpha) g^2;             p -= lr g / (sqrt(s) + eps)
    Adam      m = beta1 m + (1 - beta1) g
              s = beta2 s + (1 - beta2) g^2;             p -= lr m' / (sqrt(s') + eps)
    AdamW     p -= lr weight_decay p, then Adam on the bare gradient

where m' = m / (1 - beta1^t) and s' = s / (1 - beta2^t) undo the start at zero. Weight decay is
added to the gradient (L2), but for AdamW. Arguments, defaults and the names in the state are those
of `torch.optim`, so that a run begun with one goes on with the other; each line of a rule is one
call over all tensors of a group.

Source: Robbins and Monro 1951 (SGD); Polyak 1964 (momentum, the form of Sutskever et al. 2013);
Duchi, Hazan, Singer 2011, JMLR 12:2121-2159 (AdaGrad, diagonal); Hinton 2012, Coursera lecture 6e
(RMSprop); Kingma and Ba 2015, arXiv:1412.6980, algorithm 1 (Adam); Loshchilov and Hutter 2019,
arXiv:1711.05101, algorithm 2 (AdamW).
Differs from the papers: AdaGrad without its projection; AdamW's decay is multiplied by lr.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from orrery.catalog import System

SYSTEM = System(
    stem="optimisers", area="foundations",
    title="Optimisers: SGD, momentum, AdaGrad, RMSprop, Adam, AdamW", year=2014,
    papers=("arXiv:1412.6980", "arXiv:1711.05101", "Duchi, Hazan, Singer 2011", "Polyak 1964",
            "Robbins and Monro 1951"),
    builds_on=(), realises=("sgd", "momentum", "adagrad", "rmsprop", "adam"),
)  # fmt: skip

Tensors = list[Tensor] | tuple[Tensor, ...]
Group = dict[str, Any]
Parameters = Iterable[Tensor] | Iterable[Group]


class UpdateRule(Optimizer, ABC):
    """What the six share; a rule says in `update` how parameters follow their gradients."""

    decoupled_decay = False
    """Whether weight decay shrinks the parameters themselves instead of joining the gradient."""

    def __init__(self, params: Parameters, constants: Group) -> None:
        for name, value in constants.items():
            check_constant(name, value)
        super().__init__(params, constants)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change every parameter that has a gradient; returns what `closure`, if given, returns."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            grads: Tensors = [p.grad for p in params]
            if not params:
                continue
            if group["weight_decay"] and self.decoupled_decay:
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            elif group["weight_decay"]:
                grads = torch._foreach_add(grads, params, alpha=group["weight_decay"])
            self.update(params, grads, group)
        return loss

    @abstractmethod
    def update(self, params: Tensors, grads: Tensors, group: Group) -> None:
        """Apply the rule in place; `grads` are not to be changed."""

    def memory(self, name: str, params: Tensors) -> Tensors:
        """The tensor called `name` that is kept for each parameter, zeros at first."""
        for p in params:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p)
        return [self.state[p][name] for p in params]

    def count(self, params: Tensors) -> list[int]:
        """How many times each parameter has been updated, this time included."""
        for p in params:
            self.state[p]["step"] = int(self.state[p].get("step", 0)) + 1
        return [self.state[p]["step"] for p in params]


class Sgd(UpdateRule):
    """p -= lr g."""

    def __init__(self, params: Parameters, lr: float = 1e-3, *, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def update(self, params: Tensors, grads: Tensors, group: Group) -> None:
        """One step against the gradient."""
        torch._foreach_add_(params, grads, alpha=-group["lr"])


class Momentum(UpdateRule):
    """A velocity gathers the gradients; it forgets a share 1 - momentum of itself each step."""

    def __init__(
        self, params: Parameters, lr: float = 1e-3, *, momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def update(self, params: Tensors, grads: Tensors, group: Group) -> None:
        """One step along the velocity."""
        velocity = self.memory("momentum_buffer", params)
        torch._foreach_mul_(velocity, group["momentum"])
        torch._foreach_add_(velocity, grads)
        torch._foreach_add_(params, velocity, alpha=-group["lr"])


class AdaGrad(UpdateRule):
    """Each parameter's rate falls with all the squared gradients it has ever seen."""

    def __init__(
        self, params: Parameters, lr: float = 1e-2, *, eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def update(self, params: Tensors, grads: Tensors, group: Group) -> None:
        """One step, divided by the root of the sum of squares."""
        total = self.memory("sum", params)
        torch._foreach_addcmul_(total, grads, grads)
        scale = _root_plus(total, group["eps"])
        torch._foreach_addcdiv_(params, grads, scale, value=-group["lr"])


class RmsProp(UpdateRule):
    """Like AdaGrad, but a moving average of squares forgets, so that the rate can rise again."""

    def __init__(
        self, params: Parameters, lr: float = 1e-2, *, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        )

    def update(self, params: Tensors, grads: Tensors, group: Group) -> None:
        """One step, divided by the root of the average square."""
        square = self.memory("square_avg", params)
        torch._foreach_mul_(square, group["alpha"])
        torch._foreach_addcmul_(square, grads, grads, value=1 - group["alpha"])
        scale = _root_plus(square, group["eps"])
        torch._foreach_addcdiv_(params, grads, scale, value=-group["lr"])


class Adam(UpdateRule):
    """Momentum over RMSprop's scale, both corrected for having started at zero."""

    def __init__(
        self, params: Parameters, lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def update(self, params: Tensors, grads: Tensors, group: Group) -> None:
        """One step along the average gradient, divided by the root of the average square."""
        beta1, beta2 = group["betas"]
        steps = self.count(params)
        mean, square = self.memory("exp_avg", params), self.memory("exp_avg_sq", params)
        torch._foreach_lerp_(mean, grads, 1 - beta1)
        torch._foreach_mul_(square, beta2)
        torch._foreach_addcmul_(square, grads, grads, value=1 - beta2)
        # m' / (sqrt(s') + eps) with both sides multiplied by root: one pass over the weights less
        root = [math.sqrt(1 - beta2**t) for t in steps]
        scale = torch._foreach_sqrt(square)
        torch._foreach_add_(scale, [group["eps"] * r for r in root])
        rates = [-group["lr"] * r / (1 - beta1**t) for r, t in zip(root, steps, strict=True)]
        torch._foreach_addcdiv_(params, mean, scale, rates)


class AdamW(Adam):
    """Adam whose weight decay bypasses the scale: p -= lr weight_decay p, whatever the gradient."""

    decoupled_decay = True

    def __init__(
        self, params: Parameters, lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)


def check_constant(name: str, value: float | tuple[float, ...]) -> None:
    """Refuse what no rule can use.

    Raises:
        ValueError: lr, eps or weight_decay is negative or infinite; a forgetting factor (momentum,
            alpha, betas) is below 0, or 1 and above.
    """
    top = math.inf if name in ("lr", "eps", "weight_decay") else 1.0
    for number in value if isinstance(value, tuple) else (value,):
        if not 0 <= number < top:
            allowed = "a finite number, at least 0" if top > 1 else "at least 0 and below 1"
            raise ValueError(f"{name} must be {allowed}, got {value}")


def _root_plus(squares: Tensors, eps: float) -> Tensors:
    """sqrt(squares) + eps, in fresh tensors."""
    scale = torch._foreach_sqrt(squares)
    torch._foreach_add_(scale, eps)
    return scale
