import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from orrery.systems.foundations.lenet import TABLE_I, LeNet, LeNetConfig, class_codes, squash
from tests.systems.foundations.nets import on_meta, one_batch, parameters, shake

FORMS = ("paper", "modern")
forms = pytest.mark.parametrize("form", FORMS)


@pytest.mark.parametrize(
    "wrong", [{"form": "new"}, {"padding": -1}, {"channels": 0}, {"classes": 0}, {"classes": 129}]
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises((ValueError, TypeError), match=name):
        LeNetConfig(**wrong)


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="32 x 32"):
        LeNet(LeNetConfig())(torch.randn(1, 1, 28, 28))


def test_the_paper_has_sixty_thousand_parameters():
    model = on_meta(LeNet, LeNetConfig())
    layers = {name: parameters(part) for name, part in model.named_children()}
    assert layers == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert parameters(model) == 60_000
    assert parameters(on_meta(LeNet, LeNetConfig(form="modern"))) == 61_706


def test_table_i_is_balanced():
    assert [len(seen) for seen in TABLE_I] == [3] * 6 + [4] * 9 + [6]
    assert {sum(which in seen for seen in TABLE_I) for which in range(6)} == {10}


def test_a_map_of_c3_sees_only_what_the_table_says():
    model = shake(LeNet(LeNetConfig()))
    x = torch.randn(1, 6, 14, 14, dtype=torch.float64, requires_grad=True)
    y = model.c3(x)
    for which, seen in enumerate(TABLE_I):
        (gradient,) = torch.autograd.grad(y[0, which].sum(), x, retain_graph=True)
        assert gradient.abs().sum((0, 2, 3)).nonzero().flatten().tolist() == list(seen)


def test_squash_passes_through_one_and_its_slope_at_zero():
    x = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(squash(x), x, atol=1e-4, rtol=0)
    (slope,) = torch.autograd.grad(squash(x).sum(), x)
    assert slope[1] == pytest.approx(1.7159 * 2 / 3)


def test_codes_are_far_apart():
    codes = class_codes(128, torch.zeros(1))
    assert codes.shape == (128, 84)
    differ = (codes[:, None] != codes).sum(-1) + 84 * torch.eye(128, dtype=torch.int64)
    assert differ.min() >= 20
    ten = (codes[:10, None] != codes[:10]).sum(-1)
    assert ten[~torch.eye(10, dtype=torch.bool)].min() >= 36


@pytest.mark.parity
@forms
def test_scores_equal_a_chain_of_functions(form):
    model = shake(LeNet(LeNetConfig(form=form)))
    w = model.state_dict()
    images = torch.randn(3, 1, 32, 32, dtype=torch.float64)
    x = squash(F.conv2d(images, w["c1.weight"], w["c1.bias"]))
    x = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    if form == "paper":
        x = x * w["s2.weight"].view(-1, 1, 1) + w["s2.bias"].view(-1, 1, 1)
        full = torch.zeros(16, 6, 5, 5, dtype=torch.float64)
        for which, seen in enumerate(TABLE_I):
            full[which, list(seen)] = w[f"c3.maps.{which}.weight"][0]
        bias = torch.cat([w[f"c3.maps.{which}.bias"] for which in range(16)])
    else:
        full, bias = w["c3.weight"], w["c3.bias"]
    x = squash(F.conv2d(squash(x), full, bias)).unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    if form == "paper":
        x = x * w["s4.weight"].view(-1, 1, 1) + w["s4.bias"].view(-1, 1, 1)
    x = squash(squash(x).flatten(1) @ w["c5.weight"].flatten(1).T + w["c5.bias"])
    x = squash(x @ w["f6.weight"].T + w["f6.bias"])
    if form == "paper":
        x = -torch.cdist(x, class_codes(10, x)).square()
    else:
        x = x @ w["output.weight"].T + w["output.bias"]
    assert x.std() > 0.3
    torch.testing.assert_close(model(images), x)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(FORMS), st.integers(1, 4), st.integers(1, 3), st.integers(1, 20))
def test_shapes(form, batch, channels, classes):
    model = LeNet(LeNetConfig(form=form, padding=2, channels=channels, classes=classes))
    assert model(torch.randn(batch, channels, 28, 28)).shape == (batch, classes)


@forms
def test_a_batch_is_its_images_one_by_one(form):
    model = shake(LeNet(LeNetConfig(form=form)))
    images = torch.randn(3, 1, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(model(images), torch.cat([model(one[None]) for one in images]))


@forms
def test_a_few_digits_can_be_learned(form):
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels[:64] / 8 - 1).float().view(-1, 1, 8, 8)
    images = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    model = LeNet(LeNetConfig(form=form))
    losses = one_batch(model, images, torch.tensor(labels[:64]), steps=30, rate=0.003)
    assert losses[0] > 2
    assert losses[-1] < 0.2
