import pytest
import torch

from orrery.nn.element_recurrence import by_doubling, element_recurrence


def test_it_is_the_loop_and_so_is_its_gradient():
    torch.manual_seed(0)
    f, g = torch.rand(2, 5, 3, 4, dtype=torch.float64).unbind()
    start = torch.randn(3, 4, dtype=torch.float64)
    inputs = [tensor.clone().requires_grad_() for tensor in (f, g, start)]
    c, states = start, []
    for kept, added in zip(f, g, strict=True):
        c = kept * c + added
        states.append(c)
    torch.testing.assert_close(element_recurrence(f, g, start), torch.stack(states))
    assert torch.autograd.gradcheck(element_recurrence, inputs)


@pytest.mark.parametrize("length", [1, 2, 5, 8, 13])
def test_doubling_is_the_same(length):
    torch.manual_seed(1)
    f, g = torch.rand(2, length, 3, 4, dtype=torch.float64).unbind()
    start = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(by_doubling(f, g, start), element_recurrence(f, g, start))
