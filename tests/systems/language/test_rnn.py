import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.rnn import Rnn

SIZES = {
    "batch": st.integers(1, 3), "length": st.integers(1, 6), "inputs": st.integers(1, 4),
    "width": st.integers(1, 5), "depth": st.integers(1, 3), "both": st.booleans(),
}  # fmt: skip


def make(inputs=3, width=5, depth=1, both=False):
    torch.manual_seed(0)
    config = RecurrentConfig(inputs=inputs, width=width, depth=depth, bidirectional=both)
    model = Rnn(config).double()
    for p in model.parameters():
        p.data.mul_(2)  # over the whole of tanh
    return model


def sequence(batch=2, length=7, inputs=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, length, inputs, generator=generator, dtype=torch.float64)


@pytest.mark.parity
@settings(max_examples=15, deadline=None)
@given(**SIZES)
def test_it_is_torchs_rnn_with_the_same_state_dict(batch, length, inputs, width, depth, both):
    model, x = make(inputs, width, depth, both), sequence(batch, length, inputs)
    reference = nn.RNN(inputs, width, depth, batch_first=True, bidirectional=both).double()
    reference.load_state_dict(model.state_dict())
    back = make(inputs, width, depth, both)
    back.load_state_dict(reference.state_dict())
    start = torch.randn(depth * (1 + both), batch, width, dtype=torch.float64)
    expected, state = reference(x, start)
    output = back(x, start)
    torch.testing.assert_close(output.outputs, expected)
    torch.testing.assert_close(output.state, state)


def test_a_later_input_never_changes_an_earlier_output():
    model, x = make(depth=2), sequence()
    changed = x.clone()
    changed[:, 4:] += 1
    before, after = model(x).outputs, model(changed).outputs
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_read_from_both_ends_the_first_output_knows_the_last_input():
    model, x = make(both=True), sequence()
    changed = x.clone()
    changed[:, -1] += 1
    moved = (model(changed).outputs - model(x).outputs)[:, 0].abs().sum(0)
    assert (moved[:5] == 0).all()  # the half that reads forwards
    assert (moved[5:] > 0).all()


def test_the_state_goes_on_where_it_was_left_and_rows_are_alone():
    model, x = make(depth=2), sequence()
    whole, first = model(x), model(x[:, :3])
    second = model(x[:, 3:], first.state)
    torch.testing.assert_close(torch.cat([first.outputs, second.outputs], 1), whole.outputs)
    torch.testing.assert_close(torch.cat([model(row[None]).outputs for row in x]), whole.outputs)


def test_a_gradient_dies_with_a_small_recurrent_weight_and_bursts_with_a_large_one():
    """It is multiplied by U once a step: the eigenvalue decides."""
    x = torch.zeros(1, 21, 3, dtype=torch.float64, requires_grad=True)
    for scale in (0.5, 1.0, 1.5):
        model = make()
        with torch.no_grad():
            model.weight_hh_l0.copy_(scale * torch.eye(5))
            model.bias_ih_l0.zero_()
            model.bias_hh_l0.zero_()
        (gradient,) = torch.autograd.grad(model(x).outputs[0, -1].sum(), x)
        norms = gradient[0].norm(dim=-1)
        torch.testing.assert_close(norms[0] / norms[20], torch.tensor(scale**20).double())


def test_parity_of_three_bits_is_learnt_by_heart():
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    torch.manual_seed(2)
    model, head = Rnn(RecurrentConfig(inputs=1, width=12)), nn.Linear(12, 1)
    optimiser = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=0.02)
    losses = []
    for _ in range(250):
        scores = head(model(bits[..., None]).outputs[:, -1])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(scores, bits.sum(1) % 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.6
    assert losses[-1] < 0.1


@pytest.mark.parametrize("name", ["inputs", "width", "depth"])
def test_bad_configs_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        RecurrentConfig(**{name: 0})
