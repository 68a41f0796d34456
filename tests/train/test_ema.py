import pytest
import torch
from torch import nn

from orrery.train.ema import Ema


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()


def test_it_is_the_recurrence_written_out():
    net = model()
    ema = Ema(net, decay=0.6)
    expected = net[0].weight.detach().clone()
    for update in range(1, 30):
        with torch.no_grad():
            net[0].weight += torch.randn_like(net[0].weight)
        ema.update(net)
        decay = min(0.6, update / (update + 9))
        expected = decay * expected + (1 - decay) * net[0].weight.detach()
        torch.testing.assert_close(ema.model[0].weight, expected)


def test_statistics_are_copied_and_nothing_is_shared_or_trained():
    net = model()
    ema = Ema(net)
    net(torch.randn(8, 3, dtype=torch.float64))
    ema.update(net)
    assert torch.equal(ema.model[1].running_mean, net[1].running_mean)
    assert ema.model[1].num_batches_tracked == 1
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())
    with torch.no_grad():
        net[0].weight.zero_()
    assert ema.model[0].weight.abs().sum() > 0


def test_a_saved_mean_goes_on_the_same():
    net = model()
    one, two = Ema(net, decay=0.9), Ema(model(), decay=0.9)
    one.update(net)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        net[0].weight.mul_(3)
    one.update(net)
    two.update(net)
    assert two.updates == 2
    torch.testing.assert_close(two.model.state_dict(), one.model.state_dict())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        Ema(model(), decay=decay)
