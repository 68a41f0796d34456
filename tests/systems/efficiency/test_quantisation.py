import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.efficiency.quantisation import (
    BitGrid,
    StraightThrough,
    block_layers,
    keep_rounded,
    round_model,
    rounded,
    train_rounded,
)
from orrery.systems.language.gpt import Gpt, GptConfig

KINDS = ("asymmetric", "symmetric", "ternary", "binary")
GRIDS = st.builds(
    BitGrid, kind=st.sampled_from(KINDS), bits=st.sampled_from([2, 3, 4, 8]),
    group=st.sampled_from([None, 1, 2, 4, 8]),
)  # fmt: skip


def matrix(rows, width, seed=0, shift=0.0):
    return torch.randn(rows, width, generator=rng(seed), dtype=torch.float64) + shift


def rng(seed):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(grid=GRIDS, rows=st.integers(1, 5), count=st.integers(1, 4), seed=st.integers(0, 99),
       shift=st.sampled_from([0.0, 0.7, -3.0]))  # fmt: skip
def test_shape_is_kept_and_values_lie_on_the_grid(grid, rows, count, seed, shift):
    weight = matrix(rows, 8 * count, seed, shift)
    made, steps = rounded(weight, grid), grid.fit(grid.groups(weight))
    assert made.shape == weight.shape
    codes = grid.groups(made) / steps.scale + steps.zero
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-9)
    low = 0 if grid.kind == "asymmetric" else -grid.highest
    assert codes.min() > low - 0.1
    assert codes.max() < grid.highest + 0.1
    if grid.kind == "binary":
        assert not (codes.round() == 0).any()


@settings(max_examples=40, deadline=None)
@given(bits=st.sampled_from([2, 3, 4, 8]), kind=st.sampled_from(KINDS[:2]),
       group=st.sampled_from([None, 2, 4, 16]), seed=st.integers(0, 999),
       shift=st.sampled_from([0.0, 0.7, -3.0]))  # fmt: skip
def test_no_weight_moves_by_more_than_half_a_step(bits, kind, group, seed, shift):
    grid, weight = BitGrid(kind=kind, bits=bits, group=group), matrix(3, 16, seed, shift)
    steps = grid.fit(grid.groups(weight))
    moved = (grid.groups(rounded(weight, grid) - weight)).abs()
    assert (moved <= steps.scale * (0.5 + 1e-9)).all()
    assert torch.equal(rounded(0 * weight, grid), 0 * weight)


@settings(max_examples=40, deadline=None)
@given(grid=GRIDS, seed=st.integers(0, 99))
def test_rounded_weights_round_to_themselves_and_scale_with_their_input(grid, seed):
    weight = matrix(3, 16, seed)
    once = rounded(weight, grid)
    torch.testing.assert_close(rounded(8 * weight, grid), 8 * once)
    if grid.kind != "ternary":  # there the zeros shrink the mean, and with it the step
        torch.testing.assert_close(rounded(once, grid), once)
    else:
        assert torch.equal(rounded(once, grid).sign(), once.sign())


@pytest.mark.parametrize(("bits", "count"), [(2, 4), (3, 8), (4, 16), (8, 256)])
def test_a_grid_has_as_many_values_as_its_bits_allow(bits, count):
    weight = torch.linspace(-1.3, 2.0, 4001, dtype=torch.float64)[None]
    assert len(rounded(weight, BitGrid(bits=bits)).unique()) == count
    assert len(rounded(weight, BitGrid(kind="symmetric", bits=bits)).unique()) <= count - 1
    both = rounded(torch.cat([weight, -weight], 1), BitGrid(kind="symmetric", bits=bits)).unique()
    assert len(both) == count - 1
    assert torch.allclose(both, -both.flip(0))


def test_by_hand():
    weight = torch.tensor([[0.5, -1.0, 0.0, 0.1], [2.0, 2.0, -6.0, 1.0]], dtype=torch.float64)
    ternary = rounded(weight, BitGrid(kind="ternary"))
    expected = [[0.4, -0.4, 0.0, 0.0], [2.75, 2.75, -2.75, 0.0]]
    torch.testing.assert_close(ternary, torch.tensor(expected, dtype=torch.float64))
    binary = rounded(weight, BitGrid(kind="binary", group=2))
    expected = [[0.75, -0.75, 0.05, 0.05], [2.0, 2.0, -3.5, 3.5]]
    torch.testing.assert_close(binary, torch.tensor(expected, dtype=torch.float64))
    four = rounded(weight[1:], BitGrid(bits=2))  # steps of 8/3 from -5.33 to 2.67
    torch.testing.assert_close(four * 3 / 8, torch.tensor([[1, 1, -2, 0]], dtype=torch.float64))


def test_the_best_binary_scale_is_the_mean_size():
    weight = matrix(1, 50)
    best = rounded(weight, BitGrid(kind="binary"))
    for factor in (0.9, 1.1):
        assert (weight - best).norm() < (weight - factor * best).norm()


def test_groups_do_not_know_of_each_other():
    weight, grid = matrix(2, 16), BitGrid(bits=3, group=4)
    changed = weight.clone()
    changed[:, :4] *= 100
    for one, same in ((grid, True), (BitGrid(bits=3), False)):
        made = rounded(changed, one)[:, 4:]
        assert torch.equal(made, rounded(weight, one)[:, 4:]) == same


def test_smaller_groups_and_more_bits_cost_bits_and_spare_error():
    weight = matrix(16, 64)
    grids = [BitGrid(bits=b, group=g) for b in (2, 3, 4) for g in (None, 16, 4)]
    errors = [float((rounded(weight, grid) - weight).norm()) for grid in grids]
    assert errors == sorted(errors, reverse=True)
    assert BitGrid(bits=4, group=32).bits_per_weight(64) == 4 + 20 / 32
    assert BitGrid(kind="symmetric", bits=8).bits_per_weight(64) == 8 + 16 / 64
    assert BitGrid(kind="ternary", group=16).bits_per_weight(64) == pytest.approx(
        1.585 + 1, abs=1e-3
    )
    assert BitGrid(kind="binary", group=16).bits_per_weight(64) == 2


def test_the_gradient_goes_straight_through():
    weight = matrix(3, 8).requires_grad_()
    factors = matrix(3, 8, seed=1)
    made = StraightThrough.apply(weight, BitGrid(kind="ternary"))
    assert torch.equal(made, rounded(weight.detach(), BitGrid(kind="ternary")))
    (made * factors).sum().backward()
    assert torch.equal(weight.grad, factors)


def test_training_with_three_values_learns_what_rounding_to_them_loses():
    torch.manual_seed(0)
    x = torch.randn(256, 8, generator=rng(1))
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
    grid, lost = BitGrid(kind="ternary"), {}

    def fit(net):
        optimiser = torch.optim.Adam(net.parameters())
        for step in range(150):
            optimiser.param_groups[0]["lr"] = 0.03 * (1 - step / 150)
            loss = (net(x) - y).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float(loss.detach())

    for arm in ("rounded after", "trained"):
        net = nn.ModuleList([nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))])
        if arm == "trained":
            train_rounded(net, grid)
        lost[f"{arm}/before"] = fit(net[0])
        keep_rounded(net)
        round_model(net, grid)
        lost[arm] = float((net[0](x) - y).square().mean().detach())
    assert lost["rounded after/before"] < 0.1 < 0.5 * lost["rounded after"]
    assert lost["trained"] < 0.5 * lost["rounded after"]


def test_only_the_layers_of_the_blocks_are_rounded():
    model = Gpt(GptConfig(vocab=11, context=8, depth=2, heads=2, width=16))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    round_model(model, BitGrid(kind="binary"))
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {f"{name}.weight" for name in block_layers(model)}
    assert len(changed) == 8
    assert not any("embed" in name for name in changed)


def test_what_training_leaves_are_rounded_weights():
    layer, grid = nn.Linear(8, 4), BitGrid(kind="ternary", group=4)
    net = nn.ModuleList([nn.Sequential(layer)])
    hidden = layer.weight.detach().clone()
    train_rounded(net, grid)
    assert torch.equal(layer.weight, rounded(hidden, grid))
    keep_rounded(net)
    assert torch.equal(layer.weight, rounded(hidden, grid))
    assert isinstance(layer.weight, nn.Parameter)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"bits": 1}, r"bits must be in \[2, 8\], got 1"),
     ({"bits": 9}, r"bits must be in \[2, 8\], got 9"),
     ({"group": 0}, "group must be at least 1, got 0")],
)  # fmt: skip
def test_bad_grids_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        BitGrid(**bad)
    with pytest.raises(ValueError, match="group must divide the width 10, got 4"):
        rounded(matrix(2, 10), BitGrid(group=4))
