import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.data import digits
from orrery.systems.foundations.autograd import (
    Variable,
    cross_entropy,
    log_softmax,
    numerical_gradients,
)

RNG = np.random.default_rng
A, B, C = RNG(0).normal(size=(3, 4)), RNG(1).normal(size=(4,)), RNG(2).normal(size=(2, 4, 3))
P = np.abs(RNG(3).normal(size=(3, 4))) + 0.5  # positive
LABELS = np.array([1, 0, 3])

# Each formula reads the same for a Variable and, with torch's names, for a tensor.
FORMULAS = {
    "sums and broadcasting": ((A, B), lambda a, b: ((a + b) * (2.0 - a) - b).sum()),
    "a number first": ((P,), lambda a: (1.0 / a + 3.0 * a + (2.0 - a)).sum()),
    "division": ((A, P), lambda a, p: (a / p).sum()),
    "powers": ((P,), lambda p: (p**3 + p**-0.5).sum()),
    "one operand twice": ((A,), lambda a: (a * a + a).sum()),
    "exp, log": ((P, B), lambda p, b: ((p * b).exp() + p.log()).sum()),
    "tanh, sigmoid": ((A,), lambda a: (a.tanh() * a.sigmoid()).sum()),
    "relu": ((A, B), lambda a, b: (a.relu() * b).sum()),
    "matrix product": ((A, A), lambda a, b: (a @ b.swapaxes(0, 1)).tanh().sum()),
    "stacked matrix product": ((A, C), lambda a, c: ((a @ c) ** 2).sum()),
    "reshape": ((A, B), lambda a, b: (a.reshape(4, 3).swapaxes(0, 1) * b).tanh().sum()),
    "picked": ((A,), lambda a: (a[[0, 2, 0]] ** 2).sum() + a[1, 2] * a[1:, :2].sum()),
    "mean": ((A,), lambda a: (a * a).mean()),
}


def gradients(formula, arrays):
    variables = [Variable(array) for array in arrays]
    result = formula(*variables)
    result.backward()
    return result.data, [v.gradient for v in variables]


@pytest.mark.parity
@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_gradients_equal_those_of_torch(name):
    arrays, formula = FORMULAS[name]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    reference = formula(*tensors)
    reference.backward()
    value, found = gradients(formula, arrays)
    torch.testing.assert_close(torch.tensor(value), reference.detach())
    for ours, theirs in zip(found, tensors, strict=True):
        torch.testing.assert_close(torch.tensor(np.ascontiguousarray(ours)), theirs.grad)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_equal_finite_differences(name):
    arrays, formula = FORMULAS[name]
    for ours, numerical in zip(
        gradients(formula, arrays)[1], numerical_gradients(formula, arrays), strict=True
    ):
        np.testing.assert_allclose(ours, numerical, atol=1e-7, rtol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_reductions_keep_their_axis(name, axis):
    variable, tensor = Variable(A), torch.tensor(A, requires_grad=True)
    ours = getattr(variable, name)(axis)
    theirs = getattr(tensor, name)(axis, keepdim=axis is not None)
    assert ours.shape == tuple(theirs.shape)
    (ours * ours).sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(torch.tensor(variable.gradient), tensor.grad)


@pytest.mark.parity
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 300.0))
def test_cross_entropy_equals_that_of_torch_at_any_scale(seed, scale):
    logits = RNG(seed).normal(size=(3, 4)) * scale
    variable, tensor = Variable(logits), torch.tensor(logits, requires_grad=True)
    loss = cross_entropy(variable, LABELS)
    loss.backward()
    reference = torch.nn.functional.cross_entropy(tensor, torch.tensor(LABELS))
    reference.backward()
    torch.testing.assert_close(torch.tensor(loss.data), reference.detach())
    torch.testing.assert_close(torch.tensor(variable.gradient), tensor.grad)
    np.testing.assert_allclose(np.exp(log_softmax(variable).data).sum(-1), 1.0)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_broadcasting_is_undone_whatever_the_shapes(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    small = tuple(data.draw(st.sampled_from([1, n])) for n in shape)
    small = small[data.draw(st.integers(0, len(shape))) :]
    _, (a, b) = gradients(lambda x, y: (x * y).sum(), (np.full(shape, 2.0), np.full(small, 3.0)))
    np.testing.assert_array_equal(a, np.full(shape, 3.0))
    np.testing.assert_array_equal(b, np.full(small, 2.0 * np.prod(shape) / np.prod(small)))


def test_gradients_add_up_over_calls_and_numpy_arrays_stay_on_the_left():
    x = Variable(2.0)
    (x * x).backward()
    (np.array([3.0]) * x).sum().backward()
    assert x.gradient == 7.0
    assert repr(np.ones((1, 2)) @ Variable([[1.0], [2.0]])) == "Variable([[3.]])"


def test_a_graph_as_deep_as_no_recursion_allows():
    x = Variable(1.0)
    y = x
    for _ in range(5_000):
        y = y * 1.0001
    y.backward()
    assert x.gradient == pytest.approx(1.0001**5_000)


def test_what_has_no_gradient_is_refused():
    with pytest.raises(ValueError, match=r"single number, got shape \(3, 4\)"):
        Variable(A).backward()
    with pytest.raises(ValueError, match="two axes or more"):
        Variable(B) @ Variable(A)


def test_a_small_network_learns_real_digits():
    train, test = digits.load()
    x, held_out = (part.images.reshape(len(part), -1) / 16.0 for part in (train, test))
    rng = RNG(0)
    w1, b1 = Variable(rng.normal(0, 0.2, (64, 32))), Variable(np.zeros(32))
    w2, b2 = Variable(rng.normal(0, 0.2, (32, 10))), Variable(np.zeros(10))
    weights = [w1, b1, w2, b2]

    def logits(images):
        return (images @ w1 + b1).relu() @ w2 + b2

    def error():
        return (logits(held_out).data.argmax(1) != test.labels).mean()

    before = error()
    for _ in range(300):
        chosen = rng.integers(len(train), size=64)
        loss = cross_entropy(logits(x[chosen]), train.labels[chosen])
        for w in weights:
            w.gradient = None
        loss.backward()
        for w in weights:
            w.data -= 0.5 * w.gradient
    assert before > 0.7
    assert error() < 0.1
