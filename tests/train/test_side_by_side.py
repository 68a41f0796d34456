import copy

import torch
import torch.nn.functional as F

from orrery.systems.foundations.optimisers import Momentum
from orrery.train.side_by_side import SideBySide


def batch(step):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(4, 3, generator=generator), torch.randn(4, 2, generator=generator)


def test_each_copy_goes_the_way_it_goes_alone():
    torch.manual_seed(0)
    model, rates = torch.nn.Linear(3, 2), (0.01, 0.1)
    together = SideBySide(model, F.mse_loss, rates, steps=20, lost=1e6)
    optimiser = Momentum(together.groups())
    for step in range(20):
        together.train_step(step, *batch(step), optimiser)
    for index, rate in enumerate(rates):
        alone = copy.deepcopy(model)
        optimiser = Momentum(alone.parameters(), rate)
        for step in range(20):
            x, y = batch(step)
            loss = F.mse_loss(alone(x), y)
            torch.testing.assert_close(together.losses[step, index], loss.detach())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        torch.testing.assert_close(together.models[index].weight, alone.weight)


def test_a_copy_that_diverges_stands_still_and_the_others_go_on():
    torch.manual_seed(0)
    together = SideBySide(torch.nn.Linear(3, 2), F.mse_loss, (0.01, 1e30), steps=40, lost=100.0)
    optimiser = Momentum(together.groups())
    for step in range(40):
        losses = together.train_step(step, *batch(step), optimiser)
        assert losses.isfinite().all()
    assert all(p.isfinite().all() for p in together.parameters())
    assert together.losses[-1, 1] == 100.0
    assert together.losses[-10:, 0].mean() < 4.0


def test_the_losses_are_part_of_the_state():
    one = SideBySide(torch.nn.Linear(3, 2), F.mse_loss, (0.1,), steps=2, lost=1.0)
    assert one.state_dict()["losses"].shape == (2, 1)
    assert [group["lr"] for group in one.groups()] == [0.1]
