import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.foundations.batch_norm import BatchNorm, BatchNormConfig, BatchNormFunction

F64 = torch.float64
SHAPES = [(7, 4), (5, 4, 6), (3, 4, 5, 2)]
shapes = pytest.mark.parametrize("shape", SHAPES)


def pair(shape, **constants):
    """Ours and torch's, with the same gains and biases far from their start."""
    torch.manual_seed(0)
    theirs = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](4, **constants)
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    ours = BatchNorm(BatchNormConfig(channels=4, **constants))
    ours.load_state_dict(theirs.state_dict())  # strict: the same names
    return ours.double(), theirs.double()


def numbers(shape, seed):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)) * 3 + 2


@pytest.mark.parametrize(
    "wrong", [{"channels": 0}, {"eps": 0.0}, {"momentum": -0.1}, {"momentum": 1.1}]
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        BatchNormConfig(**{"channels": 2} | wrong)


@pytest.mark.parity
@shapes
@pytest.mark.parametrize("constants", [{}, {"eps": 0.3, "momentum": 0.7}])
def test_outputs_gradients_and_running_statistics_equal_torchs(shape, constants):
    ours, theirs = pair(shape, **constants)
    for step in range(3):
        x, upstream = numbers(shape, step), numbers(shape, 9)
        found = []
        for layer in (ours, theirs):
            given = x.clone().requires_grad_()
            layer.zero_grad()
            y = layer(given)
            y.backward(upstream)
            found.append((y, given.grad, layer.weight.grad, layer.bias.grad))
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    ours.eval(), theirs.eval()
    x = numbers(shape, 20).requires_grad_()
    torch.testing.assert_close(ours(x), theirs(x))
    gradients = [torch.autograd.grad(m(x).square().sum(), x)[0] for m in (ours, theirs)]
    torch.testing.assert_close(*gradients)


@shapes
def test_the_hand_written_gradients_are_right(shape):
    weight, bias = numbers((4,), 1).requires_grad_(), numbers((4,), 2).requires_grad_()
    x = numbers(shape, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: BatchNormFunction.apply(*a, 0.1), (x, weight, bias))


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.lists(st.integers(1, 4), max_size=3))
def test_every_channel_comes_out_with_mean_zero_and_variance_one(batch, channels, places):
    x = numbers((batch, channels, *places), 0)
    y = BatchNorm(BatchNormConfig(channels=channels, eps=1e-12)).double()(x)
    assert y.shape == x.shape
    flat = y.transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(channels, dtype=F64))
    torch.testing.assert_close(flat.var(1, correction=0), torch.ones(channels, dtype=F64))


@shapes
def test_scale_and_shift_of_a_channel_make_no_difference_in_training(shape):
    layer = BatchNorm(BatchNormConfig(channels=4, eps=1e-14)).double()
    x = numbers(shape, 0)
    scale = torch.tensor([0.5, 2.0, 10.0, 1.0], dtype=F64).reshape(1, 4, *[1] * (x.ndim - 2))
    torch.testing.assert_close(layer(x * scale + 7), layer(x))


def test_examples_depend_on_one_another_in_training_only():
    layer, x = BatchNorm(BatchNormConfig(channels=3)).double(), numbers((6, 3), 0)
    assert not torch.allclose(layer(x)[:4], layer(x[:4]))
    layer.eval()
    torch.testing.assert_close(layer(x), torch.cat([layer(one[None]) for one in x]))


def test_the_gradient_at_the_input_is_blind_to_shift_and_scale():
    """It sums to 0 over a channel and is at right angles to the normalised input."""
    x = numbers((8, 3, 4), 0).requires_grad_()
    y = BatchNorm(BatchNormConfig(channels=3, eps=1e-14)).double()(x)
    y.backward(numbers(y.shape, 1))
    zero = torch.zeros(3, dtype=F64)
    torch.testing.assert_close(x.grad.sum((0, 2)), zero)
    torch.testing.assert_close((x.grad * y.detach()).sum((0, 2)), zero)


def test_one_number_a_channel_is_refused_in_training_and_fine_at_test():
    layer = BatchNorm(BatchNormConfig(channels=3))
    with pytest.raises(ValueError, match="two numbers"):
        layer(torch.ones(1, 3))
    assert layer.num_batches_tracked == 0
    assert layer.eval()(torch.ones(1, 3)).shape == (1, 3)


def test_eight_sigmoid_layers_overfit_one_batch_with_it_and_not_without():
    x, labels = numbers((16, 8), 0), torch.arange(16) % 2
    losses = {}
    for normalised in (True, False):
        torch.manual_seed(0)
        layers = [nn.Linear(8, 24), nn.Tanh()]
        for _ in range(8):
            norm = BatchNorm(BatchNormConfig(channels=24)) if normalised else nn.Identity()
            layers += [nn.Linear(24, 24), norm, nn.Sigmoid()]
        net = nn.Sequential(*layers, nn.Linear(24, 2)).double()
        optimiser = torch.optim.Adam(net.parameters(), 0.02)
        for step in range(40):
            loss = nn.functional.cross_entropy(net(x), labels)
            if step == 0:
                assert loss > 0.5
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[normalised] = loss.item()
    assert losses[True] < 0.1
    assert losses[False] > 0.6
