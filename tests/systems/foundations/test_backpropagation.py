import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.data import digits
from orrery.systems.foundations.autograd import Variable, cross_entropy
from orrery.systems.foundations.backpropagation import (
    BackpropagationConfig,
    MultilayerPerceptron,
)

ACTIVATIONS = pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])


def example(sizes=(5, 7, 6, 3), activation="relu", n=8, seed=0):
    rng = np.random.default_rng(seed)
    model = MultilayerPerceptron(BackpropagationConfig(sizes=sizes, activation=activation), rng)
    for layer in model.layers:
        layer.biases[...] = rng.normal(0, 0.3, layer.biases.shape)
    return model, rng.normal(size=(n, sizes[0])), rng.integers(sizes[-1], size=n)


@pytest.mark.parametrize("wrong", [{"sizes": (3,)}, {"sizes": (3, 0)}])
def test_a_bad_config_is_refused(wrong):
    with pytest.raises(ValueError, match="sizes must be two or more"):
        BackpropagationConfig(**wrong)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(1, 4))
def test_every_gradient_has_the_shape_of_its_weights(sizes, n):
    model, x, labels = example(tuple(sizes), n=n)
    _, gradients = model.loss_and_gradients(x, labels)
    assert [(g.weights.shape, g.biases.shape) for g in gradients] == [
        (layer.weights.shape, layer.biases.shape) for layer in model.layers
    ]


@pytest.mark.parity
@ACTIVATIONS
def test_gradients_equal_those_of_torch_and_of_our_own_autograd(activation):
    model, x, labels = example(activation=activation)
    loss, gradients = model.loss_and_gradients(x, labels)

    tensors = [torch.tensor(w, requires_grad=True) for layer in model.layers
               for w in (layer.weights, layer.biases)]  # fmt: skip
    variables = [Variable(t.detach().numpy()) for t in tensors]
    losses = []
    for a, parameters in ((torch.tensor(x), tensors), (x, variables)):
        for level in range(3):
            z = a @ parameters[2 * level] + parameters[2 * level + 1]
            a = getattr(z, activation)() if level < 2 else z
        losses.append(
            cross_entropy(a, labels) if isinstance(a, Variable)
            else torch.nn.functional.cross_entropy(a, torch.tensor(labels))
        )  # fmt: skip
        losses[-1].backward()

    assert losses[0].item() == pytest.approx(loss, rel=1e-12)
    assert losses[1].data == pytest.approx(loss, rel=1e-12)
    ours = [w for g in gradients for w in (g.weights, g.biases)]
    for mine, tensor, variable in zip(ours, tensors, variables, strict=True):
        torch.testing.assert_close(torch.tensor(mine), tensor.grad)
        np.testing.assert_allclose(variable.gradient, mine, rtol=1e-10, atol=1e-12)


@ACTIVATIONS
def test_gradients_equal_finite_differences(activation):
    model, x, labels = example(activation=activation)
    _, gradients = model.loss_and_gradients(x, labels)
    for layer, gradient in zip(model.layers, gradients, strict=True):
        for weights, found in (
            (layer.weights, gradient.weights), (layer.biases, gradient.biases),
        ):  # fmt: skip
            for place in np.ndindex(weights.shape):
                kept, values = weights[place], []
                for moved in (kept + 1e-6, kept - 1e-6):
                    weights[place] = moved
                    values.append(model.loss_and_gradients(x, labels)[0])
                weights[place] = kept
                assert (values[0] - values[1]) / 2e-6 == pytest.approx(found[place], abs=1e-6)


class Counted(np.ndarray):
    """An array that counts the multiply-adds of the matrix products it takes part in."""

    total = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [np.asarray(i) for i in inputs]
        if ufunc is np.matmul:
            Counted.total += plain[0].size * plain[1].shape[-1]
        options = {k: tuple(map(np.asarray, v)) if k == "out" else v for k, v in options.items()}
        result = getattr(ufunc, method)(*plain, **options)
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def multiply_adds(depth, width=32, n=16):
    """Counted on the way there, and on the way back."""
    model, x, _ = example((width,) * (depth + 1), n=n)
    Counted.total = 0
    activations = model.activations(x.view(Counted))
    forward = Counted.total
    model.pass_back(activations, np.ones((n, width)).view(Counted))
    return forward, Counted.total - forward


def test_the_way_back_costs_twice_the_way_there_and_both_are_linear_in_depth():
    per_layer = 16 * 32 * 32
    for depth in (1, 5, 10, 40):
        forward, backward = multiply_adds(depth)
        assert forward == depth * per_layer
        assert backward == (2 * depth - 1) * per_layer  # the input needs no gradient


def test_the_slope_of_the_sigmoid_is_a_quarter_at_most():
    """The plan says below 0.25; at 0 it is 0.25."""
    model, _, _ = example((1, 1, 2), activation="sigmoid")
    for layer in model.layers:
        layer.weights[...], layer.biases[...] = 1.0, 0.0
    model.layers[1].weights[0, 1] = 0.0
    slopes = []
    for z in np.linspace(-8, 8, 81):
        activations = model.activations(np.array([[z]]))
        gradients = model.pass_back(activations, np.array([[1.0, 0.0]]))
        slopes.append(gradients[0].biases[0])
    assert max(slopes) == slopes[40] == 0.25


def test_it_learns_real_digits():
    train, test = digits.load()
    x, held_out = (part.images.reshape(len(part), -1) / 16.0 for part in (train, test))
    rng = np.random.default_rng(0)
    model = MultilayerPerceptron(BackpropagationConfig(), rng)

    def error():
        return (model.activations(held_out)[-1].argmax(1) != test.labels).mean()

    before = error()
    for _ in range(300):
        chosen = rng.integers(len(train), size=64)
        _, gradients = model.loss_and_gradients(x[chosen], train.labels[chosen])
        model.descend(gradients, 0.5)
    assert before > 0.7
    assert error() < 0.1
