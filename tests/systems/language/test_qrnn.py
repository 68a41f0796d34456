import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.systems.language.qrnn import Qrnn, QrnnConfig


def make(**sizes):
    torch.manual_seed(0)
    model = Qrnn(QrnnConfig(**{"inputs": 3, "width": 5, **sizes})).double()
    for p in model.parameters():
        p.data.mul_(3)
    return model


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parity
@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 3), length=st.integers(1, 6), inputs=st.integers(1, 4),
    width=st.integers(1, 5), window=st.integers(1, 4), pooling=st.sampled_from(["f", "fo", "ifo"]),
)  # fmt: skip
def test_it_is_the_papers_equations(batch, length, inputs, width, window, pooling):
    """Gates by torch's convolution over the padded past; pooling by a loop."""
    model = make(inputs=inputs, width=width, window=window, pooling=pooling)
    x, layer = normal(batch, length, inputs), model.layers[0].gates
    kernel = layer.weight.unflatten(1, (inputs, window))
    padded = nn.functional.pad(x.transpose(1, 2), (window - 1, 0))
    z, f, *rest = nn.functional.conv1d(padded, kernel, layer.bias).split(width, dim=1)
    c, outputs = torch.zeros(batch, width).double(), []
    for t in range(length):
        keep = f[..., t].sigmoid()
        gain = rest[1][..., t].sigmoid() if pooling == "ifo" else 1 - keep
        c = keep * c + gain * z[..., t].tanh()
        outputs.append(c if pooling == "f" else rest[0][..., t].sigmoid() * c)
    torch.testing.assert_close(model(x), torch.stack(outputs, dim=1))


def test_a_later_input_never_changes_an_earlier_output():
    model, x = make(depth=2, window=3), normal(2, 7, 3)
    changed = x.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(model(changed)[:, :4], model(x)[:, :4])
    assert not torch.allclose(model(changed)[:, 4:], model(x)[:, 4:])


def test_the_state_reaches_further_than_the_windows():
    model, x = make(depth=1, window=2), normal(1, 12, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[0, -1].sum(), x)
    assert (gradient.abs().sum(-1) > 0).all()


def test_one_batch_is_learnt_by_heart():
    x, y = normal(4, 8, 3).float(), normal(4, 8, 8, seed=5).float().tanh()
    torch.manual_seed(0)
    model = Qrnn(QrnnConfig(inputs=3, width=64, window=4, depth=2))
    head = nn.Linear(64, 8)
    optimiser = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=0.01)
    losses = []
    for _ in range(200):
        loss = (head(model(x)) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.3
    assert losses[-1] < 0.03


@pytest.mark.parametrize("name", ["inputs", "width", "depth", "window"])
def test_bad_configs_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        QrnnConfig(**{name: 0})
