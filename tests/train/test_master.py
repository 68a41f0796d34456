from copy import deepcopy

import pytest
import torch
from torch import nn

from orrery.train.master import MasterWeights


def train(model, optimiser, steps, masters=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(16, 8, generator=generator)
        loss = (model(x.to(model.weight.dtype)).float() - x.flip(1)).square().mean()
        model.zero_grad()
        loss.backward()
        if masters is not None:
            masters.take_gradients()
        optimiser.step()
        if masters is not None:
            masters.give_weights()
    return loss.item()


def layer(dtype=torch.float32):
    torch.manual_seed(1)
    return nn.Linear(8, 8).to(dtype)


def test_steps_too_small_for_bfloat16_add_up_in_the_master():
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    masters = MasterWeights(model)
    optimiser = torch.optim.SGD(masters.of(model.parameters()), lr=2.0**-12)
    for _ in range(64):
        model.weight.grad = torch.ones_like(model.weight)
        masters.take_gradients()
        optimiser.step()
        masters.give_weights()
    assert model.weight.dtype == torch.bfloat16
    assert model.weight.item() == 1 - 64 * 2.0**-12
    alone = torch.ones(1, dtype=torch.bfloat16)
    for _ in range(64):
        alone -= 2.0**-12
    assert alone.item() == 1.0  # without a master nothing would have moved


def test_the_weights_are_always_what_the_masters_round_to():
    model = layer()
    masters = MasterWeights(model)
    optimiser = torch.optim.AdamW(masters.of(model.parameters()), lr=0.01)
    train(model, optimiser, 5, masters)
    for weight, master in zip(model.parameters(), masters.of(model.parameters()), strict=True):
        assert master.dtype == torch.float32
        assert torch.equal(weight, master.bfloat16())
        assert weight.grad is None


def test_it_trains_as_far_as_float32_does():
    exact, model = layer(), layer()
    masters = MasterWeights(model)
    full = train(exact, torch.optim.AdamW(exact.parameters(), lr=0.02), 300)
    mixed = train(model, torch.optim.AdamW(masters.of(model.parameters()), lr=0.02), 300, masters)
    assert mixed < full + 0.002


def test_with_a_model_as_exact_as_its_masters_it_changes_nothing():
    plain, model = layer(), layer()
    masters = MasterWeights(model, torch.float32)
    train(plain, torch.optim.SGD(plain.parameters(), lr=0.1), 10)
    train(model, torch.optim.SGD(masters.of(model.parameters()), lr=0.1), 10, masters)
    torch.testing.assert_close(model.state_dict(), plain.state_dict())


def test_a_saved_state_goes_on_the_same():
    runs = []
    for _ in range(2):
        model = layer()
        masters = MasterWeights(model)
        optimiser = torch.optim.AdamW(masters.of(model.parameters()), lr=0.01)
        runs.append((model, masters, optimiser))
    (one, first, adam), (two, second, other) = runs
    train(one, adam, 4, first)
    second.load_state_dict(first.state_dict())
    other.load_state_dict(deepcopy(adam.state_dict()))  # torch would share the moments
    assert torch.equal(two.weight, one.weight)
    assert train(one, adam, 4, first, seed=5) == pytest.approx(train(two, other, 4, second, seed=5))
    assert torch.equal(two.weight, one.weight)
