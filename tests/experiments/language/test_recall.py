import pytest
import torch

from orrery.experiments.language._clock import seconds
from orrery.experiments.language._recall import GUESSING, adding, copying, reach, reader


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("length", [8, 20, 60])
def test_the_adding_problem_marks_one_early_and_one_late_number(length):
    x, y = adding(length, 4_000, rng())
    numbers, marks = x.unbind(-1)
    torch.testing.assert_close((numbers * marks).sum(1), y)
    assert (marks.sum(1) == 2).all()
    first, second = marks.nonzero()[:, 1].reshape(-1, 2).unbind(1)
    assert first.max() < max(1, length // 10)
    assert second.min() == length // 2
    assert second.max() == length - 1
    assert abs(float((y - 1).square().mean()) / GUESSING - 1) < 0.1


def test_lists_are_copied_from_a_start():
    read, target, after = copying(5, 100, 8, rng())
    assert torch.equal(read, after)
    assert torch.equal(target[:, 1:], read[:, :-1])
    assert (target[:, 0] == 1).all()
    assert sorted(read.unique().tolist()) == list(range(2, 10))


def test_reach_is_one_for_a_sum_and_small_for_a_network_that_forgets():
    x, _ = adding(20, 32, rng())
    assert reach(lambda x: (x[..., 0] * x[..., 1]).sum(1), x) == pytest.approx(1)
    fading = 0.5 ** torch.arange(19.0, -1, -1)
    assert reach(lambda x: (x[..., 0] * x[..., 1] * fading).sum(1), x) < 0.01


@pytest.mark.parametrize("arm", ["lstm", "lstm_1997"])
def test_without_a_highway_the_cell_has_no_path_into_the_past(arm):
    torch.manual_seed(0)
    for highway in (True, False):
        network = reader(arm, 6, highway=highway).network
        with torch.no_grad():
            network.weight_hh_l0.zero_()  # what goes by way of the outputs is cut
        x = torch.randn(1, 5, 2, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x).outputs[0, -1].sum(), x)
        assert (gradient[0, :-1].abs().sum() > 0) == highway


def test_the_clock_takes_the_least_of_several_times():
    calls = []
    found = seconds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert set(found) == {"a-seconds", "b-seconds"}
    assert min(found.values()) > 0
