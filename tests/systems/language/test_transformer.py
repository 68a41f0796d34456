import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn.key_value_cache import KeyValueCache
from orrery.nn.sinusoidal import sinusoids
from orrery.systems.language.transformer import Transformer, TransformerConfig, noam

SIZES = {"vocab": 13, "depth": 2, "heads": 2, "width": 8, "inner": 12, "dropout": 0.0}


def make(**changes):
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(**{**SIZES, **changes})).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * (0.5 if p.ndim == 2 else 0.3) + (p.ndim == 1))
    return model.eval()


def texts(seed=1, length=7, batch=2):
    """Tokens from 1 on: 0 is padding."""
    return 1 + torch.randint(12, (batch, length), generator=torch.Generator().manual_seed(seed))


def copy(ours, theirs):
    """Our layer's weights into torch's."""
    pairs = [(ours.attention, theirs.self_attn)]
    norms = [ours.norm_attention, ours.norm_feed_forward]
    if hasattr(ours, "across"):
        pairs.append((ours.across, theirs.multihead_attn))
        norms.insert(1, ours.norm_across)
    for own, their in pairs:
        their.in_proj_weight.copy_(own.qkv.weight)
        their.in_proj_bias.copy_(own.qkv.bias)
        their.out_proj.load_state_dict(own.out.state_dict())
    for i, norm in enumerate(norms, 1):
        getattr(theirs, f"norm{i}").load_state_dict(norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.up.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.down.state_dict())


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@settings(max_examples=8, deadline=None)
@given(depth=st.integers(1, 3), heads=st.sampled_from([1, 2, 4]), inner=st.integers(1, 9))
def test_it_is_torchs_transformer(depth, heads, inner):
    model = make(depth=depth, heads=heads, inner=inner)
    theirs = nn.Transformer(
        8, heads, depth, depth, inner, 0.0, batch_first=True, dtype=torch.float64
    )
    theirs.encoder.norm = theirs.decoder.norm = None  # the paper has no norm after the last layer
    with torch.no_grad():
        for own, their in zip(model.encoder, theirs.encoder.layers, strict=True):
            copy(own, their)
        for own, their in zip(model.decoder, theirs.decoder.layers, strict=True):
            copy(own, their)
    source, target = texts(), texts(2, 5)
    source[0, 5:] = 0
    table = model.embed.weight
    s, t = (table[x] * math.sqrt(8) + sinusoids(x.shape[1], 8) for x in (source, target))
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
    out = theirs.train()(s, t, tgt_mask=hidden, src_key_padding_mask=source == 0,
                         memory_key_padding_mask=source == 0)  # fmt: skip
    torch.testing.assert_close(model(source, target).logits, out @ table.T)


def test_the_base_model_has_the_size_the_paper_gives():
    with torch.device("meta"):
        model = Transformer(TransformerConfig())
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) in range(62, 66)  # "65 million"


def test_a_later_token_of_the_target_changes_nothing_before_it_and_padding_nothing_at_all():
    model, source, target = make(), texts(), texts(2)
    before = model(source, target).logits
    target[:, 4] = 1 + target[:, 4] % 12
    after = model(source, target).logits
    assert torch.equal(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])
    longer = torch.cat([source, torch.zeros_like(source)], dim=1)
    torch.testing.assert_close(model(longer, target).logits, after)


def test_the_order_of_the_source_is_seen():
    model, source, target = make(), texts(), texts(2)
    assert not torch.allclose(model(source.flip(1), target).logits, model(source, target).logits)


def test_the_caches_change_nothing():
    model, source, target = make(), texts(), texts(2)
    memory, own, across = model.encode(source), KeyValueCache(), KeyValueCache()
    parts = [
        model.decode(target[:, a:b], memory, own=own, across=across)
        for a, b in ((0, 1), (1, 4), (4, 7))
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), model.decode(target, memory))


def log_probability(model, source, text):
    scores = model(source, text[:, :-1]).logits.log_softmax(-1)
    return scores.gather(2, text[:, 1:, None]).sum((1, 2))


def test_greedy_takes_the_likeliest_token_and_beams_find_likelier_texts():
    model, source, start = make(), texts(), torch.ones(2, 1, dtype=torch.long)
    slow = start
    for _ in range(5):
        slow = torch.cat([slow, model(source, slow).logits[:, -1:].argmax(-1)], dim=1)
    greedy = model.generate(source, start, max_new_tokens=5)
    assert torch.equal(greedy, slow)
    beams = model.generate(source, start, max_new_tokens=5, num_beams=30)
    gain = log_probability(model, source, beams) - log_probability(model, source, greedy)
    assert (gain > -1e-9).all()


def test_the_schedule_rises_to_its_peak_at_the_end_of_the_warm_up():
    rates = [noam(step, width=512, warmup=100) for step in range(1, 400)]
    assert rates.index(max(rates)) == 99
    assert rates[99] == pytest.approx((512 * 100) ** -0.5)
    assert rates[49] == pytest.approx(rates[99] / 2)
    assert rates[398] == pytest.approx(rates[99] * (100 / 399) ** 0.5)
    with pytest.raises(ValueError, match="step must be at least 1, got 0"):
        noam(0, width=8)


def test_it_learns_to_turn_texts_round():
    torch.manual_seed(0)
    config = TransformerConfig(**{**SIZES, "depth": 1, "width": 32, "inner": 64, "smoothing": 0.0})
    model, source = Transformer(config), texts(3, 5, 16)
    whole = torch.cat([torch.full((16, 1), 12), source.flip(1)], dim=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005, betas=(0.9, 0.98))
    losses = []
    for _ in range(120):
        loss = model.loss(source, whole[:, :-1], whole[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.1
    model.eval()
    assert torch.equal(model.generate(source, whole[:, :1], max_new_tokens=5), whole)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in SIZES if name != "dropout"]
    + [
        ({"heads": 3}, "width must be even and a multiple of heads=3, got 8"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"smoothing": -0.1}, r"smoothing must be in \[0, 1\), got -0.1"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**{**SIZES, **bad})
