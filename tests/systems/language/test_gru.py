import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language.gru import Gru, GruConfig
from orrery.systems.language.lstm import Lstm

SIZES = {
    "batch": st.integers(1, 3), "length": st.integers(1, 6), "inputs": st.integers(1, 4),
    "width": st.integers(1, 5), "depth": st.integers(1, 3), "both": st.booleans(),
}  # fmt: skip


def make(inputs=3, width=5, depth=1, both=False, **conventions):
    torch.manual_seed(0)
    config = GruConfig(inputs=inputs, width=width, depth=depth, bidirectional=both, **conventions)
    model = Gru(config).double()
    for p in model.parameters():
        p.data.mul_(2)  # over the whole of tanh
    return model


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parity
@settings(max_examples=15, deadline=None)
@given(**SIZES)
def test_it_is_torchs_gru_with_the_same_state_dict(batch, length, inputs, width, depth, both):
    model, x = make(inputs, width, depth, both), normal(batch, length, inputs)
    reference = nn.GRU(inputs, width, depth, batch_first=True, bidirectional=both).double()
    reference.load_state_dict(model.state_dict())
    back = make(inputs, width, depth, both)
    back.load_state_dict(reference.state_dict())
    start = normal(depth * (1 + both), batch, width, seed=2)
    expected, state = reference(x, start)
    output = back(x, start)
    torch.testing.assert_close(output.outputs, expected)
    torch.testing.assert_close(output.state, state)


@pytest.mark.parametrize("reset", ["after", "before"])
def test_both_updates_are_one_function_up_to_the_sign_of_a_gate(reset):
    keep, take = make(update="keep", reset=reset), make(update="take", reset=reset)
    x = normal(2, 7, 3)
    assert not torch.allclose(keep(x).outputs, take(x).outputs)
    with torch.no_grad():
        for p in take.parameters():
            p[5:10].neg_()  # the update gate's rows
    torch.testing.assert_close(take(x).outputs, keep(x).outputs)


def test_resetting_before_the_product_is_the_papers_equation():
    model, x = make(update="take", reset="before"), normal(2, 4, 3)
    weights, h = model.weights(0), x.new_zeros(2, 5)
    w, u = weights.input.split(5), weights.recurrent.split(5)
    b = (weights.input_bias + weights.recurrent_bias).split(5)
    for step, output in zip(x.unbind(1), model(x).outputs.unbind(1), strict=True):
        r = (step @ w[0].T + h @ u[0].T + b[0]).sigmoid()
        z = (step @ w[1].T + h @ u[1].T + b[1]).sigmoid()
        h = (1 - z) * h + z * (step @ w[2].T + (r * h) @ u[2].T + b[2]).tanh()
        torch.testing.assert_close(output, h)
    assert not torch.allclose(make(update="take")(x).outputs, model(x).outputs)


def test_an_open_update_gate_keeps_the_state_for_ever():
    model, state = make(), normal(1, 1, 5)
    with torch.no_grad():
        model.bias_ih_l0[5:10] = 50
        torch.testing.assert_close(model(0.1 * normal(1, 200, 3), state).state, state)


def test_it_has_three_quarters_of_the_weights_of_an_lstm():
    sizes = {"inputs": 7, "width": 5, "depth": 2, "bidirectional": True}
    models = Gru(GruConfig(**sizes)), Lstm(RecurrentConfig(**sizes))
    gru, lstm = (sum(p.numel() for p in model.parameters()) for model in models)
    assert 4 * gru == 3 * lstm


def test_pieces_of_a_text_are_the_text_and_the_past_is_not_changed():
    model, x = make(depth=2), normal(2, 7, 3)
    whole, first = model(x).outputs, model(x[:, :3])
    second = model(x[:, 3:], first.state).outputs
    torch.testing.assert_close(torch.cat([first.outputs, second], 1), whole)


def test_one_batch_is_learnt_by_heart():
    x, y = normal(4, 8, 3).float(), normal(4, 8, 8, seed=5).float().tanh()
    torch.manual_seed(0)
    model = Gru(GruConfig(inputs=3, width=24))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(120):
        loss = (model(x).outputs[..., :8] - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.3
    assert losses[-1] < 0.05


def test_bad_configs_are_refused():
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        make(width=0)
