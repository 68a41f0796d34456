import warnings

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import (
    check_cache,
    check_causal,
    check_learns_by_heart,
    spread,
    tokens,
)

import orrery
from orrery.systems.language.gpt1 import Gpt1, Gpt1Config

SIZES = {"vocab": 13, "context": 9, "depth": 2, "heads": 2, "width": 8, "dropout": 0.0}


def make(**changes):
    torch.manual_seed(0)
    return spread(Gpt1(Gpt1Config(**{**SIZES, **changes})).double())


@pytest.mark.parity
@settings(max_examples=12, deadline=None)
@given(
    heads=st.sampled_from([1, 2, 3]), head_size=st.integers(1, 5), depth=st.integers(1, 3),
    epsilon=st.sampled_from([1e-5, 1e-2]), activation=st.sampled_from(["gelu", "relu", "silu"]),
    tied=st.booleans(), beams=st.integers(1, 3),
)  # fmt: skip
def test_it_is_transformers_openai_gpt_both_ways(
    tmp_path_factory, heads, head_size, depth, epsilon, activation, tied, beams
):
    folder = tmp_path_factory.mktemp("gpt1")
    theirs = spread(transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(
        vocab_size=13, n_positions=9, n_embd=heads * head_size, n_layer=depth, n_head=heads,
        layer_norm_epsilon=epsilon, afn=activation, tie_word_embeddings=tied,
    )).double())  # fmt: skip
    theirs.save_pretrained(folder / "theirs")
    ours, ids = orrery.load(folder / "theirs"), tokens()
    mask = torch.ones_like(ids)
    mask[0, 7:] = 0
    expected = theirs(input_ids=ids, attention_mask=mask, output_attentions=True)
    output = ours(ids, mask, maps=True)
    torch.testing.assert_close(output.logits, expected.logits)
    for own, their in zip(output.maps, expected.attentions, strict=True):
        torch.testing.assert_close(own, their)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = theirs.generate(input_ids=ids[:, :3], max_new_tokens=6, num_beams=beams)
    assert torch.equal(ours.generate(ids[:, :3], max_new_tokens=6, num_beams=beams), text)
    ours.save_pretrained(folder / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(folder / "ours", dtype="float64")
    torch.testing.assert_close(again(input_ids=ids).logits, ours(ids).logits)


def test_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = Gpt1(Gpt1Config())
    assert sum(p.numel() for p in model.parameters()) == 116_534_784


@settings(max_examples=10, deadline=None)
@given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=4), depth=st.integers(1, 3))
def test_the_cache_changes_nothing(pieces, depth):
    check_cache(make(depth=depth), tokens(), pieces)


def test_every_block_ends_in_a_norm():
    model = make(depth=1)
    with torch.no_grad():
        model.blocks[0].norm_feed_forward.weight.fill_(1)
        model.blocks[0].norm_feed_forward.bias.zero_()
    states = model.states(tokens())
    torch.testing.assert_close(states.mean(dim=-1), torch.zeros(2, 9, dtype=torch.float64))
    torch.testing.assert_close(
        states.var(dim=-1, unbiased=False), torch.ones(2, 9, dtype=torch.float64),
        rtol=1e-3, atol=0,
    )  # fmt: skip


def test_a_later_token_changes_no_earlier_output():
    model, ids = make(), tokens()
    check_causal(model, ids)


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model, ids = Gpt1(Gpt1Config(**{**SIZES, "width": 24})), tokens(4)
    check_learns_by_heart(model, ids)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in SIZES if name != "dropout"]
    + [
        ({"heads": 3}, "width must be a multiple of heads=3, got 8"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"activation": "tanh"}, "activation must be one of gelu, .* got 'tanh'"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Gpt1Config(**{**SIZES, **bad})


def test_a_sequence_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="at most context=9 long, got 10"):
        make()(tokens(1, 10))
