import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.efficiency.gptq import GptqConfig, gptq, hessian, prepare
from orrery.systems.efficiency.quantisation import BitGrid, rounded

GRIDS = st.builds(
    BitGrid, kind=st.sampled_from(["asymmetric", "symmetric", "ternary", "binary"]),
    bits=st.sampled_from([2, 3, 4]), group=st.sampled_from([None, 3, 4, 6]),
)  # fmt: skip


def layer(rows=5, width=12, samples=40, seed=0):
    """A weight, and inputs that go together."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    inputs = torch.randn(samples, width, generator=generator, dtype=torch.float64)
    return weight, inputs @ mixing


def error(made, weight, inputs):
    return float((inputs @ (made - weight).T).square().mean())


def column_by_column(weight, h, grid, config):
    """The same by the text: an inverse Hessian of the free columns, from which each rounded
    column is taken out again by Gaussian elimination."""
    width = weight.shape[1]
    order = h.diagonal().argsort(descending=True, stable=True) if config.act_order else range(width)
    order = [int(i) for i in order]
    h = h + config.dampening * h.diagonal().mean() * torch.eye(width, dtype=h.dtype)
    inverse, w, made = torch.linalg.inv(h), weight.clone(), torch.zeros_like(weight)
    group = grid.group or width
    free = set(order)
    for place, j in enumerate(order):
        if config.act_order:
            start = j // group * group
            steps = grid.fit(weight[:, start : start + group])
        elif place % group == 0:
            steps = grid.fit(w[:, j : j + group])
        made[:, j] = grid.values(grid.codes(w[:, j : j + 1], steps), steps)[:, 0]
        lost = (w[:, j] - made[:, j]) / inverse[j, j]
        for k in free - {j}:
            w[:, k] -= lost * inverse[j, k]
        free.remove(j)
        inverse = inverse - torch.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return made


@pytest.mark.parity
@settings(max_examples=40, deadline=None)
@given(grid=GRIDS, block=st.sampled_from([1, 2, 5, 128]), act_order=st.booleans(),
       dampening=st.sampled_from([0.01, 0.3]), samples=st.sampled_from([7, 40]),
       seed=st.integers(0, 99))  # fmt: skip
def test_blocks_and_a_factor_do_what_is_done_column_by_column(
    grid, block, act_order, dampening, samples, seed
):
    weight, inputs = layer(samples=samples, seed=seed)
    h = hessian(inputs)
    config = GptqConfig(block=block, act_order=act_order, dampening=dampening)
    made = gptq(weight, prepare(h, config), grid)
    torch.testing.assert_close(made, column_by_column(weight, h, grid, config))


@settings(max_examples=30, deadline=None)
@given(grid=GRIDS, act_order=st.booleans(), seed=st.integers(0, 99))
def test_inputs_that_have_nothing_to_do_with_each_other_leave_plain_rounding(grid, act_order, seed):
    weight, _ = layer(seed=seed)
    for h in (torch.eye(12), torch.diag(torch.arange(1.0, 13.0)), torch.zeros(12, 12)):
        prepared = prepare(h.double(), GptqConfig(act_order=act_order, block=5))
        torch.testing.assert_close(gptq(weight, prepared, grid), rounded(weight, grid))


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("act_order", [False, True])
def test_outputs_are_nearer_than_after_plain_rounding(bits, act_order):
    grid = BitGrid(bits=bits, group=16)
    plain = better = 0.0
    for seed in range(8):
        weight, inputs = layer(16, 32, 200, seed)
        prepared = prepare(hessian(inputs), GptqConfig(act_order=act_order))
        made = error(gptq(weight, prepared, grid), weight, inputs)
        naive = error(rounded(weight, grid), weight, inputs)
        assert made <= naive
        plain, better = plain + naive, better + made
    assert better < 0.7 * plain


def test_the_first_column_is_rounded_as_it_was_and_the_weight_is_left_alone():
    weight, inputs = layer()
    before, grid = weight.clone(), BitGrid(bits=3)
    made = gptq(weight, prepare(hessian(inputs), GptqConfig()), grid)
    assert torch.equal(weight, before)
    torch.testing.assert_close(made[:, 0], rounded(weight, grid)[:, 0])
    assert not torch.allclose(made, rounded(weight, grid))


def test_a_row_is_rounded_the_same_whatever_stands_beside_it():
    weight, inputs = layer()
    prepared, grid = prepare(hessian(inputs), GptqConfig(block=4)), BitGrid(bits=3, group=6)
    alone = torch.cat([gptq(row[None], prepared, grid) for row in weight])
    torch.testing.assert_close(alone, gptq(weight, prepared, grid))


def test_the_hessian_is_that_of_the_mean_squared_error():
    weight, inputs = layer(rows=1)

    def loss(w):
        return (inputs @ (w - weight[0])).square().mean()

    measured = torch.autograd.functional.hessian(loss, torch.zeros(12, dtype=torch.float64))
    torch.testing.assert_close(hessian(inputs), measured)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="dampening must be above 0, got 0"):
        GptqConfig(dampening=0.0)
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        GptqConfig(block=0)
    weight, inputs = layer()
    with pytest.raises(ValueError, match="group must divide the width 12, got 5"):
        gptq(weight, prepare(hessian(inputs), GptqConfig()), BitGrid(group=5))
