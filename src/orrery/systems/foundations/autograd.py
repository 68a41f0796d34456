"""Reverse-mode automatic differentiation over numpy arrays.

Every operation returns a `Variable` that remembers its operands, each with a pullback: the function
that turns a gradient of the result into a gradient of that operand (the transposed Jacobian, never
formed). `backward` walks the graph once, from the result to the leaves, and adds up what arrives.
Broadcasting is undone in one place, by summing over the axes that were stretched.

Source: Linnainmaa 1970 (reverse accumulation); Rumelhart, Hinton, Williams 1986, "Learning
representations by back-propagating errors", doi:10.1038/323533a0; Griewank and Walther 2008,
"Evaluating Derivatives", chapter 3.
Differs from the papers: arrays instead of scalars; first derivatives only.
"""

from collections.abc import Callable, Sequence
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from orrery.catalog import System

SYSTEM = System(
    stem="autograd", area="foundations", title="Reverse-mode automatic differentiation",
    year=1970, papers=("Linnainmaa 1970", "doi:10.1038/323533a0"), builds_on=(), realises=(),
)  # fmt: skip

Array = NDArray[np.float64]
Numbers = NDArray[Any] | Sequence[Any] | float | int
Operand = Union["Variable", Numbers]
Pullback = Callable[[Array], Array]


class Variable:
    """An array that remembers what it was computed from; `gradient` is filled by `backward`."""

    __slots__ = ("data", "gradient", "operands")
    __array_ufunc__ = None  # makes `array * variable` come to __rmul__

    def __init__(self, data: Numbers, operands: Sequence[tuple["Variable", Pullback]] = ()) -> None:
        self.data: Array = np.asarray(data, dtype=np.float64)
        self.operands = operands
        self.gradient: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.data.shape

    def __repr__(self) -> str:
        return f"Variable({self.data})"

    def backward(self) -> None:
        """Add the gradient of this number to `gradient` of everything it was computed from.

        Raises:
            ValueError: this is not a single number.
        """
        if self.data.size != 1:
            raise ValueError(f"backward needs a single number, got shape {self.shape}")
        arrived = {id(self): np.ones_like(self.data)}
        for variable in reversed(_in_order(self)):
            gradient = np.asarray(arrived.pop(id(variable)))  # numpy makes 0 axes a scalar
            variable.gradient = (
                gradient if variable.gradient is None else variable.gradient + gradient
            )
            for operand, pullback in variable.operands:
                part = _undo_broadcast(pullback(gradient), operand.shape)
                before = arrived.get(id(operand))
                arrived[id(operand)] = part if before is None else before + part

    # Elementwise ------------------------------------------------------------------------------

    def __add__(self, other: Operand) -> "Variable":
        b = _variable(other)
        return Variable(self.data + b.data, [(self, lambda g: g), (b, lambda g: g)])

    def __mul__(self, other: Operand) -> "Variable":
        a, b = self, _variable(other)
        return Variable(a.data * b.data, [(a, lambda g: g * b.data), (b, lambda g: g * a.data)])

    def __pow__(self, power: float | int) -> "Variable":
        slope = power * self.data ** (power - 1)
        return Variable(self.data**power, [(self, lambda g: g * slope)])

    def __neg__(self) -> "Variable":
        return self * -1.0

    def __sub__(self, other: Operand) -> "Variable":
        return self + -_variable(other)

    def __truediv__(self, other: Operand) -> "Variable":
        return self * _variable(other) ** -1.0

    def __rsub__(self, other: Operand) -> "Variable":
        return _variable(other) - self

    def __rtruediv__(self, other: Operand) -> "Variable":
        return _variable(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self) -> "Variable":
        """The exponential of each element."""
        y = np.exp(self.data)
        return Variable(y, [(self, lambda g: g * y)])

    def log(self) -> "Variable":
        """Natural logarithm of each element."""
        return Variable(np.log(self.data), [(self, lambda g: g / self.data)])

    def tanh(self) -> "Variable":
        """Hyperbolic tangent of each element."""
        y = np.tanh(self.data)
        return Variable(y, [(self, lambda g: g * (1.0 - y * y))])

    def sigmoid(self) -> "Variable":
        """1 / (1 + exp(-x)) of each element, by way of tanh, which cannot overflow."""
        return ((self * 0.5).tanh() + 1.0) * 0.5

    def relu(self) -> "Variable":
        """max(0, x) of each element; the slope at 0 is taken as 0."""
        positive = self.data > 0
        return Variable(self.data * positive, [(self, lambda g: g * positive)])

    # Products, sums, shapes -------------------------------------------------------------------

    def __matmul__(self, other: Operand) -> "Variable":
        """Matrix product of the last two axes; those before them broadcast.

        Raises:
            ValueError: an operand has fewer than two axes.
        """
        a, b = self, _variable(other)
        if min(a.data.ndim, b.data.ndim) < 2:
            raise ValueError(f"@ needs two axes or more, got shapes {a.shape} and {b.shape}")
        return Variable(
            a.data @ b.data,
            [
                (a, lambda g: g @ b.data.swapaxes(-1, -2)),
                (b, lambda g: a.data.swapaxes(-1, -2) @ g),
            ],
        )

    def __rmatmul__(self, other: Operand) -> "Variable":
        return _variable(other) @ self

    def sum(self, axis: int | tuple[int, ...] | None = None) -> "Variable":
        """Sum over `axis`, which stays as an axis of size 1; over everything if None."""
        keep = axis is not None
        total = self.data.sum(axis, keepdims=keep)
        return Variable(total, [(self, lambda g: np.broadcast_to(g, self.shape))])

    def mean(self, axis: int | tuple[int, ...] | None = None) -> "Variable":
        """Mean over `axis`, which stays as an axis of size 1; over everything if None."""
        total = self.sum(axis)
        return total * (total.data.size / self.data.size)

    def reshape(self, *shape: int) -> "Variable":
        """The same numbers in another shape."""
        return Variable(self.data.reshape(shape), [(self, lambda g: g.reshape(self.shape))])

    def swapaxes(self, first: int, second: int) -> "Variable":
        """Two axes exchanged."""
        return Variable(
            self.data.swapaxes(first, second), [(self, lambda g: g.swapaxes(first, second))]
        )

    def __getitem__(self, index: Any) -> "Variable":
        """Rows, slices or picked elements; an element picked twice is given both gradients."""

        def pullback(g: Array) -> Array:
            whole = np.zeros_like(self.data)
            np.add.at(whole, index, g)
            return whole

        return Variable(self.data[index], [(self, pullback)])


def log_softmax(logits: Variable) -> Variable:
    """Log-probabilities over the last axis; subtracting the largest logit changes nothing."""
    shifted = logits - logits.data.max(-1, keepdims=True)
    return shifted - shifted.exp().sum(-1).log()


def cross_entropy(logits: Variable, labels: NDArray[np.int64]) -> Variable:
    """Mean of -log p(label) over the rows, in nats."""
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


def numerical_gradients(
    function: Callable[..., Variable], inputs: Sequence[Array], step: float = 1e-6
) -> list[Array]:
    """Central differences of a function to one number: what `backward` must agree with."""
    gradients = []
    for position, array in enumerate(inputs):
        gradient = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            values = []
            for sign in (1.0, -1.0):
                moved = [a.copy() for a in inputs]
                moved[position][place] += sign * step
                values.append(function(*map(Variable, moved)).data.item())
            gradient[place] = (values[0] - values[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def _variable(operand: Operand) -> Variable:
    return operand if isinstance(operand, Variable) else Variable(operand)


def _undo_broadcast(gradient: Array | np.float64, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that broadcasting added or stretched, back to `shape`."""
    added = tuple(range(gradient.ndim - len(shape)))
    gradient = np.asarray(gradient.sum(axis=added) if added else gradient)
    stretched = tuple(i for i, size in enumerate(shape) if size == 1 and gradient.shape[i] > 1)
    return gradient.sum(axis=stretched, keepdims=True) if stretched else gradient


def _in_order(result: Variable) -> list[Variable]:
    """What `result` was computed from, operands before results; no recursion, graphs are deep."""
    order: list[Variable] = []
    seen: set[int] = set()
    stack = [(result, False)]
    while stack:
        variable, operands_done = stack.pop()
        if operands_done:
            order.append(variable)
        elif id(variable) not in seen:
            seen.add(id(variable))
            stack.append((variable, True))
            stack += [(operand, False) for operand, _ in variable.operands]
    return order
