import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import check_both_ways, check_fills_gaps, spread, tokens

from orrery.systems.language.bert import (
    Bert,
    BertClassifier,
    BertConfig,
    BertMaskedLm,
    bert_base,
    bert_large,
)

SIZES = {
    "vocab": 13, "context": 9, "depth": 2, "heads": 2, "width": 8, "inner": 12, "dropout": 0.0,
}  # fmt: skip


def make(kind=Bert, **changes):
    return spread(kind(BertConfig(**{**SIZES, **changes})).double())


ANY = {
    "heads": st.sampled_from([1, 2, 3]), "head_size": st.integers(1, 5),
    "depth": st.integers(1, 3), "inner": st.integers(1, 9), "segments": st.integers(1, 3),
    "activation": st.sampled_from(["gelu", "relu", "gelu_new", "silu"]),
    "epsilon": st.sampled_from([1e-12, 1e-2]), "tied": st.booleans(),
    "classes": st.integers(2, 4), "pad": st.sampled_from([0, 5]),
}  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"])
@settings(max_examples=7, deadline=None)
@given(**ANY)
def test_it_is_transformers_bert_both_ways(
    tmp_path_factory, name, heads, head_size, depth, inner, segments, activation, epsilon, tied,
    classes, pad,
):  # fmt: skip
    folder = tmp_path_factory.mktemp("bert")
    theirs = spread(getattr(transformers, name)(transformers.BertConfig(
        vocab_size=13, max_position_embeddings=9, type_vocab_size=segments, layer_norm_eps=epsilon,
        hidden_size=heads * head_size, num_hidden_layers=depth, num_attention_heads=heads,
        intermediate_size=inner, hidden_act=activation, tie_word_embeddings=tied,
        num_labels=classes, pad_token_id=pad, attn_implementation="eager",
    )).double())  # fmt: skip
    ids = tokens()
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    given_ = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids % segments}
    fields = ("last_hidden_state", "pooler_output") if name == "BertModel" else ("logits",)
    check_both_ways(
        theirs,
        folder,
        given_,
        fields,
        maps="" if name == "BertForSequenceClassification" else "attentions",
    )


@pytest.mark.parametrize(
    ("preset", "parameters"), [(bert_base, 109_482_240), (bert_large, 335_141_888)]
)
def test_it_has_the_published_number_of_parameters(preset, parameters):
    with torch.device("meta"):
        model = Bert(preset())
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_both_sides_are_seen_and_padding_is_not():
    model, ids = make(), tokens(1)
    before = model(ids).last_hidden_state
    other = ids.clone()
    other[0, 8] = (other[0, 8] + 1) % 13
    assert not torch.allclose(model(other).last_hidden_state[:, 0], before[:, 0])
    mask = torch.ones_like(ids)
    mask[0, 8] = 0
    torch.testing.assert_close(
        model(other, mask).last_hidden_state[:, :8], model(ids[:, :8]).last_hidden_state
    )


def test_it_learns_to_fill_the_gaps_of_one_batch():
    torch.manual_seed(0)
    check_fills_gaps(BertMaskedLm(BertConfig(**{**SIZES, "width": 24, "inner": 48})), tokens(4))


def test_the_classifier_has_a_score_for_each_class():
    assert make(BertClassifier, classes=3)(tokens()).logits.shape == (2, 3)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in SIZES if name != "dropout"]
    + [
        ({"heads": 3}, "width must be a multiple of heads=3, got 8"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"activation": "elu2"}, "activation must be one of gelu, .* got 'elu2'"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        BertConfig(**{**SIZES, **bad})


def test_a_text_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="at most context=9 long, got 10"):
        make()(tokens(1, 10))
