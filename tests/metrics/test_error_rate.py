import torch
from torch import nn

from orrery.metrics.error_rate import error_rate


def test_it_is_the_share_of_wrong_answers_whatever_the_batch():
    images = torch.randn(23, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    right = net(images).argmax(1)
    labels = right.clone()
    labels[:5] = (labels[:5] + 1) % 3
    for batch in (1, 7, 500):
        assert abs(error_rate(net, images, labels, batch=batch) - 5 / 23) < 1e-6
    assert error_rate(net, images, right) == 0


def test_it_leaves_no_gradient_behind():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    error_rate(net, torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64))
    assert net[1].weight.grad is None
