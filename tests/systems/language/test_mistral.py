import warnings

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import check_learns_by_heart, spread
from transformers.models.mistral.modeling_mistral import MistralRMSNorm

import orrery
from orrery.systems.language.llama import LlamaConfig, parameters
from orrery.systems.language.mistral import Mistral, MistralConfig, mistral_7b

transformers.logging.set_verbosity_error()
SIZES = {"vocab": 13, "context": 30, "depth": 2, "heads": 4, "groups": 2, "width": 16, "inner": 20}


@pytest.fixture(autouse=True)
def _norms_in_float64(monkeypatch):
    """Theirs go down to float32, whatever they are given: six digits too few for a comparison."""

    def forward(self, x):
        return self.weight * x * (x.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()

    monkeypatch.setattr(MistralRMSNorm, "forward", forward)


def make(window=4, **changes):
    torch.manual_seed(0)
    config = MistralConfig(decoder=LlamaConfig(**{**SIZES, **changes}), window=window)
    return spread(Mistral(config).double(), 0.4)


def tokens(batch=2, length=14, vocab=13):
    return torch.randint(vocab, (batch, length), generator=torch.Generator().manual_seed(1))


def their_model(shape=(4, 2), depth=2, window=4, tied=False, epsilon=1e-6, rope=None):
    heads, groups = shape
    return spread(transformers.MistralForCausalLM(transformers.MistralConfig(
        vocab_size=13, max_position_embeddings=30, hidden_size=heads * 4, head_dim=4,
        intermediate_size=7, num_hidden_layers=depth, num_attention_heads=heads,
        num_key_value_heads=groups, tie_word_embeddings=tied, rms_norm_eps=epsilon,
        sliding_window=window, rope_parameters=rope, bos_token_id=None, eos_token_id=None,
        attn_implementation="sdpa",
    )).double(), 0.4)  # fmt: skip


@pytest.mark.parity
@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from([(1, 1), (2, 1), (4, 2), (6, 2), (6, 3)]), depth=st.integers(1, 3),
    window=st.sampled_from([None, 1, 2, 3, 4, 5, 9, 30]), tied=st.booleans(),
    epsilon=st.sampled_from([1e-6, 1e-2]),
    rope=st.sampled_from([None, {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}]),
)  # fmt: skip
def test_it_is_transformers_mistral_both_ways(
    tmp_path_factory, shape, depth, window, tied, epsilon, rope
):
    folder = tmp_path_factory.mktemp("mistral")
    theirs = their_model(shape, depth, window, tied, epsilon, rope and dict(rope))
    theirs.save_pretrained(folder / "theirs")
    ours, ids = orrery.load(folder / "theirs"), tokens()
    mask = torch.ones_like(ids)
    mask[0, 12:] = 0
    torch.testing.assert_close(
        ours(ids, mask).logits[mask == 1],
        theirs(input_ids=ids, attention_mask=mask).logits[mask == 1],
    )
    torch.testing.assert_close(ours(ids).logits, theirs(input_ids=ids).logits)
    ours.save_pretrained(folder / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(folder / "ours", dtype="float64")
    torch.testing.assert_close(again(input_ids=ids).logits, ours(ids).logits)


@pytest.mark.parity
@pytest.mark.parametrize("window", [None, 2, 4, 7])
@pytest.mark.parametrize("beams", [1, 3])
def test_it_writes_what_transformers_writes(tmp_path, window, beams):
    theirs = their_model(window=window)
    theirs.save_pretrained(tmp_path)
    ids, mask = tokens(3, 6), torch.ones(3, 6, dtype=torch.long)
    mask[1, :2] = 0
    options = {"max_new_tokens": 12, "num_beams": beams, "eos_token_id": 3, "pad_token_id": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.generate(input_ids=ids, attention_mask=mask, **options)
    assert torch.equal(Mistral.from_pretrained(tmp_path).generate(ids, mask, **options), expected)


@settings(max_examples=15, deadline=None)
@given(pieces=st.lists(st.integers(1, 6), min_size=1, max_size=6), window=st.integers(1, 6))
def test_the_rolling_cache_changes_nothing_and_keeps_no_more_than_the_window(pieces, window):
    model, ids = make(window), tokens()
    cache, start, parts = model.cache(), 0, []
    for piece in [*pieces, 14]:
        part = ids[:, start : start + piece]
        start += piece
        if part.shape[1]:
            parts.append(model(part, cache=cache).logits)
            assert cache.keys[0].shape[2] <= window - 1
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids).logits)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 2, 4])
def test_a_token_knows_of_layers_times_the_window_before_it(depth, window):
    model, ids, last = make(window, depth=depth), tokens(1), 13
    before = model(ids).logits[0, last]
    changed = []
    for place in range(last + 1):
        other = ids.clone()
        other[0, place] = (other[0, place] + 1) % 13
        if not torch.equal(model(other).logits[0, last], before):
            changed.append(last - place)
    assert max(changed) == min(model.config.reach, last)


def test_it_has_the_published_number_of_parameters():
    assert parameters(mistral_7b().decoder) == 7_241_732_096
    assert mistral_7b().reach == 32 * 4095


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    config = MistralConfig(decoder=LlamaConfig(**{**SIZES, "width": 24}), window=5)
    model, ids = Mistral(config), tokens(4, 9)
    check_learns_by_heart(model, ids)


def test_bad_configs_are_refused():
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        MistralConfig(window=0)
    with pytest.raises(ValueError, match="must be False, got True"):
        MistralConfig(decoder=LlamaConfig(attention_bias=True))
