import pytest
import torch
from torch import nn

from orrery.train.filter_muon import FilterMuon


def filters(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def step(optimiser, weight, gradient):
    weight.grad = gradient.clone()
    optimiser.step()
    return weight.detach().clone()


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="params must be filter banks, got shape"):
        FilterMuon([nn.Parameter(torch.zeros(3))])


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (6, 40), (12, 2, 2, 2)])
def test_two_steps_are_momentum_through_the_singular_vectors(shape):
    weight = nn.Parameter(5 * filters(*shape))
    g1, g2 = filters(*shape, seed=1), filters(*shape, seed=2)
    optimiser = FilterMuon([weight], lr=0.1, momentum=0.6)
    expected = weight.detach().clone()
    buffer = torch.zeros_like(expected)
    for g in (g1, g2):
        buffer = 0.6 * buffer + g
        u, _, v = torch.linalg.svd((g + 0.6 * buffer).flatten(1), full_matrices=False)
        expected *= shape[0] ** 0.5 / expected.norm()
        before, after = expected, step(optimiser, weight, g)
        turn = ((before - after) / 0.1).flatten(1)
        values = torch.linalg.svdvals(turn)
        rank = min(turn.shape)
        assert values[:rank].min() > 0.6
        assert values.max() < 1.3
        # the same singular vectors: in their frame the turn is diagonal
        inside = u.mT @ turn @ v.mT
        torch.testing.assert_close(inside, inside.diag().diag())
        expected = after


def test_the_size_of_gradient_and_weight_does_not_matter():
    results = []
    for size in (1e-3, 1.0, 1e3):
        weight = nn.Parameter(size * filters(8, 4, 3, 3))
        optimiser = FilterMuon([weight], lr=0.2)
        results.append(step(optimiser, weight, size * filters(8, 4, 3, 3, seed=1)))
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[2], results[1])


def test_it_iterates_in_the_type_it_is_told():
    exact, rounded = (nn.Parameter(filters(8, 4, 3, 3).float()) for _ in range(2))
    gradient = filters(8, 4, 3, 3, seed=1).float()
    a = step(FilterMuon([exact], lr=0.2), exact, gradient)
    b = step(FilterMuon([rounded], lr=0.2, iterate_in=torch.bfloat16), rounded, gradient)
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, rtol=0.0, atol=0.01)


def test_what_has_no_gradient_stays():
    weight = nn.Parameter(filters(4, 4))
    before = weight.detach().clone()
    optimiser = FilterMuon([weight])
    assert optimiser.step(lambda: 3.0) == 3.0
    torch.testing.assert_close(weight.detach(), before)
