import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.label_smoothing import (
    best_gap,
    least_loss,
    smooth_targets,
    smoothed_cross_entropy,
)

F64 = torch.float64


@pytest.mark.parity
@pytest.mark.parametrize("amount", [0.0, 0.1, 0.5, 1.0])
def test_losses_and_gradients_equal_torchs(amount):
    torch.manual_seed(0)
    logits = (3 * torch.randn(6, 5, dtype=F64)).requires_grad_()
    labels = torch.randint(5, (6,))
    ours = smoothed_cross_entropy(logits, labels, amount)
    theirs = F.cross_entropy(logits, labels, label_smoothing=amount)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.floats(0, 1))
def test_the_loss_is_the_cross_entropy_with_the_smoothed_targets(n, classes, amount):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, classes, generator=generator)
    labels = torch.randint(classes, (n,), generator=generator)
    targets = smooth_targets(labels, classes, amount)
    torch.testing.assert_close(targets.sum(1), torch.ones(n))
    assert (targets >= 0).all()
    expected = -(targets * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(smoothed_cross_entropy(logits, labels, amount), expected)


@pytest.mark.parametrize(("classes", "amount"), [(2, 0.1), (10, 0.1), (10, 0.6)])
def test_the_best_logits_lie_a_finite_gap_apart_and_reach_the_entropy(classes, amount):
    logits = torch.zeros(1, classes, dtype=F64)
    logits[0, 0] = best_gap(classes, amount)
    logits.requires_grad_()
    loss = smoothed_cross_entropy(logits, torch.tensor([0]), amount)
    assert loss.item() == pytest.approx(least_loss(classes, amount))
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], torch.zeros_like(logits))
    for gap in (0.5, 2.0):
        with torch.no_grad():
            other = smoothed_cross_entropy(gap * logits, torch.tensor([0]), amount)
        assert other > loss


def test_without_smoothing_there_is_no_best_gap_and_no_floor():
    assert best_gap(10, 0.0) == math.inf
    assert least_loss(10, 0.0) == 0
    assert best_gap(10, 1.0) == 0
    assert least_loss(10, 1.0) == pytest.approx(math.log(10))


def test_a_shift_of_all_logits_changes_nothing_and_large_ones_do_not_overflow():
    logits, labels = torch.tensor([[900.0, -900.0]], dtype=F64), torch.tensor([0])
    loss = smoothed_cross_entropy(logits, labels, 0.2)
    assert loss.item() == pytest.approx(0.1 * 1800)
    torch.testing.assert_close(smoothed_cross_entropy(logits - 500, labels, 0.2), loss)


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_an_amount_that_is_no_share_is_refused(amount):
    with pytest.raises(ValueError, match="amount"):
        smoothed_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), amount)
    with pytest.raises(ValueError, match="amount"):
        smooth_targets(torch.tensor([0]), 2, amount)
