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
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import orrery
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language import llama
from orrery.systems.language.llama import Llama, LlamaConfig, parameters
from orrery.systems.language.rope_scaling import Rope

transformers.logging.set_verbosity_error()
SIZES = {"vocab": 13, "context": 12, "depth": 2, "heads": 4, "width": 16, "inner": 20}
ROPES = [
    {"rope_type": "default", "rope_theta": 100.0},
    {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0},
    {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0},
    {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "beta_fast": 2.0, "beta_slow": 0.5,
     "original_max_position_embeddings": 6},
    {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.5, 2.0],
     "long_factor": [2.0, 4.0], "original_max_position_embeddings": 7},
    {"rope_type": "llama3", "rope_theta": 100.0, "factor": 4.0, "low_freq_factor": 0.3,
     "high_freq_factor": 0.6, "original_max_position_embeddings": 6},
    {"rope_type": "proportional", "rope_theta": 100.0, "partial_rotary_factor": 0.5},
]  # fmt: skip


@pytest.fixture(autouse=True)
def _norms_in_float64(monkeypatch):
    """Theirs go down to float32, whatever they are given: six digits too few for a comparison."""

    def forward(self, x):
        return self.weight * x * (x.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


def make(**changes):
    torch.manual_seed(0)
    return spread(Llama(LlamaConfig(**{**SIZES, **changes})).double(), 0.4)


@pytest.mark.parity
@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 2), (6, 2), (6, 3)]),
    depth=st.integers(1, 3), tied=st.booleans(), attention_bias=st.booleans(),
    mlp_bias=st.booleans(), own_head_size=st.booleans(), rope=st.sampled_from(ROPES),
    activation=st.sampled_from(["silu", "gelu", "relu"]), epsilon=st.sampled_from([1e-6, 1e-2]),
)  # fmt: skip
def test_it_is_transformers_llama_both_ways(
    tmp_path_factory, shape, depth, tied, attention_bias, mlp_bias, own_head_size, rope,
    activation, epsilon,
):  # fmt: skip
    folder, (heads, groups) = tmp_path_factory.mktemp("llama"), shape
    theirs = spread(transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=13, max_position_embeddings=8, hidden_size=heads * (6 if own_head_size else 4),
        head_dim=4, intermediate_size=7, num_hidden_layers=depth, num_attention_heads=heads,
        num_key_value_heads=groups, tie_word_embeddings=tied, attention_bias=attention_bias,
        mlp_bias=mlp_bias, hidden_act=activation, rms_norm_eps=epsilon, rope_parameters=dict(rope),
        bos_token_id=None, eos_token_id=None, attn_implementation="sdpa",
    )).double(), 0.4)  # fmt: skip
    theirs.save_pretrained(folder / "theirs")
    ours, ids = orrery.load(folder / "theirs"), tokens()
    mask = torch.ones_like(ids)
    mask[0, 7:] = 0
    output = ours(ids, mask, maps=True)
    torch.testing.assert_close(output.logits, theirs(input_ids=ids, attention_mask=mask).logits)
    torch.testing.assert_close(ours(ids).logits, theirs(input_ids=ids).logits)
    theirs.set_attn_implementation("eager")  # its softmax is found in float32
    expected = theirs(input_ids=ids, attention_mask=mask, output_attentions=True)
    for own, their in zip(output.maps, expected.attentions, strict=True):
        torch.testing.assert_close(own, their, rtol=1e-5, atol=1e-6)
    theirs.set_attn_implementation("sdpa")
    ours.save_pretrained(folder / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(folder / "ours", dtype="float64")
    torch.testing.assert_close(again(input_ids=ids).logits, ours(ids).logits)


@pytest.mark.parity
@pytest.mark.parametrize("rope", ROPES, ids=lambda rope: rope["rope_type"])
@pytest.mark.parametrize("beams", [1, 3])
def test_it_writes_what_transformers_writes(tmp_path, rope, beams):
    theirs = spread(transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=13, max_position_embeddings=8, hidden_size=16, head_dim=4, intermediate_size=7,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        rope_parameters=dict(rope), bos_token_id=None, eos_token_id=None,
    )).double(), 0.4)  # fmt: skip
    theirs.save_pretrained(tmp_path)
    ids, mask = tokens(3, 5), torch.ones(3, 5, dtype=torch.long)
    mask[1, :2] = 0
    options = {"max_new_tokens": 9, "num_beams": beams, "eos_token_id": 3, "pad_token_id": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.generate(input_ids=ids, attention_mask=mask, **options)
    assert torch.equal(Llama.from_pretrained(tmp_path).generate(ids, mask, **options), expected)


def test_the_four_sizes_have_the_published_number_of_parameters():
    assert parameters(llama.llama_7b()) == 6_738_415_616
    assert parameters(llama.llama_13b()) == 13_015_864_320
    assert parameters(llama.llama_33b()) == 32_528_943_616
    assert parameters(llama.llama_65b()) == 65_285_660_672


@settings(max_examples=8, deadline=None)
@given(groups=st.sampled_from([1, 2, 4]), bias=st.booleans(), tied=st.booleans())
def test_parameters_are_counted_without_a_model(groups, bias, tied):
    model = make(groups=groups, attention_bias=bias, feed_forward_bias=not bias, tied=tied)
    assert parameters(model.config) == sum(p.numel() for p in model.parameters())


def test_small_sizes_are_trained_far_beyond_twenty_tokens_a_parameter():
    ratios = llama.tokens_per_parameter()
    assert [round(one) for one in ratios.values()] == [148, 77, 43, 21]


@settings(max_examples=10, deadline=None)
@given(
    pieces=st.lists(st.integers(1, 4), min_size=1, max_size=4), groups=st.sampled_from([1, 2, 4]),
    rope=st.sampled_from([one for one in ROPES if one["rope_type"] not in ("dynamic", "longrope")]),
)  # fmt: skip
def test_the_cache_changes_nothing(pieces, groups, rope):
    model = make(groups=groups, rope=Rope.read({"rope_parameters": rope}))
    check_cache(model, tokens(), pieces)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_cache_holds_a_head_a_group(groups):
    cache = KeyValueCache()
    make(groups=groups)(tokens(), cache=cache)
    assert cache.keys[0].shape[1] == groups


def test_a_later_token_changes_no_earlier_output():
    model, ids = make(groups=2), tokens()
    check_causal(model, ids)


def test_only_distances_count():
    model, ids = make(), tokens()
    places = torch.arange(9).expand(2, 9)
    moved = model(ids, position_ids=places + 5).logits
    torch.testing.assert_close(moved, model(ids).logits, rtol=1e-4, atol=1e-4)
    other = model(ids, position_ids=places * 2).logits
    assert not torch.allclose(other, model(ids).logits, atol=1e-2)


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model, ids = Llama(LlamaConfig(**{**SIZES, "width": 24, "groups": 2})), tokens(4)
    check_learns_by_heart(model, ids)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in SIZES]
    + [
        ({"heads": 3}, "width must be a multiple of heads=3, got 16"),
        ({"groups": 3}, "groups must divide heads=4, got 3"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"activation": "elu2"}, "activation must be one of gelu, .* got 'elu2'"),
        ({"head_size": 3}, "even number of numbers to turn, got 3"),
        ({"rope": Rope(rope_type="linear", factor=2.0, partial_rotary_factor=0.5)},
         "partial_rotary_factor must be 1 with rope_type 'linear', got 0.5"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig(**{**SIZES, **bad})
