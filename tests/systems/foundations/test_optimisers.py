import copy
import math

import pytest
import torch

from orrery.systems.foundations.optimisers import AdaGrad, Adam, AdamW, Momentum, RmsProp, Sgd

F64 = torch.float64
PAIRS = {
    "sgd": (Sgd, torch.optim.SGD, {"lr": 0.03}),
    "momentum": (Momentum, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "adagrad": (AdaGrad, torch.optim.Adagrad, {"lr": 0.1}),
    "rmsprop": (RmsProp, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.95}),
    "adam": (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-4}),
    "adamw": (AdamW, torch.optim.AdamW, {"lr": 0.01}),
}
rules = pytest.mark.parametrize("rule", PAIRS)


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3), torch.nn.Linear(3, 3)
    ).to(F64)


def train(model, optimiser, first, last):
    """Noisy steps with a changing rate; in every third step the last layer has no gradient."""
    for step in range(first, last):
        for group in optimiser.param_groups:
            group["lr"] = 0.02 / (1 + step % 10)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(4, 5, dtype=F64, generator=generator)
        layers = model[:3] if step % 3 == 2 else model
        optimiser.zero_grad()
        (layers(x) - x[:, :3]).square().mean().backward()
        optimiser.step()


@pytest.mark.parity
@rules
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_hundred_steps_equal_those_of_torch(rule, decay):
    ours, theirs, constants = PAIRS[rule]
    models = network(), network()
    for model, kind in zip(models, (ours, theirs), strict=True):
        train(model, kind(model.parameters(), **constants, weight_decay=decay), 0, 100)
    assert (models[0][0].weight - network()[0].weight).abs().max() > 0.01
    for mine, reference in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-12)


@pytest.mark.parity
@rules
def test_a_run_begun_with_torch_goes_on_here(rule):
    ours, theirs, constants = PAIRS[rule]
    models = network(), network()
    first = theirs(models[0].parameters(), **constants)
    train(models[0], first, 0, 30)
    models[1].load_state_dict(models[0].state_dict())
    second = ours(models[1].parameters(), **constants)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for model, optimiser in zip(models, (first, second), strict=True):
        train(model, optimiser, 30, 60)
    for mine, reference in zip(models[1].parameters(), models[0].parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-12)


@rules
def test_a_state_saved_half_way_gives_the_same_end_and_gradients_are_left_alone(rule):
    kind, _, constants = PAIRS[rule]
    model, again = network(), network()
    optimiser = kind(model.parameters(), **constants, weight_decay=0.1)
    train(model, optimiser, 0, 7)
    again.load_state_dict(model.state_dict())
    resumed = kind(again.parameters(), lr=1.0)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    train(model, optimiser, 7, 15)
    train(again, resumed, 7, 15)
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    optimiser.step()
    resumed.step()
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=0)
    left = [p.grad for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(left, gradients, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Sgd, {"lr": -0.1}),
        (Sgd, {"lr": math.inf}),
        (Momentum, {"momentum": 1.0}),
        (AdaGrad, {"eps": -1.0}),
        (RmsProp, {"alpha": 1.5}),
        (Adam, {"betas": (0.9, 1.0)}),
        (AdamW, {"weight_decay": math.nan}),
    ],
)
def test_a_bad_constant_is_refused(kind, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be .*at least 0"):
        kind([torch.zeros(1, requires_grad=True)], **wrong)


def test_a_closure_is_evaluated_with_gradients():
    x = torch.tensor([3.0], requires_grad=True)
    optimiser = Sgd([x], 0.5)

    def closure():
        optimiser.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss.item()

    assert optimiser.step(closure) == 9.0
    assert x.item() == 0.0


@rules
def test_one_batch_can_be_learned(rule):
    kind, _, _ = PAIRS[rule]
    model = network()
    x = torch.randn(6, 5, dtype=F64)
    rates = {"sgd": 0.3, "momentum": 0.05, "adagrad": 0.1}
    optimiser = kind(model.parameters(), rates.get(rule, 0.02), weight_decay=0.0)
    losses = []
    for _ in range(200):
        loss = (model(x) - x[:, :3]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.02
