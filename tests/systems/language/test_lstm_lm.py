from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.language.lstm import LstmState
from orrery.systems.language.lstm_lm import LstmLm, LstmLmConfig, of_size


def make(**sizes):
    torch.manual_seed(0)
    model = LstmLm(LstmLmConfig(**{"vocab": 11, "width": 6, "depth": 2, **sizes})).double()
    for p in model.parameters():
        p.data.mul_(3)  # outputs spread over the whole of tanh
    return model


def tokens(batch=3, length=7, vocab=11):
    return torch.randint(vocab, (batch, length), generator=torch.Generator().manual_seed(1))


def by_hand(model, ids):
    """The layers' own `step`, one token at a time."""
    states, out = list(model.start(len(ids))), []
    for t in range(ids.shape[1]):
        x = model.embed(ids[:, t])
        for i, layer in enumerate(model.layers):
            states[i] = layer.step(x, states[i])
            x = states[i].h
        out.append(x @ model.embed.weight.T)
    return torch.stack(out, dim=1)


def test_the_fused_kernel_is_the_equations():
    model, ids = make(), tokens()
    fast, slow = model(ids).logits, by_hand(model, ids)
    assert fast.std() > 0.3
    torch.testing.assert_close(fast, slow)
    after = torch.randn_like(fast)
    for a, b in zip(
        torch.autograd.grad(fast, list(model.parameters()), after),
        torch.autograd.grad(slow, list(model.parameters()), after),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parity
def test_the_layers_are_those_of_torch():
    model, ids = make(), tokens()
    reference = nn.LSTM(6, 6, num_layers=2, batch_first=True).double()
    with torch.no_grad():
        for i, layer in enumerate(model.layers):
            getattr(reference, f"weight_ih_l{i}").copy_(layer.input.weight)
            getattr(reference, f"weight_hh_l{i}").copy_(layer.recurrent.weight)
            getattr(reference, f"bias_ih_l{i}").copy_(layer.input.bias)
            getattr(reference, f"bias_hh_l{i}").zero_()
    expected, (h, c) = reference(model.embed(ids))
    output = model(ids)
    torch.testing.assert_close(output.logits, expected @ model.embed.weight.T)
    torch.testing.assert_close(torch.stack([s.h for s in output.states]), h)
    torch.testing.assert_close(torch.stack([s.c for s in output.states]), c)


@settings(max_examples=10, deadline=None)
@given(
    batch=st.integers(1, 3), length=st.integers(2, 6), width=st.integers(1, 5),
    depth=st.integers(1, 3), cut=st.integers(1, 5),
)  # fmt: skip
def test_a_text_in_two_pieces_is_the_text_in_one(batch, length, width, depth, cut):
    model, ids = make(width=width, depth=depth), tokens(batch, length)
    whole, cut = model(ids).logits, min(cut, length - 1)
    assert whole.shape == (batch, length, 11)
    first = model(ids[:, :cut])
    second = model(ids[:, cut:], first.states)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], dim=1), whole)


def test_a_later_token_never_changes_an_earlier_output():
    model, ids = make(), tokens()
    changed = ids.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 11
    torch.testing.assert_close(model(changed).logits[:, :4], model(ids).logits[:, :4])
    assert not torch.allclose(model(changed).logits[:, 4:], model(ids).logits[:, 4:])


def test_a_batch_is_its_rows():
    model, ids = make(), tokens()
    rows = torch.cat([model(row[None]).logits for row in ids])
    torch.testing.assert_close(model(ids).logits, rows)


def test_an_open_forget_gate_and_a_shut_input_gate_keep_the_cell_for_ever():
    layer = make().layers[0]
    with torch.no_grad():
        layer.recurrent.weight.zero_()
        layer.input.weight.zero_()
        layer.input.bias.copy_(torch.tensor([-50.0, 50.0, 0.0, 0.0]).repeat_interleave(6))
    cell = torch.randn(1, 6, dtype=torch.float64)
    state = LstmState(h=torch.zeros_like(cell), c=cell)
    _, after = layer(torch.randn(1, 500, 6, dtype=torch.float64), state)
    torch.testing.assert_close(after.c, cell)


def test_one_batch_is_learnt_by_heart():
    model, ids = make(width=24), tokens(2, 17)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(120):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.05


@settings(max_examples=20, deadline=None)
@given(parameters=st.integers(200, 50_000), vocab=st.integers(1, 90), depth=st.integers(1, 3))
def test_a_config_can_be_had_by_the_number_of_parameters(parameters, vocab, depth):
    def count(config):
        with torch.device("meta"):
            return sum(p.numel() for p in LstmLm(config).parameters())

    config = of_size(parameters, vocab=vocab, depth=depth)
    assert count(config) <= parameters < count(replace(config, width=config.width + 1))


@pytest.mark.parametrize("name", ["vocab", "width", "depth"])
def test_bad_configs_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        LstmLmConfig(**{name: 0})
