import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.bptt import bias_of_truncation, bptt, clip
from orrery.systems.language.rnn import Rnn


def make(inputs=3, width=5, scale=2.0):
    torch.manual_seed(0)
    rnn = Rnn(RecurrentConfig(inputs=inputs, width=width)).double()
    for p in rnn.parameters():
        p.data.mul_(scale)
    return rnn


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 3), length=st.integers(1, 8), inputs=st.integers(1, 4),
    width=st.integers(1, 5),
)  # fmt: skip
def test_the_whole_gradient_is_autograds(batch, length, inputs, width):
    rnn, x = make(inputs, width), normal(batch, length, inputs).requires_grad_()
    errors = normal(batch, length, width, seed=2)
    found = bptt(rnn, x, errors)
    names = [name for name, _ in rnn.named_parameters()]
    expected = torch.autograd.grad((rnn(x).outputs * errors).sum(), [*rnn.parameters(), x])
    for name, gradient in zip(names, expected, strict=False):
        torch.testing.assert_close(found.gradients[name], gradient)
    torch.testing.assert_close(found.inputs, expected[-1])


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_a_truncated_gradient_lets_each_error_go_back_so_far(horizon):
    """By autograd: for each step a copy of the network that starts from a state held fixed."""
    rnn, x, errors = make(), normal(2, 8, 3), normal(2, 8, 5, seed=2)
    states = torch.cat([torch.zeros(2, 1, 5).double(), rnn(x).outputs.detach()], dim=1)
    loss = torch.zeros(()).double()
    for t in range(8):
        first = max(0, t - horizon + 1)
        output = rnn(x[:, first : t + 1], states[:, first][None]).outputs[:, -1]
        loss = loss + (output * errors[:, t]).sum()
    expected = torch.autograd.grad(loss, list(rnn.parameters()))
    found = bptt(rnn, x, errors, horizon)
    for (name, _), gradient in zip(rnn.named_parameters(), expected, strict=True):
        torch.testing.assert_close(found.gradients[name], gradient)


def test_truncation_is_biased_and_less_so_the_further_it_looks():
    rnn, x, errors = make(scale=1.5), normal(4, 20, 3), torch.ones(4, 20, 5).double()
    whole = bptt(rnn, x, errors)
    bias = [bias_of_truncation(whole, bptt(rnn, x, errors, k)) for k in (1, 3, 10, 20)]
    assert bias[0] > bias[1] > bias[2] > bias[3] == 0
    assert bias[0] > 0.05


def test_errors_shrink_or_grow_with_the_lag_as_the_recurrent_weight_says():
    x, errors = torch.zeros(1, 12, 3).double(), torch.zeros(1, 12, 5).double()
    errors[:, -1] = 1
    for scale in (0.5, 2.0):
        rnn = make()
        with torch.no_grad():
            rnn.weight_hh_l0.copy_(scale * torch.eye(5))
            rnn.bias_ih_l0.zero_()
            rnn.bias_hh_l0.zero_()
        by_lag = bptt(rnn, x, errors).by_lag
        powers = scale ** torch.arange(12.0).double()
        torch.testing.assert_close(by_lag, by_lag[0] * powers)


def test_clipping_keeps_the_direction_and_stops_an_explosion():
    rnn = make(scale=1.0)
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(3 * torch.eye(5))
    errors = torch.zeros(1, 40, 5).double()
    errors[:, -1] = 1
    with torch.no_grad():
        rnn.bias_ih_l0.zero_()
        rnn.bias_hh_l0.zero_()
    found = bptt(rnn, torch.zeros(1, 40, 3).double(), errors).gradients
    assert found["bias_ih_l0"].norm() > 1e15
    clipped = clip(found, 1.0)
    flat, short = (torch.cat([g.flatten() for g in gs.values()]) for gs in (found, clipped))
    torch.testing.assert_close(short, flat / flat.norm())
    small = {"weight": normal(3) / 100}
    torch.testing.assert_close(clip(small, 1.0)["weight"], small["weight"])


def test_bad_arguments_are_refused():
    rnn, x = make(), normal(1, 4, 3)
    deep = Rnn(RecurrentConfig(inputs=3, width=5, depth=2)).double()
    with pytest.raises(ValueError, match="one layer that reads forwards"):
        bptt(deep, x, normal(1, 4, 5))
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        bptt(rnn, x, normal(1, 4, 5), horizon=0)
    with pytest.raises(ValueError, match="limit must be above 0, got 0"):
        clip({}, 0.0)
