import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.residual_connection import (
    ResidualBlock,
    ResidualStack,
    ResidualStackConfig,
    expand_paths,
)

F64 = torch.float64


@pytest.mark.parametrize("name", ["width", "depth"])
def test_a_bad_config_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ResidualStackConfig(**{name: 0})


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_shapes(width, depth, batch, shortcut):
    stack = ResidualStack(ResidualStackConfig(width=width, depth=depth, shortcut=shortcut))
    assert stack(torch.randn(batch, width)).shape == (batch, width)


def test_zero_weights_give_the_identity_at_any_depth():
    stack = ResidualStack(ResidualStackConfig(width=5, depth=100))
    for p in stack.parameters():
        torch.nn.init.zeros_(p)
    x = torch.randn(3, 5, requires_grad=True)
    y = stack(x)
    torch.testing.assert_close(y, x, rtol=0, atol=0)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x), rtol=0, atol=0)


def test_the_jacobian_is_the_identity_plus_that_of_the_branch():
    torch.manual_seed(0)
    block, plain = ResidualBlock(6).double(), ResidualBlock(6, shortcut=False).double()
    plain.load_state_dict(block.state_dict())  # the shortcut has no weights
    x = torch.randn(1, 6, dtype=F64)
    with_shortcut = torch.autograd.functional.jacobian(block, x)[0, :, 0]
    without = torch.autograd.functional.jacobian(plain, x)[0, :, 0]
    torch.testing.assert_close(with_shortcut, torch.eye(6, dtype=F64) + without)
    assert torch.autograd.gradcheck(block, (x.requires_grad_(),))


@pytest.mark.parametrize("depth", [1, 4, 10])
def test_a_linear_stack_is_the_sum_of_its_two_to_the_depth_paths(depth):
    torch.manual_seed(depth)
    weights = torch.randn(depth, 3, 3, dtype=F64) / 2
    paths = expand_paths(weights)
    assert len(paths) == 2**depth
    product = torch.eye(3, dtype=F64)
    for weight in weights:
        product = (torch.eye(3, dtype=F64) + weight) @ product
    torch.testing.assert_close(paths.sum(0), product)
    for number in (0, 1, 2**depth - 1):  # each path by itself: the blocks of the number's set bits
        single = torch.eye(3, dtype=F64)
        for level in range(depth):
            single = weights[level] @ single if number >> level & 1 else single
        torch.testing.assert_close(paths[number], single)


def test_branches_that_undo_the_shortcut_still_make_the_gradient_vanish():
    """The plan says that the identity alone keeps gradients alive: not if F is near -x."""
    product = expand_paths(-0.99 * torch.eye(2, dtype=F64).expand(10, 2, 2)).sum(0)
    torch.testing.assert_close(product, 1e-20 * torch.eye(2, dtype=F64), rtol=1e-3, atol=1e-14)
    assert product.norm() < 1e-13  # 1024 terms of order 1 that cancel


def first_over_last(depth, shortcut):
    """How much of the last block's gradient reaches the first; plain blocks are made to shrink."""
    torch.manual_seed(0)
    stack = ResidualStack(ResidualStackConfig(width=32, depth=depth, shortcut=shortcut)).double()
    for block in stack.blocks:
        block.leave.weight.data /= 1.0 if shortcut else 2.0
    stack(torch.randn(64, 32, dtype=F64)).square().mean().backward()
    norms = [block.leave.weight.grad.norm().item() for block in stack.blocks]
    return norms[0] / norms[-1]


@pytest.mark.parametrize("depth", [4, 16, 64])
def test_gradients_keep_their_size_over_depth_with_shortcuts(depth):
    assert 0.3 < first_over_last(depth, shortcut=True) < 3


def test_gradients_vanish_with_depth_without_shortcuts():
    assert first_over_last(64, shortcut=False) < 1e-6 * first_over_last(4, shortcut=False)


def test_one_batch_can_be_learned():
    torch.manual_seed(0)
    stack = ResidualStack(ResidualStackConfig(width=16, depth=4))
    x, y = torch.randn(8, 16), torch.randn(8, 16)
    optimiser = torch.optim.Adam(stack.parameters(), 5e-3)
    losses = []
    for _ in range(100):
        loss = (stack(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.0
    assert losses[-1] < 0.05
