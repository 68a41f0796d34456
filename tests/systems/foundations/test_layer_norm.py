import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.foundations.layer_norm import AddNorm, LayerNorm, LayerNormFunction

F64 = torch.float64
SHAPES = [(6,), (5, 6), (2, 3, 6)]


def numbers(shape, seed):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)) * 3 + 2


@pytest.mark.parametrize(("wrong", "says"), [((0,), "width"), ((3, 0.0), "eps")])
def test_a_bad_size_or_constant_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        LayerNorm(*wrong)


@pytest.mark.parity
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_outputs_and_gradients_equal_torchs(shape, eps):
    torch.manual_seed(0)
    theirs = nn.LayerNorm(6, eps=eps)
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    ours = LayerNorm(6, eps)
    ours.load_state_dict(theirs.state_dict())
    found = []
    for layer in (ours.double(), theirs.double()):
        x = numbers(shape, 0).requires_grad_()
        y = layer(x)
        y.backward(numbers(shape, 1))
        found.append((y, x.grad, layer.weight.grad, layer.bias.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_hand_written_gradients_are_right(shape):
    arguments = [numbers(s, i).requires_grad_() for i, s in enumerate([shape, (6,), (6,)])]
    assert torch.autograd.gradcheck(lambda *a: LayerNormFunction.apply(*a, 0.1), arguments)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=3), st.integers(2, 9))
def test_every_token_comes_out_with_mean_zero_and_variance_one(batch, width):
    y = LayerNorm(width, eps=1e-14).double()(numbers((*batch, width), 0))
    assert y.shape == (*batch, width)
    torch.testing.assert_close(y.mean(-1), torch.zeros(batch, dtype=F64))
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(batch, dtype=F64))


def test_tokens_do_not_depend_on_one_another_and_not_on_their_scale():
    layer, x = LayerNorm(6, eps=1e-14).double(), numbers((4, 6), 0)
    torch.testing.assert_close(layer(x), torch.stack([layer(token) for token in x]))
    scale = torch.tensor([[0.1], [1.0], [3.0], [50.0]], dtype=F64)
    torch.testing.assert_close(layer(scale * x - 4), layer(x))


def test_places_are_what_they_say():
    torch.manual_seed(0)
    branch, x = nn.Linear(6, 6).double(), numbers((3, 6), 0)
    norm = nn.functional.layer_norm
    expected = {
        "pre": x + branch(norm(x, (6,))),
        "post": norm(x + branch(x), (6,)),
        "none": x + branch(x),
    }
    for place, value in expected.items():
        torch.testing.assert_close(AddNorm(branch, 6, place).double()(x), value)
    with pytest.raises((ValueError, TypeError)):  # TypeError: the tests' type checks
        AddNorm(branch, 6, "middle")


@pytest.mark.parametrize(("place", "kept"), [("pre", True), ("post", False)])
def test_only_pre_leaves_the_stream_alone(place, kept):
    """With branches that say nothing, pre is the identity, however deep."""
    silent = nn.Linear(6, 6)
    nn.init.zeros_(silent.weight)
    nn.init.zeros_(silent.bias)
    net = nn.Sequential(*(AddNorm(silent, 6, place) for _ in range(20))).double()
    x = numbers((3, 6), 0)
    assert torch.allclose(net(x), x) == kept


def test_at_the_start_the_last_gradient_stays_large_with_post_and_shrinks_with_pre():
    """Xiong et al., theorem 1: the top branch's gradient falls with depth for pre only."""
    sizes = {}
    for place in ("pre", "post"):
        for depth in (2, 32):
            torch.manual_seed(depth)
            net = nn.Sequential(*(AddNorm(nn.Linear(64, 64), 64, place) for _ in range(depth)))
            for block in net:
                nn.init.normal_(block.branch.weight, std=1 / 8)
            final = LayerNorm(64) if place == "pre" else nn.Identity()
            y = final.double()(net.double()((numbers((8, 64), 0) - 2) / 3))
            (y * numbers(y.shape, 1)).sum().backward()
            sizes[place, depth] = net[-1].branch.weight.grad.norm().item()
    assert sizes["pre", 32] < 0.5 * sizes["pre", 2]
    assert sizes["post", 32] > 0.8 * sizes["post", 2]


def test_one_batch_is_learned():
    torch.manual_seed(0)
    blocks = [AddNorm(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), 6, "post") for _ in range(3)]
    net = nn.Sequential(*blocks, nn.Linear(6, 4)).double()
    x, labels = numbers((4, 6), 0), torch.arange(4)
    optimiser = torch.optim.Adam(net.parameters(), 0.1)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.8
    assert losses[-1] < 0.05
