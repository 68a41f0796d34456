import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.gpt import Gpt, GptConfig

SIZES = {"vocab": 11, "context": 8, "depth": 2, "heads": 2, "width": 12}


def make(**changes):
    torch.manual_seed(0)
    model = Gpt(GptConfig(**{**SIZES, **changes})).double()
    with torch.no_grad():
        for p in model.parameters():  # at its first scale a missing factor would not show
            if p.ndim == 2:
                p.mul_(12)
            else:
                p.add_(0.3 * torch.randn_like(p))
    return model


def tokens(batch=3, length=8, seed=1):
    return torch.randint(11, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_it_is_the_gpt2_of_transformers(heads):
    transformers = pytest.importorskip("transformers")
    model, ids = make(bias=True, heads=heads), tokens()
    reference = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=11, n_positions=8, n_embd=12, n_layer=2, n_head=heads,
            resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="eager",
        )
    ).double()  # fmt: skip
    ours = dict(model.named_parameters())
    with torch.no_grad():
        for name, theirs in reference.named_parameters():
            weight = ours.pop(renamed(name))
            conv = theirs.ndim == 2 and ".h." in name  # its layers keep weights as inputs x outputs
            theirs.copy_(weight.T if conv else weight)
    assert not ours
    expected = reference(input_ids=ids, output_attentions=True)
    output = model(ids, maps=True)
    assert 0.5 < output.logits.std() < 20
    torch.testing.assert_close(output.logits, expected.logits)
    for own, theirs in zip(output.maps, expected.attentions, strict=True):
        torch.testing.assert_close(own, theirs)


def renamed(name):
    """The name here of a parameter of transformers' GPT-2."""
    for theirs, own in (
        ("transformer.", ""), ("wte", "embed"), ("wpe", "place"), ("h.", "blocks."),
        ("ln_f", "norm"), ("ln_1", "norm_attention"), ("ln_2", "norm_feed_forward"),
        ("attn.c_attn", "attention.qkv"), ("attn.c_proj", "attention.out"),
        ("mlp.c_fc", "feed_forward.up"), ("mlp.c_proj", "feed_forward.down"),
    ):  # fmt: skip
        name = name.replace(theirs, own)
    return name


@pytest.mark.parametrize(
    ("depth", "heads", "width", "parameters"),
    [  # the four sizes of GPT-2, as OpenAI's files have them
        (12, 12, 768, 124_439_808), (24, 16, 1024, 354_823_168),
        (36, 20, 1280, 774_030_080), (48, 25, 1600, 1_557_611_200),
    ],
)  # fmt: skip
def test_gpt2_has_the_published_number_of_parameters(depth, heads, width, parameters):
    with torch.device("meta"):
        model = Gpt(GptConfig(vocab=50_257, context=1024, depth=depth, heads=heads, width=width,
                              bias=True))  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_changing_a_later_token_leaves_earlier_outputs_the_same_to_the_last_bit():
    model, ids = make(), tokens()
    before = model(ids).logits
    for position in range(1, 8):
        changed = ids.clone()
        changed[:, position] = (changed[:, position] + 1) % 11
        after = model(changed).logits
        assert torch.equal(after[:, :position], before[:, :position])
        assert not torch.allclose(after[:, position:], before[:, position:])


@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 3), length=st.integers(1, 8), depth=st.integers(1, 3),
    heads=st.integers(1, 3), pieces=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    positions=st.sampled_from(["learned", "none"]),
)  # fmt: skip
def test_the_cache_changes_nothing(batch, length, depth, heads, pieces, positions):
    model = make(depth=depth, heads=heads, positions=positions)
    ids, cache, start, parts = tokens(batch, length), KeyValueCache(), 0, []
    for piece in [*pieces, length]:
        part = ids[:, start : start + piece]
        start += piece
        if part.shape[1]:
            parts.append(model(part, cache=cache).logits)
    assert len(cache) == length
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids).logits)


def test_generation_is_argmax_of_the_whole_text_while_it_fits_and_goes_on_after():
    model, prompt = make(), tokens(2, 3)
    slow = prompt
    for _ in range(5):
        slow = torch.cat([slow, model(slow).logits[:, -1:].argmax(dim=-1)], dim=1)
    generator = torch.Generator()
    assert torch.equal(model.generate(prompt, 5, generator=generator, temperature=0.0), slow)
    longer = model.generate(prompt, 30, generator=generator, temperature=0.0)
    assert longer.shape == (2, 33)
    assert torch.equal(longer[:, :8], slow)


def test_sampling_follows_the_chances_and_the_generator():
    model, prompt = make(), tokens(1, 4).repeat(4000, 1)
    draw = [model.generate(prompt, 1, generator=torch.Generator().manual_seed(3)) for _ in "ab"]
    assert torch.equal(*draw)
    shares = draw[0][:, -1].bincount(minlength=11).double() / 4000
    expected = model.log_probabilities(prompt[:1])[0, -1].exp()
    assert (shares - expected).abs().max() < 0.04


def test_without_positions_the_order_of_what_came_before_leaves_no_trace_in_one_layer():
    model = make(positions="none", depth=1)
    ids = torch.tensor([[1, 2, 3, 4, 5], [3, 1, 4, 2, 5]])
    one, other = model(ids).logits[:, -1]
    torch.testing.assert_close(one, other)
    with_places = make(depth=1)(ids).logits[:, -1]
    assert not torch.allclose(*with_places)


def test_a_batch_is_its_rows():
    model, ids = make(), tokens()
    torch.testing.assert_close(model(ids).logits, torch.cat([model(r[None]).logits for r in ids]))


def test_dropout_acts_in_training_only():
    model, ids = make(dropout=0.5), tokens()
    assert not torch.equal(model(ids).logits, model(ids).logits)
    model.eval()
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_it_starts_out_knowing_nothing_and_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model, ids = Gpt(GptConfig(**{**SIZES, "width": 24})), tokens(4, 9)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    uniform = nn.functional.cross_entropy(torch.zeros(1, 11), torch.tensor([0]))
    assert losses[0] == pytest.approx(float(uniform), abs=0.1)
    assert losses[-1] < 0.1


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in SIZES]
    + [
        ({"heads": 5}, "width must be a multiple of heads=5, got 12"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        GptConfig(**{**SIZES, **bad})


def test_a_sequence_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="at most context=8 long, got 9"):
        make()(tokens(1, 9))
