import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

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
def test_two_hundred_steps_equal_those_of_torch(rule, decay):
    ours, theirs, constants = PAIRS[rule]
    models = network(), network()
    for model, kind in zip(models, (ours, theirs), strict=True):
        train(model, kind(model.parameters(), **constants, weight_decay=decay), 0, 200)
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


def descend(optimiser, x, curvatures, steps):
    """Minimise sum(curvatures x^2) / 2 and return |x| after every step."""
    sizes = []
    for _ in range(steps):
        x.grad = (curvatures * x).detach()
        optimiser.step()
        sizes.append(x.norm().item())
    return sizes


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 50.0), st.sampled_from([0.95, 1.05]))
def test_sgd_is_stable_below_two_over_the_largest_curvature_only(largest, share):
    x = torch.ones(2, dtype=F64, requires_grad=True)
    curvatures = torch.tensor([largest, largest / 3], dtype=F64)
    sizes = descend(Sgd([x], share * 2 / largest), x, curvatures, 200)
    assert (sizes[-1] < 1e-3) if share < 1 else (sizes[-1] > 1e3)


def steps_to_converge(condition, momentum):
    """Steps to |x| < 1e-6 on curvatures 1 and `condition`, each rule at its best constants."""
    x = torch.ones(2, dtype=F64, requires_grad=True)
    curvatures = torch.tensor([1.0, condition], dtype=F64)
    root = math.sqrt(condition)
    optimiser = (
        Momentum([x], 4 / (root + 1) ** 2, momentum=((root - 1) / (root + 1)) ** 2)
        if momentum
        else Sgd([x], 2 / (condition + 1))
    )
    sizes = descend(optimiser, x, curvatures, 12 * int(condition))
    return next(i for i, size in enumerate(sizes) if size < 1e-6)


def test_momentum_needs_the_root_of_the_condition_number_instead_of_the_number():
    plain = steps_to_converge(400, False) / steps_to_converge(100, False)
    fast = steps_to_converge(400, True) / steps_to_converge(100, True)
    assert plain == pytest.approx(4, rel=0.05)
    assert fast == pytest.approx(2, rel=0.15)


def test_adagrads_rate_only_falls_and_is_larger_for_rare_features():
    x = torch.zeros(2, requires_grad=True)
    optimiser = AdaGrad([x], 0.1)
    rates = []
    for step in range(100):
        x.grad = torch.tensor([1.0, float(step % 25 == 0)])  # the second is seen 4 times in 100
        optimiser.step()
        rates.append(0.1 / (optimiser.state[x]["sum"].sqrt() + 1e-10))
    rates = torch.stack(rates)
    assert (rates[1:] <= rates[:-1]).all()
    assert rates[-1, 1] / rates[-1, 0] == pytest.approx(5)  # root of 100 / 4


def test_rmsprop_follows_a_moving_target_where_adagrad_stalls():
    errors = {}
    for kind in (AdaGrad, RmsProp):
        x = torch.zeros(1, requires_grad=True)
        optimiser = kind([x], 0.1)
        errors[kind] = 0.0
        for step in range(2_000):
            target = 1.0 if step // 250 % 2 == 0 else -1.0
            x.grad = (x - target).detach()
            optimiser.step()
            errors[kind] += abs(x.item() - target) / 1_000 * (step >= 1_000)
    assert errors[RmsProp] < 0.5 * errors[AdaGrad]


def test_adams_scale_is_the_diagonal_of_the_empirical_fisher_not_of_the_fisher():
    """Gradients of single examples at fixed weights; their labels are mostly not the model's."""
    torch.manual_seed(0)
    x, labels = torch.randn(50, 4, dtype=F64), torch.randint(3, (50,))
    w = torch.randn(4, 3, dtype=F64, requires_grad=True)
    optimiser = Adam([w], lr=0.0, betas=(0.9, 0.9999))
    squares = []
    for i in range(50):
        optimiser.zero_grad()
        F.cross_entropy(x[i : i + 1] @ w, labels[i : i + 1]).backward()
        optimiser.step()
        squares.append(w.grad.square())
    average = optimiser.state[w]["exp_avg_sq"] / (1 - 0.9999**50)
    torch.testing.assert_close(average, torch.stack(squares).mean(0), rtol=0.01, atol=0)
    p = F.softmax(x @ w.detach(), 1)
    fisher = torch.einsum("ni,nj->ij", x.square(), p * (1 - p)) / 50  # labels drawn from the model
    assert (average / fisher).log().abs().max() > math.log(2)


@rules
def test_one_batch_can_be_learned(rule):
    kind, _, _ = PAIRS[rule]
    model = network()
    x = torch.randn(6, 5, dtype=F64)
    rates = {"sgd": 0.3, "momentum": 0.05, "adagrad": 0.1}
    optimiser = kind(model.parameters(), rates.get(rule, 0.02), weight_decay=0.0)
    losses = []
    for _ in range(400):
        loss = (model(x) - x[:, :3]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.02
