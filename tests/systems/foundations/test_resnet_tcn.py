import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.foundations.resnet_tcn import CausalConvolution, Tcn, TcnConfig, TemporalBlock


def positive(model):
    """Weights that cut no path and cancel none, for fields to be seen; others for numbers."""
    for parameter in model.double().parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1.0)
    return model


def spread(model, seed=0):
    torch.manual_seed(seed)
    for parameter in model.double().parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model.eval()


@pytest.mark.parametrize(
    "wrong",
    [{"inputs": 0}, {"outputs": 0}, {"width": 0}, {"depth": 0}, {"kernel": 1}, {"dropout": 1.0}],
)
def test_a_bad_config_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        TcnConfig(**wrong)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5), st.integers(2, 5))
def test_the_field_is_what_the_formula_says(depth, kernel):
    config = TcnConfig(depth=depth, kernel=kernel, width=2)
    assert config.field == 1 + sum(2 * (kernel - 1) * 2**i for i in range(depth))
    model = positive(Tcn(config))
    steps = config.field + 6
    x = torch.zeros(1, 1, steps, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0, 0, -1], x)
    assert (gradient[0, 0] != 0).tolist() == [False] * 6 + [True] * config.field


def test_a_later_step_never_changes_an_earlier_output():
    model = spread(Tcn(TcnConfig(inputs=2, depth=3)))
    x = torch.randn(2, 2, 40, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 25:] += 10
    before, after = model(x), model(changed)
    torch.testing.assert_close(before[:, :, :25], after[:, :, :25], rtol=0, atol=0)
    assert (before[:, :, 25] != after[:, :, 25]).all()


@pytest.mark.parity
def test_a_block_equals_loops_over_steps_and_taps():
    block = spread(TemporalBlock(2, TcnConfig(width=3, kernel=3), dilation=2))
    x = torch.randn(1, 2, 11, dtype=torch.float64)

    def convolve(layer, signal):
        v = layer.convolution.parametrizations.weight.original1
        g = layer.convolution.parametrizations.weight.original0
        weight = g * v / v.square().sum((1, 2), keepdim=True).sqrt()  # weight normalisation
        out = []
        for t in range(signal.shape[2]):
            total = layer.convolution.bias.clone()
            for tap in range(3):
                step = t - 2 * (2 - tap)
                if step >= 0:
                    total = total + weight[:, :, tap] @ signal[0, :, step]
            out.append(total)
        return torch.stack(out, 1)[None]

    y = convolve(block.second, convolve(block.first, x).relu()).relu()
    shortcut = torch.einsum("oi,bit->bot", block.shortcut.weight[:, :, 0], x)
    expected = (shortcut + block.shortcut.bias[:, None] + y).relu()
    assert expected.std() > 0.3
    torch.testing.assert_close(block(x), expected)


def test_a_block_without_its_branch_is_the_identity():
    block = TemporalBlock(4, TcnConfig(width=4), dilation=4)
    torch.nn.init.zeros_(block.second.convolution.parametrizations.weight.original0)
    torch.nn.init.zeros_(block.second.convolution.bias)
    x = torch.rand(2, 4, 9)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_a_stream_in_pieces_is_the_whole():
    model = spread(Tcn(TcnConfig(inputs=2, depth=3, kernel=2, width=4)))
    x = torch.randn(2, 2, 50, dtype=torch.float64)
    past, found = x[:, :, :0], []
    for piece in x.split([1, 1, 7, 20, 2, 19], dim=2):
        out, past = model.stream(past, piece)
        found.append(out)
        assert past.shape[2] < model.config.field
    torch.testing.assert_close(torch.cat(found, 2), model(x))


def test_gradients_are_right():
    layer = spread(CausalConvolution(2, 3, 2, 2))
    x = torch.randn(1, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 30))
def test_shapes(batch, inputs, outputs, steps):
    model = Tcn(TcnConfig(inputs=inputs, outputs=outputs, width=5, depth=2))
    assert model(torch.randn(batch, inputs, steps)).shape == (batch, outputs, steps)


def test_what_lies_outside_the_field_cannot_be_learned_and_what_lies_inside_can():
    """What was the sign six steps ago? To know nothing leaves an error of one, the variance."""
    errors = {}
    for depth in (1, 2):  # fields of 5 and of 13 steps
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        model = Tcn(TcnConfig(width=16, depth=depth))
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        for step in range(81):
            signs = torch.randint(2, (16, 1, 40), generator=generator).float() * 2 - 1
            loss = F.mse_loss(model(signs)[:, :, 6:], signs[:, :, :-6])
            if step == 0:
                assert loss > 0.8
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        errors[depth] = loss.item()
    assert errors[1] > 0.9
    assert errors[2] < 0.1
