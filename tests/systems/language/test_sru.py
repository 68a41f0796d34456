import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.language.sru import Sru, SruConfig


def make(**sizes):
    torch.manual_seed(0)
    model = Sru(SruConfig(**{"inputs": 3, "width": 5, **sizes})).double()
    for p in model.parameters():
        p.data.mul_(3)
    return model


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 3), length=st.integers(1, 6), inputs=st.integers(1, 4),
    width=st.integers(1, 5), highway=st.booleans(),
)  # fmt: skip
def test_it_is_the_papers_equations(batch, length, inputs, width, highway):
    model, x = make(inputs=inputs, width=width, highway=highway), normal(batch, length, inputs)
    layer, c, outputs = model.layers[0], torch.zeros(batch, width).double(), []
    for step in x.unbind(1):
        f, r = layer.gates(step).sigmoid().split(width, dim=-1)
        c = f * c + (1 - f) * layer.candidate(step)
        h = r * c.tanh()
        outputs.append(h + (1 - r) * layer.carry(step) if highway else h)
    torch.testing.assert_close(model(x), torch.stack(outputs, dim=1))


def test_the_highway_carries_the_input_through_shut_gates():
    model, x = make(width=3, depth=4), normal(2, 7, 3)
    with torch.no_grad():
        for layer in model.layers:
            layer.gates.weight.zero_()
            layer.gates.bias[3:] = -50
    torch.testing.assert_close(model(x), x)


def test_a_later_input_never_changes_an_earlier_output():
    model, x = make(depth=2), normal(2, 7, 3)
    changed = x.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(model(changed)[:, :4], model(x)[:, :4])
    assert not torch.allclose(model(changed)[:, 4:], model(x)[:, 4:])


def test_one_batch_is_learnt_by_heart():
    x, y = normal(4, 8, 3).float(), normal(4, 8, 8, seed=5).float().tanh()
    torch.manual_seed(0)
    model, head = Sru(SruConfig(inputs=3, width=64, depth=3)), nn.Linear(64, 8)
    optimiser = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=0.01)
    losses = []
    for _ in range(250):
        loss = (head(model(x)) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.3
    assert losses[-1] < 0.05


@pytest.mark.parametrize("name", ["inputs", "width", "depth"])
def test_bad_configs_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        SruConfig(**{name: 0})
