import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.optimisers import AdaGrad, Adam, AdamW, Momentum, RmsProp, Sgd

F64 = torch.float64


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
    sizes = descend(optimiser, x, curvatures, int(12 * (root if momentum else condition)))
    return next((i for i, size in enumerate(sizes) if size < 1e-6), math.inf)


def test_momentum_needs_the_root_of_the_condition_number_instead_of_the_number():
    plain = steps_to_converge(256, False) / steps_to_converge(64, False)
    fast = steps_to_converge(256, True) / steps_to_converge(64, True)
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


def test_adam_can_go_the_wrong_way_on_a_convex_problem():
    """Reddi, Kale, Kumar 2018, arXiv:1904.09237, section 3: the best point of [-1, 1] is -1."""
    ends = {}
    for kind, constants in ((Adam, {"betas": (0.0, 1 / (1 + 4.0**2))}), (Sgd, {})):
        x = torch.tensor([0.0], requires_grad=True)
        optimiser = kind([x], lr=0.1, **constants)
        for step in range(1_500):
            optimiser.param_groups[0]["lr"] = 0.1 / math.sqrt(1 + step)
            x.grad = torch.tensor([4.0 if step % 3 == 0 else -1.0])  # on average 2 / 3
            optimiser.step()
            x.data.clamp_(-1, 1)
        ends[kind] = x.item()
    assert ends[Adam] > 0.9
    assert ends[Sgd] < -0.9


def test_adamw_decays_all_weights_alike_where_adam_spares_those_of_large_gradients():
    shrunk = {}
    for kind in (Adam, AdamW):
        x = torch.ones(2, dtype=F64, requires_grad=True)
        optimiser = kind([x], lr=1e-3, weight_decay=0.5)
        for step in range(200):
            sign = 1.0 if step % 2 else -1.0  # gradients that cancel: decay alone moves x
            x.grad = sign * torch.tensor([0.1, 10.0], dtype=F64)
            optimiser.step()
        shrunk[kind] = 1 - x.detach()
    assert shrunk[AdamW][0] == pytest.approx(shrunk[AdamW][1].item(), rel=1e-3)
    assert shrunk[Adam][0] > 10 * shrunk[Adam][1]
