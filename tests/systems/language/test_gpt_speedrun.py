import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.systems.language.gpt_speedrun import SpeedrunConfig, SpeedrunGpt
from orrery.train.muon import Muon, hidden_matrices

SIZES = {"vocab": 11, "context": 8, "depth": 2, "heads": 2, "width": 12}


def make(**changes):
    torch.manual_seed(0)
    model = SpeedrunGpt(SpeedrunConfig(**{**SIZES, **changes})).double().requires_grad_(False)
    for p in model.parameters():  # nothing may stay at zero, or it could be anything
        p.add_(torch.randn_like(p) * (0.7 if p.ndim == 2 and p.shape[0] != 2 else 0.4))
    return model


def tokens(batch=3, length=8):
    return torch.randint(11, (batch, length), generator=torch.Generator().manual_seed(1))


def rms(x):
    return x / (x.square().mean() + torch.finfo(torch.float64).eps).sqrt()


def one_by_one(model, ids):
    """The scores after the last token of one row, from the docstring, a vector at a time."""
    config, embed = model.config, model.embed.weight
    heads, size = config.heads, config.width // config.heads
    stream = []
    for t, token in enumerate(ids):
        x = embed[token].clone()
        for back in (1, 2):
            if t >= back:
                x += model.before[back - 1] * embed[ids[t - back]]
        stream.append(rms(x))
    for block in model.blocks:
        made = [(block.attention.qkv.weight @ rms(x)).view(3, heads, size) for x in stream]
        mixed = []
        for t in range(len(ids)):
            out = []
            for h in range(heads):
                q = turn(rms(made[t][0, h]), t)
                scores = [q @ turn(rms(made[s][1, h]), s) / math.sqrt(size) for s in range(t + 1)]
                weights = torch.stack(scores).softmax(dim=0)
                out.append(sum(weights[s] * made[s][2, h] for s in range(t + 1)))
            mixed.append(block.attention.out.weight @ torch.cat(out))
        stream = [x + y for x, y in zip(stream, mixed, strict=True)]
        layer = block.feed_forward
        stream = [
            x + layer.down.weight @ (layer.up.weight @ rms(x)).clamp_min(0) ** 2 for x in stream
        ]
    return model.head.weight @ (model.gain * rms(stream[-1]))


def turn(x, place):
    half = len(x) // 2
    theta = 10_000.0 ** (-torch.arange(half) / half)  # float32, as in the model
    angle = (place * theta).double()
    a, b = x[:half], x[half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()])


@pytest.mark.parity
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_it_is_the_docstring_written_with_vectors_and_loops(length):
    model, ids = make(), tokens(1, length)
    logits = model(ids)[0, -1]
    assert logits.std() > 0.5
    torch.testing.assert_close(logits, one_by_one(model, ids[0]), rtol=1e-6, atol=1e-6)


def test_it_starts_out_taking_all_tokens_for_equally_likely():
    torch.manual_seed(0)
    model = SpeedrunGpt(SpeedrunConfig(**SIZES))
    loss = model.loss(tokens(), tokens()).item()
    assert loss == pytest.approx(math.log(11), rel=1e-6)


def test_changing_a_later_token_leaves_earlier_outputs_the_same_to_the_last_bit():
    model, ids = make(), tokens()
    for position in range(1, 8):
        changed = ids.clone()
        changed[:, position] = (changed[:, position] + 1) % 11
        before, after = model(ids), model(changed)
        assert torch.equal(after[:, :position], before[:, :position])
        assert not torch.allclose(after[:, position:], before[:, position:])


@settings(max_examples=10, deadline=None)
@given(batch=st.integers(1, 3), length=st.integers(1, 8), heads=st.integers(1, 3))
def test_a_batch_is_its_rows(batch, length, heads):
    model, ids = make(heads=heads), tokens(batch, length)
    whole = model(ids)
    assert whole.shape == (batch, length, 11)
    torch.testing.assert_close(whole, torch.cat([model(row[None]) for row in ids]))


def test_muon_teaches_it_one_batch_by_heart_in_few_steps():
    torch.manual_seed(0)
    model, ids = SpeedrunGpt(SpeedrunConfig(**{**SIZES, "context": 16, "width": 24})), tokens(4, 17)
    matrices, rest = hidden_matrices(model)
    optimisers = [Muon(matrices, lr=0.02), torch.optim.AdamW(rest, lr=0.02)]
    losses = []
    for _ in range(60):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.3
    assert losses[-1] < 0.1


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in SIZES]
    + [({"heads": 4}, "width must be a multiple of twice heads=4, got 12")],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        SpeedrunConfig(**{**SIZES, **bad})


def test_a_sequence_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="at most context=8 long, got 9"):
        make()(tokens(1, 9))
