import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn.recurrent import RecurrentConfig
from orrery.systems.language import lstm_sweep
from orrery.systems.language.lstm import Lstm, LstmState, lstm_cell

SIZES = {
    "batch": st.integers(1, 3), "length": st.integers(1, 6), "inputs": st.integers(1, 4),
    "width": st.integers(1, 5), "depth": st.integers(1, 3), "both": st.booleans(),
}  # fmt: skip


def make(inputs=3, width=5, depth=1, both=False, forget=True):
    torch.manual_seed(0)
    config = RecurrentConfig(inputs=inputs, width=width, depth=depth, bidirectional=both)
    model = Lstm(config, forget=forget).double()
    for name, p in model.named_parameters():
        p.data.mul_(2)  # over the whole of tanh
        if "bias" in name and not forget:
            p.data.normal_()  # its input gate is made to start nearly shut
    return model


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def by_hand(model, x):
    """One layer, one `lstm_cell` after another."""
    weights = model.weights(0)
    zero = x.new_zeros(len(x), model.config.width)
    state, outputs = LstmState(h=zero, c=zero), []
    for step in x.unbind(1):
        said = step @ weights.input.T + weights.input_bias + weights.recurrent_bias
        state = lstm_cell(said + state.h @ weights.recurrent.T, state.c)
        outputs.append(state.h)
    return torch.stack(outputs, dim=1), state.c


@pytest.mark.parity
@settings(max_examples=15, deadline=None)
@given(**SIZES)
def test_it_is_torchs_lstm_with_the_same_state_dict(batch, length, inputs, width, depth, both):
    model, x = make(inputs, width, depth, both), normal(batch, length, inputs)
    reference = nn.LSTM(inputs, width, depth, batch_first=True, bidirectional=both).double()
    reference.load_state_dict(model.state_dict())
    back = make(inputs, width, depth, both)
    back.load_state_dict(reference.state_dict())
    h, c = normal(2, depth * (1 + both), batch, width, seed=2)
    expected, (h_after, c_after) = reference(x, (h, c))
    output = back(x, LstmState(h=h, c=c))
    torch.testing.assert_close(output.outputs, expected)
    torch.testing.assert_close(output.state.h, h_after)
    torch.testing.assert_close(output.state.c, c_after)
    ours, theirs = (
        torch.autograd.grad(y.square().sum() + end.sin().sum(), list(m.parameters()))
        for y, end, m in ((output.outputs, output.state.c, back), (expected, c_after, reference))
    )
    names = [name for name, _ in reference.named_parameters()]
    by_name = dict(zip([name for name, _ in back.named_parameters()], ours, strict=True))
    for name, gradient in zip(names, theirs, strict=True):
        torch.testing.assert_close(by_name[name], gradient)


@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 1024])  # steps one by one, in pieces, all at once
def test_the_gradient_by_hand_is_the_gradient(monkeypatch, forget, rows):
    monkeypatch.setattr(lstm_sweep, "ROWS", rows)
    model, x = make(forget=forget), normal(2, 5, 3).requires_grad_()
    outputs, cell = by_hand(model, x)
    swept = model(x)
    assert outputs.std() > 0.2
    torch.testing.assert_close(swept.outputs, outputs)
    torch.testing.assert_close(swept.state.c[0], cell)
    weights = [x, *model.parameters()]
    for a, b in zip(
        torch.autograd.grad((swept.outputs * normal(2, 5, 5)).sum() + swept.state.c.sum(), weights),
        torch.autograd.grad((outputs * normal(2, 5, 5)).sum() + cell.sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("forget", [True, False])
def test_gradcheck_of_the_sweep(forget):
    gates = 4 if forget else 3
    shapes = ((4, 2, 3), (gates * 2, 3), (gates * 2, 2), (gates * 2,), (2, 2), (2, 2))
    inputs = [normal(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(lstm_sweep.lstm_sweep, inputs)


def test_the_cell_of_1997_keeps_all_and_the_cell_of_2000_forgets():
    """With shut gates for what comes in, a cell without a forget gate never changes."""
    for forget in (True, False):
        model = make(forget=forget)
        with torch.no_grad():
            for p in model.parameters():
                p.zero_()
            model.bias_ih_l0[:5] = -50
        cell = normal(1, 1, 5)
        after = model(normal(1, 40, 3), LstmState(h=torch.zeros_like(cell), c=cell)).state.c
        torch.testing.assert_close(after, cell * 0.5**40 if forget else cell)


@pytest.mark.parametrize("gate", [-50.0, -1.0, 0.0, 50.0])
def test_the_forget_gate_says_how_much_of_the_cell_is_left(gate):
    cell, shut = normal(3, 4), torch.full((3, 4), -50.0, dtype=torch.float64)
    said = torch.cat([shut, torch.full_like(shut, gate), normal(3, 4, seed=2), shut], dim=1)
    share = 1 / (1 + math.exp(-gate))
    torch.testing.assert_close(lstm_cell(said, cell).c, share * cell)


def test_pieces_and_rows_of_a_text_are_the_text():
    model, x = make(depth=2), normal(3, 7, 3)
    whole, first = model(x), model(x[:, :3])
    second = model(x[:, 3:], first.state)
    torch.testing.assert_close(torch.cat([first.outputs, second.outputs], 1), whole.outputs)
    torch.testing.assert_close(torch.cat([model(row[None]).outputs for row in x]), whole.outputs)
    changed = x.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(model(changed).outputs[:, :4], whole.outputs[:, :4])


def test_one_batch_is_learnt_by_heart():
    x, y = normal(4, 12, 3).float(), normal(4, 12, 8, seed=5).float().sigmoid()
    torch.manual_seed(0)
    model = Lstm(RecurrentConfig(inputs=3, width=24))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(200):
        loss = (model(x).outputs[..., :8] - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.2
    assert losses[-1] < 0.02


@pytest.mark.parametrize("name", ["inputs", "width", "depth"])
def test_bad_configs_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Lstm(RecurrentConfig(**{name: 0}))


@pytest.mark.parametrize("gates", [3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_back_is_the_same_by_tensors_and_by_the_loop(gates, dtype):
    squashed_gates, da = normal(2, gates * 5, seed=1).sigmoid().to(dtype), torch.empty(2, gates * 5)
    before, after, dh, dc = normal(4, 2, 5, seed=2).to(dtype).unbind()
    both = []
    for step in (lstm_sweep.step_back, lstm_sweep.step_back_compiled):
        tensors = [squashed_gates, before, after.tanh(), dh, dc.clone(), da.to(dtype)]
        step(*(tensors if step is lstm_sweep.step_back else [t.numpy() for t in tensors]))
        both.append(tensors[4:])
    torch.testing.assert_close(both[0], both[1])
