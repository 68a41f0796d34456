import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from orrery.systems.foundations.transfer import Frozen, gentle_groups, replace_head


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def net(classes=5, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()),
        nn.Linear(32, classes),
    )


def learn(model, groups, x, y, steps):
    optimiser = torch.optim.SGD(groups, momentum=0.9)
    for step in range(steps):
        chosen = torch.randint(len(x), (32,), generator=stream(step))
        optimiser.zero_grad()
        F.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimiser.step()


def digits():
    """Which digit it is, of the first writers; whether it has a loop, of the others."""
    data = load_digits()
    x, y = torch.from_numpy(data.data).float() / 8 - 1, torch.from_numpy(data.target)
    loop = torch.isin(y, torch.tensor([0, 6, 8, 9])).long()
    return (x[:1_000], y[:1_000]), (x[1_000:], loop[1_000:])


def test_which_digit_it_is_teaches_what_a_loop_is():
    """Twenty examples of the new task: both ways of transfer beat training from scratch."""
    (x, y), (new_x, new_y) = digits()
    source = net(classes=10)
    learn(source, [{"params": source.parameters(), "lr": 0.02}], x, y, 200)
    right = {}
    for way in ("scratch", "frozen", "tuned"):
        model = net(classes=10, seed=1)
        if way != "scratch":
            model.load_state_dict(source.state_dict())
        if way == "frozen":
            model[0] = Frozen(model[0])
        replace_head(model, "1", 2, stream(3))
        factor = 1.0 if way == "scratch" else 0.3
        learn(model, gentle_groups(list(model), 0.01, factor), new_x[:20], new_y[:20], 100)
        right[way] = (model(new_x[20:]).argmax(1) == new_y[20:]).double().mean().item()
    print(right)
    assert min(right["frozen"], right["tuned"]) > right["scratch"] + 0.05


def test_frozen_layers_stay_as_they_are_in_training_too():
    features = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    model = nn.Sequential(Frozen(features), nn.Linear(8, 5))
    model.train()
    before = {name: value.clone() for name, value in features.state_dict().items()}
    x = torch.randn(16, 64)
    torch.testing.assert_close(features(x), model[0](x))  # no dropout, no batch statistics
    learn(model, gentle_groups(list(model), 0.1, 0.5), x, torch.arange(16) % 5, 5)
    torch.testing.assert_close(dict(features.state_dict()), before, rtol=0, atol=0)
    assert not features.training
    assert model[1].training


def test_a_fresh_head_has_the_new_classes_and_the_rest_is_untouched():
    model = net()
    kept = model[0][0].weight.clone()
    head = replace_head(model, "1", 7, stream())
    assert model[1] is head
    assert model(torch.randn(2, 64)).shape == (2, 7)
    assert torch.equal(model[0][0].weight, kept)
    assert head.weight.abs().max() <= 32**-0.5
    again = replace_head(net(), "1", 7, stream())
    assert torch.equal(head.weight, again.weight)
    assert replace_head(nn.Sequential(nn.Linear(4, 2, bias=False)), "0", 3, stream()).bias is None
    inner = net()
    replace_head(inner, "0.2", 9, stream())
    assert inner[0][2].out_features == 9


@pytest.mark.parametrize(("name", "classes"), [("0", 3), ("nowhere", 3), ("1", 0)])
def test_a_head_that_cannot_be_replaced_is_refused(name, classes):
    with pytest.raises(ValueError, match="must be"):
        replace_head(net(), name, classes, stream())


def test_rates_fall_going_down_and_frozen_layers_have_none():
    layers = [nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1), nn.Linear(1, 1)]
    groups = gentle_groups(layers, 1.0, 0.1)
    assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.1, 1.0])
    layers[0].requires_grad_(False)
    assert [group["lr"] for group in gentle_groups(layers, 1.0, 0.1)] == pytest.approx([0.1, 1.0])


@pytest.mark.parametrize(("rate", "factor"), [(0.0, 0.5), (1.0, 0.0), (1.0, 1.5)])
def test_bad_rates_are_refused(rate, factor):
    with pytest.raises(ValueError, match="must be"):
        gentle_groups([nn.Linear(1, 1)], rate, factor)
