import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.sawtooth import (
    PiecewiseLinear,
    deep_sawtooth,
    most_pieces,
    pieces,
    sawtooth,
    shallow_sawtooth,
)

F64 = torch.float64
GRID = torch.linspace(0, 1, 2**12 + 1, dtype=F64)
folds = pytest.mark.parametrize("k", range(1, 8))


def values(net):
    return net.double()(GRID[:, None])[:, 0].detach()


@folds
def test_both_constructions_are_the_sawtooth(k):
    exact = sawtooth(GRID, k)
    torch.testing.assert_close(values(deep_sawtooth(k)), exact)
    torch.testing.assert_close(values(shallow_sawtooth(k)), exact)
    assert exact.std() > 0.2


@folds
def test_the_deep_one_has_two_units_a_fold_and_the_shallow_one_twice_as_many_each_time(k):
    assert deep_sawtooth(k).units == 2 * k
    assert shallow_sawtooth(k).units == 2**k


@folds
def test_the_sawtooth_is_the_tent_folded_so_often(k):
    folded = GRID
    for _ in range(k):
        folded = torch.minimum(2 * folded, 2 - 2 * folded)
    torch.testing.assert_close(sawtooth(GRID, k), folded)
    corners = torch.arange(2**k + 1, dtype=F64) / 2**k
    torch.testing.assert_close(sawtooth(corners, k), torch.arange(2**k + 1, dtype=F64) % 2)
    assert pieces(folded) == 2**k
    assert int((folded.diff().diff() < -1e-9).sum()) == 2 ** (k - 1)  # teeth


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=3), st.integers(0, 99))
def test_no_net_has_more_pieces_than_its_widths_allow(widths, seed):
    torch.manual_seed(seed)
    net = PiecewiseLinear(tuple(widths))
    assert net.units == sum(widths)
    x = torch.linspace(-3, 3, 20_001, dtype=F64)
    found = pieces(net.double()(x[:, None])[:, 0].detach(), tolerance=1e-9)
    assert found <= most_pieces(tuple(widths))


def test_pieces_are_counted_whether_or_not_a_corner_is_on_the_grid():
    for corner in (0.5, 0.50003, 0.31):
        assert pieces((GRID - corner).abs()) == 2
    assert pieces(3 * GRID + 1) == 1
    assert pieces((GRID - 0.2).abs() + (GRID - 0.7).relu()) == 3


def test_a_shallow_net_needs_a_unit_for_every_piece_but_the_line_through_zero():
    assert most_pieces((2,) * 6) == 3**6
    assert most_pieces((63,)) == 64  # so 2^6 pieces take 63 bends and one slope at 0
    assert pieces(values(shallow_sawtooth(6))) == 64


def test_a_line_is_the_best_that_a_net_without_hidden_layers_can_do():
    net = PiecewiseLinear(())
    assert net.units == 0
    assert pieces(values(net)) == 1


@pytest.mark.parametrize("make", [deep_sawtooth, shallow_sawtooth, lambda k: sawtooth(GRID, k)])
def test_no_fold_is_refused(make):
    with pytest.raises(ValueError, match="folds"):
        make(0)


def test_a_width_below_one_is_refused():
    with pytest.raises(ValueError, match="widths"):
        PiecewiseLinear((3, 0))
