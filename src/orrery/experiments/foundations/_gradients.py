"""One network's gradients in three ways, what they cost, and how far they are apart."""

import math
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from orrery.lab import Measured
from orrery.systems.foundations.backpropagation import (
    BackpropagationConfig,
    MultilayerPerceptron,
    log_softmax_rows,
)

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class Counted(np.ndarray[Any, np.dtype[np.float64]]):
    """An array; what is computed from it is one, too, and its matrix products are counted."""

    products = 0
    """Multiply-adds so far."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **options: Any) -> Any:
        """Compute with plain arrays, and count."""
        plain = [np.asarray(given) for given in inputs]
        found = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            Counted.products += found.size * plain[0].shape[-1]
        return found.view(Counted) if isinstance(found, np.ndarray) else found


def cpu_seconds(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of the CPU time of each, taken in turns after one that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            taken[name].append(time.process_time() - start)
    return {f"{name}-seconds": median(spent[1:]) for name, spent in taken.items()}


def network(sizes: tuple[int, ...], rng: np.random.Generator) -> MultilayerPerceptron:
    """An untrained net of rectified layers."""
    return MultilayerPerceptron(BackpropagationConfig(sizes=sizes), rng)


def forward(net: MultilayerPerceptron, x: Array, labels: Labels) -> float:
    """The loss and nothing else."""
    rows = np.arange(len(labels))
    return -float(log_softmax_rows(net.activations(x)[-1])[rows, labels].mean())


def parameters(net: MultilayerPerceptron) -> list[Array]:
    """Weights and biases of all layers."""
    return [part for layer in net.layers for part in (layer.weights, layer.biases)]


def by_backpropagation(net: MultilayerPerceptron, x: Array, labels: Labels) -> Array:
    """The gradients of all weights and biases in one row."""
    _, gradients = net.loss_and_gradients(x, labels)
    return np.concatenate([part.ravel() for g in gradients for part in (g.weights, g.biases)])


def by_autograd(net: MultilayerPerceptron, x: Array, labels: Labels) -> Array:
    """The same, found by PyTorch."""
    tensors = [torch.tensor(part, requires_grad=True) for part in parameters(net)]
    a = torch.tensor(x)
    for i in range(0, len(tensors), 2):
        a = (a.relu() if i else a) @ tensors[i] + tensors[i + 1]
    loss = torch.nn.functional.cross_entropy(a, torch.tensor(labels))
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, tensors)]).numpy()


def by_differences(
    net: MultilayerPerceptron, x: Array, labels: Labels, step: float = 1e-6
) -> Array:
    """The same by one forward pass for each of them, and one more."""
    before, found = forward(net, x, labels), []
    for numbers in (part.reshape(-1) for part in parameters(net)):  # views, which change the net
        for i, kept in enumerate(numbers.copy()):
            numbers[i] = kept + step
            found.append((forward(net, x, labels) - before) / step)
            numbers[i] = kept
    return np.array(found)


def distance(ours: Array, theirs: Array) -> float:
    """The largest difference, as a share of the largest gradient."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def digits_alike(m: Measured, key: str) -> float:
    """To how many digits gradients found in two ways agree, in the net where they do least."""
    return -math.log10(max(value for name, value in m.items() if name.endswith(f"/{key}")))
