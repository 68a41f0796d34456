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
from orrery.systems.language.gpt2 import (
    Gpt2,
    Gpt2Config,
    gpt2_large,
    gpt2_medium,
    gpt2_small,
    gpt2_xl,
)

SIZES = {"vocab": 13, "context": 9, "depth": 2, "heads": 2, "width": 8, "dropout": 0.0}


def make(**changes):
    torch.manual_seed(0)
    model = Gpt2(Gpt2Config(**{**SIZES, **changes})).double()
    return spread(model)


@pytest.mark.parity
@settings(max_examples=12, deadline=None)
@given(
    heads=st.sampled_from([1, 2, 3]), head_size=st.integers(1, 5), depth=st.integers(1, 3),
    inner=st.sampled_from([None, 7]), epsilon=st.sampled_from([1e-5, 1e-2]),
    activation=st.sampled_from(["gelu_new", "gelu", "relu", "silu", "tanh"]),
    tied=st.booleans(), scaled=st.booleans(), by_layer=st.booleans(),
)  # fmt: skip
def test_it_is_transformers_gpt2_both_ways(
    tmp_path_factory, heads, head_size, depth, inner, epsilon, activation, tied, scaled, by_layer
):
    folder = tmp_path_factory.mktemp("gpt2")
    theirs = spread(transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=13, n_positions=9, n_embd=heads * head_size, n_layer=depth, n_head=heads,
        n_inner=inner, layer_norm_epsilon=epsilon, activation_function=activation,
        tie_word_embeddings=tied, scale_attn_weights=scaled, bos_token_id=None, eos_token_id=None,
        scale_attn_by_inverse_layer_idx=by_layer, attn_implementation="eager",
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
    ours.save_pretrained(folder / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(folder / "ours", dtype="float64")
    torch.testing.assert_close(again(input_ids=ids).logits, ours(ids).logits)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        (gpt2_small, 124_439_808), (gpt2_medium, 354_823_168),
        (gpt2_large, 774_030_080), (gpt2_xl, 1_557_611_200),
    ],
)  # fmt: skip
def test_the_four_sizes_have_the_published_number_of_parameters(preset, parameters):
    with torch.device("meta"):
        model = Gpt2(preset())
    assert sum(p.numel() for p in model.parameters()) == parameters


@settings(max_examples=10, deadline=None)
@given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=4), depth=st.integers(1, 3))
def test_the_cache_changes_nothing(pieces, depth):
    check_cache(make(depth=depth), tokens(), pieces)


def test_a_later_token_changes_no_earlier_output():
    model, ids = make(), tokens()
    check_causal(model, ids)


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model, ids = Gpt2(Gpt2Config(**{**SIZES, "width": 24})), tokens(4)
    check_learns_by_heart(model, ids)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in SIZES if name != "dropout"]
    + [
        ({"heads": 3}, "width must be a multiple of heads=3, got 8"),
        ({"inner": 0}, "inner must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"activation": "elu2"}, "activation must be one of gelu, .* got 'elu2'"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Gpt2Config(**{**SIZES, **bad})


def test_a_sequence_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="at most context=9 long, got 10"):
        make()(tokens(1, 10))
