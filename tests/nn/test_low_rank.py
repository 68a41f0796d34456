import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn.low_rank import (
    LowRank,
    adapter_parameters,
    adapters,
    merge,
    put_on,
    take_off,
)

PARTS = (range(4), range(4, 6), range(7, 9))


def layer(inputs=5, outputs=9, bias=True):
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias).double()


def spread(module):
    """A and B as after training: far from zero."""
    for i, p in enumerate(adapter_parameters(module)):
        nn.init.normal_(p, generator=torch.Generator().manual_seed(i))
    return module


def draws(size=(7, 5)):
    return torch.randn(size, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rank": 0}, "rank must be at least 1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"parts": (range(4), range(3, 6))}, "parts must be rows in order below 9"),
        ({"parts": (range(4), range(6, 10))}, "parts must be rows in order below 9"),
    ],
)
def test_what_is_out_of_range_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        LowRank(layer(), **{"rank": 2, "alpha": 4.0, **changed})


@torch.no_grad()
@settings(max_examples=10, deadline=None)
@given(
    inputs=st.integers(1, 6), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    gap=st.integers(0, 2), rank=st.integers(1, 3), alpha=st.floats(-4, 4), bias=st.booleans(),
)  # fmt: skip
def test_it_is_the_formula_part_by_part(inputs, sizes, gap, rank, alpha, bias):
    parts, end = [], 0
    for size in sizes:
        parts.append(range(end + gap, end + gap + size))
        end += gap + size
    base = layer(inputs, end + gap, bias)
    one = spread(LowRank(base, rank=rank, alpha=alpha, parts=parts))
    x = draws((2, 3, inputs))
    expected = base(x)
    for part, a, b in zip(parts, one.a, one.b, strict=True):
        for row in part:
            for r in range(rank):
                expected[..., row] += alpha / rank * b[row - part.start, r] * (x @ a[r])
    torch.testing.assert_close(one(x), expected)


def test_before_training_it_is_the_base_to_the_last_bit():
    base = layer()
    one = LowRank(base, rank=2, alpha=4.0, parts=PARTS)
    assert torch.equal(one(draws()), base(draws()))
    assert one.a.std() > 0.1  # else nothing could ever learn


def test_a_begins_uniform_within_what_a_linear_layer_has():
    torch.manual_seed(0)
    wide = LowRank(nn.Linear(400, 3), rank=50, alpha=1.0)
    bound = 1 / math.sqrt(400)
    assert wide.a.abs().max() <= bound
    torch.testing.assert_close(wide.a.std().item(), bound / math.sqrt(3), rtol=0.02, atol=0)


def test_the_generator_decides_a():
    def made(seed):
        return LowRank(layer(), rank=2, alpha=1.0, generator=torch.Generator().manual_seed(seed)).a

    assert torch.equal(made(3), made(3))
    assert not torch.equal(made(3), made(4))


def test_gradients_reach_a_and_b_only():
    model = nn.Sequential(layer(), nn.Tanh(), layer(9, 3))
    put_on(model, {"0": PARTS}, rank=2, alpha=4.0)
    spread(model)(draws()).sum().backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {"0.a", "0.b.0", "0.b.1", "0.b.2"}
    assert {n for n, p in model.named_parameters() if p.requires_grad} == learning
    assert all(p.grad.abs().min() > 0 for p in adapter_parameters(model))


def test_gradients_are_the_formula_s():
    one = spread(LowRank(layer(), rank=2, alpha=3.0, parts=PARTS))
    assert torch.autograd.gradcheck(lambda a, *b: one(draws()).square(), (one.a, *one.b))


def test_the_change_has_the_rank():
    one = spread(LowRank(layer(12, 10), rank=3, alpha=1.0))
    assert torch.linalg.matrix_rank(one.change()) == 3
    apart = spread(LowRank(layer(12, 10), rank=3, alpha=1.0, parts=(range(5), range(5, 10))))
    assert [int(torch.linalg.matrix_rank(half)) for half in apart.change().split(5)] == [3, 3]
    assert torch.linalg.matrix_rank(apart.change()) == 6  # independent of each other


@torch.no_grad()
def test_merged_it_gives_the_same_and_taken_off_what_was_before():
    model = nn.Sequential(layer(), nn.Tanh(), layer(9, 3))
    before = model(draws())
    put_on(model, {"0": PARTS, "2": ()}, rank=2, alpha=4.0)
    changed = spread(model)(draws())
    assert (changed - before).abs().max() > 0.1
    assert [name for name, _ in adapters(model)] == ["0", "2"]
    put_back = model[0], model[2]
    take_off(model)
    assert torch.equal(model(draws()), before)
    model[0], model[2] = put_back
    merge(model)
    assert not list(adapters(model))
    torch.testing.assert_close(model(draws()), changed)


def test_parameters_are_counted():
    one = LowRank(layer(), rank=2, alpha=1.0, parts=PARTS)
    assert sum(p.numel() for p in adapter_parameters(one)) == 2 * (3 * 5 + 4 + 2 + 2)


def test_dropout_is_before_a_and_in_training_only():
    one = spread(LowRank(layer(), rank=2, alpha=2.0, dropout=0.5))
    x = draws()
    torch.testing.assert_close(one.eval()(x), one.base(x) + x @ one.change().T)
    torch.manual_seed(5)
    made = one.train()(x)
    torch.manual_seed(5)
    kept = nn.functional.dropout(x, 0.5)
    torch.testing.assert_close(made, one.base(x) + kept @ one.change().T)
    assert not torch.equal(kept, x)


@pytest.mark.parametrize("name", ["1", "absent", ""])
def test_only_linear_layers_get_adapters(name):
    with pytest.raises(ValueError, match="layers must name linear layers of the model"):
        put_on(nn.Sequential(layer(), nn.Tanh()), {name: ()}, rank=1, alpha=1.0)


def test_it_learns_a_change_of_its_rank_and_not_one_above():
    x, target = draws((64, 8)), draws((8, 2)) @ draws((2, 8))  # a change of rank 2
    left = {}
    for rank in (1, 2):
        model = nn.Sequential(layer(8, 8))
        goal = (model(x) + x @ target.T).detach()
        put_on(model, {"0": ()}, rank=rank, alpha=1.0, generator=torch.Generator().manual_seed(0))
        optimiser = torch.optim.LBFGS(
            adapter_parameters(model), max_iter=80, line_search_fn="strong_wolfe"
        )

        def loss(model=model, goal=goal, optimiser=optimiser):
            optimiser.zero_grad()
            error = (model(x) - goal).square().mean()
            error.backward()
            return error

        assert loss() > 1
        optimiser.step(loss)
        left[rank] = loss().item()
    assert left[2] < 1e-3 < 0.05 < left[1]
