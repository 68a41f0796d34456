import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn.stacked import StackedLinear
from orrery.train.muon import QUINTIC, Muon, hidden_matrices, orthogonalise


def matrices(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def polynomial(s, iterations):
    a, b, c = QUINTIC
    for _ in range(iterations):
        s = a * s + b * s**3 + c * s**5
    return s


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 3), y=st.integers(1, 7), x=st.integers(1, 7), k=st.integers(0, 6))
def test_it_is_the_polynomial_of_the_singular_values(n, y, x, k):
    m = matrices(n, y, x, seed=y * 10 + x)
    u, s, v = torch.linalg.svd(m, full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True)
    expected = u @ torch.diag_embed(polynomial(s, k)) @ v
    torch.testing.assert_close(orthogonalise(m, iterations=k), expected)


def test_all_directions_come_out_alike():
    m = matrices(4, 24, 32) * torch.logspace(0, -2, 24, dtype=torch.float64)[:, None]
    before, after = (torch.linalg.svdvals(t) for t in (m, orthogonalise(m)))
    assert (before[:, 0] / before[:, -1]).min() > 30
    assert after.min() > 0.6
    assert after.max() < 1.3


def steps_of(optimiser, weights, gradients):
    for gradient in gradients:
        for w, g in zip(weights, gradient, strict=True):
            w.grad = g.clone()
        optimiser.step()
    return [w.detach().clone() for w in weights]


@pytest.mark.parity
def test_it_steps_like_the_muon_of_torch():
    shapes = [(8, 8), (8, 8), (12, 4), (4, 12)]
    start = [matrices(*s, seed=i).float() for i, s in enumerate(shapes)]
    gradients = [
        [matrices(*s, seed=10 * t + i).float() for i, s in enumerate(shapes)] for t in range(4)
    ]
    options = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
    own = [nn.Parameter(w.clone()) for w in start]
    theirs = [nn.Parameter(w.clone()) for w in start]
    reference = torch.optim.Muon(theirs, adjust_lr_fn="match_rms_adamw", **options)
    ours = steps_of(Muon(own, iterate_in=torch.bfloat16, **options), own, gradients)
    for a, b, before in zip(ours, steps_of(reference, theirs, gradients), start, strict=True):
        # both iterate in bfloat16, in another order: the steps agree to its three digits
        assert (a - b).norm() < 0.03 * (b - before).norm()


@pytest.mark.parity
def test_momentum_and_decay_are_exact_where_the_iteration_is(monkeypatch):
    """With the iteration left out, it is SGD's Nesterov momentum after a decay of the weights."""
    monkeypatch.setattr("orrery.train.muon.orthogonalise", lambda m: m)
    start, gradients = matrices(6, 6), [[matrices(6, 6, seed=t)] for t in range(1, 5)]
    own, theirs = (nn.Parameter(start.clone()) for _ in "ab")
    (ours,) = steps_of(Muon([own], lr=0.01, momentum=0.8, weight_decay=0.5), [own], gradients)
    scale = 0.2 * 6**0.5
    sgd = torch.optim.SGD([theirs], lr=0.01 * scale, momentum=0.8, dampening=0.0, nesterov=True)
    for gradient in gradients:
        with torch.no_grad():
            theirs.mul_(1 - 0.01 * 0.5)
        theirs.grad = 0.2 * gradient[0]  # Muon's momentum is a mean, SGD's a sum
        sgd.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_matrices_that_are_stacked_in_one_parameter_are_stepped_apart():
    joint, gradient = matrices(6, 5), matrices(6, 5, seed=1)
    whole = nn.Parameter(joint.clone())
    parts = [nn.Parameter(p.clone()) for p in joint.split(2)]
    (stepped,) = steps_of(Muon([whole], split=3), [whole], [[gradient]])
    apart = steps_of(Muon(parts), parts, [gradient.split(2)])
    torch.testing.assert_close(stepped, torch.cat(apart))


def test_a_run_that_was_saved_goes_on_the_same():
    gradients = [[matrices(4, 4, seed=t)] for t in range(6)]
    one = nn.Parameter(matrices(4, 4, seed=9))
    two = nn.Parameter(one.detach().clone())
    (straight,) = steps_of(Muon([one]), [one], gradients)
    first = Muon([two])
    steps_of(first, [two], gradients[:3])
    second = Muon([two])
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(steps_of(second, [two], gradients[3:])[0], straight)


def test_hidden_matrices_are_linear_layers_that_share_nothing_with_a_table():
    body, gates, table = nn.Linear(4, 4), StackedLinear(4, 4, 3), nn.Embedding(9, 4)
    head = nn.Linear(4, 9, bias=False)
    head.weight = table.weight
    groups, rest = hidden_matrices(nn.ModuleList([table, body, gates, nn.LayerNorm(4), head]))
    assert [
        (group["params"][0] is weight, group["split"])
        for group, weight in zip(groups, (body.weight, gates.weight), strict=True)
    ] == [(True, 1), (True, 3)]
    assert len(rest) == 5  # the table once, two biases, and the norm's two


@pytest.mark.parametrize(("shape", "split"), [((3,), 1), ((2, 2, 2), 1), ((4, 4), 3)])
def test_what_is_no_matrix_is_refused(shape, split):
    with pytest.raises(ValueError, match=r"params must be matrices .* got shape"):
        Muon([nn.Parameter(torch.zeros(shape))], split=split)
