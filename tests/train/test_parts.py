import pytest
import torch
from torch import nn

from orrery.train.parts import Parts


def test_no_thread_is_refused():
    with pytest.raises(ValueError, match="threads must be at least 1"):
        Parts(0)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_parts_are_all_rows_in_order(threads, rows):
    seen = Parts(threads).each(rows, lambda part: list(range(rows))[part])
    assert [row for part in seen for row in part] == list(range(rows))
    assert len(seen) == min(threads, rows)


def test_within_a_part_torch_has_one_thread_and_gradients_are_as_outside():
    before = torch.get_num_threads()
    with torch.no_grad():
        inside = Parts(2).each(2, lambda part: (torch.get_num_threads(), torch.is_grad_enabled()))
    assert inside == [(1, False)] * 2
    assert torch.get_num_threads() == before
    assert Parts(2).each(2, lambda part: torch.is_grad_enabled()) == [True, True]


def test_an_error_in_a_part_comes_out_and_threads_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        Parts(2).each(4, lambda part: 1 // part.start)
    assert torch.get_num_threads() == before


def test_gradients_lie_in_memory_as_the_parameters_do():
    # a fused optimiser walks through both in the order of memory
    layer = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    x = torch.randn(4, 2, 5, 5)
    Parts(2).backward(4, lambda part: layer(x[part]).square().mean(), list(layer.parameters()))
    assert layer.weight.grad.stride() == layer.weight.stride()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_gradients_are_those_of_the_whole_batch(threads):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x, y = torch.randn(7, 3).double(), torch.randn(7, 1).double()
    parameters = list(model.parameters())

    def loss(part):
        return (model(x[part]) - y[part]).square().mean()

    expected = torch.autograd.grad(loss(slice(None)), parameters)
    found = Parts(threads).backward(7, loss, parameters)
    torch.testing.assert_close(found, loss(slice(None)).detach())
    torch.testing.assert_close(tuple(p.grad for p in parameters), expected)
    again = [p.grad.clone() for p in parameters]
    Parts(threads).backward(7, loss, parameters)
    torch.testing.assert_close([p.grad for p in parameters], again, rtol=0, atol=0)
