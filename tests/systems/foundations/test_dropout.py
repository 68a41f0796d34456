import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from orrery.systems.foundations.dropout import Dropout, dropout, mean_squared_error

F64 = torch.float64


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_that_is_no_probability_of_silence_is_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        Dropout(rate)
    with pytest.raises(ValueError, match="rate"):
        dropout(torch.ones(2), rate, stream())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=4), st.floats(0, 0.99))
def test_numbers_are_silenced_or_scaled_and_nothing_else(shape, rate):
    x = torch.rand(shape, dtype=F64) + 1
    y = dropout(x, rate, stream())
    assert y.shape == x.shape
    torch.testing.assert_close(y, torch.where(y == 0, 0.0, x / (1 - rate)))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_mean_over_masks_is_the_output_at_test(rate):
    x = torch.linspace(-2, 2, 5, dtype=F64)
    layer = Dropout(rate)
    draws = layer(x.expand(40_000, 5), stream())
    error = (rate / (1 - rate)) ** 0.5 * x.abs() / 200  # standard error of each mean
    assert ((draws.mean(0) - layer.eval()(x)).abs() <= 4 * error).all()


@pytest.mark.parity
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_silenced_numbers_are_distributed_as_torchs(rate):
    torch.manual_seed(1)
    x = torch.ones(3_000, 20)
    counts = [
        (drawn == 0).sum(1).numpy()
        for drawn in (dropout(x, rate, stream()), torch.nn.functional.dropout(x, rate))
    ]
    assert stats.ks_2samp(*counts).pvalue > 0.01
    expected = stats.binom(20, rate)
    assert abs(counts[0].mean() - expected.mean()) < 0.1
    assert abs(counts[0].var() / expected.var() - 1) < 0.1  # each number for itself


def test_the_same_generator_gives_the_same_mask_and_the_global_one_is_left_alone():
    x = torch.ones(50)
    before = torch.get_rng_state()
    torch.testing.assert_close(dropout(x, 0.5, stream(3)), dropout(x, 0.5, stream(3)))
    assert not torch.equal(dropout(x, 0.5, stream(3)), dropout(x, 0.5, stream(4)))
    assert torch.equal(before, torch.get_rng_state())


def test_at_test_nothing_happens_and_in_training_a_generator_is_needed():
    x = torch.randn(4, 3)
    layer = Dropout(0.9)
    assert torch.equal(layer.eval()(x), x)
    with pytest.raises(ValueError, match="generator"):
        layer.train()(x)


def test_gradients_pass_where_the_number_was_kept():
    x = torch.ones(100, dtype=F64, requires_grad=True)
    y = dropout(x, 0.25, stream())
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())
    assert torch.autograd.gradcheck(lambda x: dropout(x, 0.25, stream()), x)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5])
def test_averaged_over_all_masks_dropout_is_an_l2_penalty(rate):
    torch.manual_seed(0)
    inputs, targets = torch.randn(3, 4, dtype=F64), torch.randn(3, dtype=F64)
    weights = torch.randn(4, dtype=F64)
    total = torch.zeros((), dtype=F64)
    for x, target in zip(inputs, targets, strict=True):  # each example has its own mask
        for mask in itertools.product((0.0, 1.0), repeat=4):
            kept = sum(mask)
            chance = (1 - rate) ** kept * rate ** (4 - kept)
            masked = x * torch.tensor(mask, dtype=F64) / (1 - rate)
            total += chance * (target - masked @ weights).square()
    torch.testing.assert_close(mean_squared_error(inputs, targets, weights, rate), total)


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_one_softmax_layer_at_test_is_the_geometric_mean_of_all_thinned_nets(rate):
    torch.manual_seed(0)
    x, weight = torch.randn(5, dtype=F64), torch.randn(3, 5, dtype=F64)
    log_mean = torch.zeros(3, dtype=F64)
    for mask in itertools.product((0.0, 1.0), repeat=5):
        chance = (1 - rate) ** sum(mask) * rate ** (5 - sum(mask))
        thinned = weight @ (x * torch.tensor(mask, dtype=F64)) / (1 - rate)
        log_mean += chance * torch.log_softmax(thinned, 0)
    torch.testing.assert_close(torch.softmax(log_mean, 0), torch.softmax(weight @ x, 0))
