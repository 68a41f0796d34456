import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import spread, tokens

import orrery
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
    theirs.save_pretrained(folder / "theirs")
    ours, ids = orrery.load(folder / "theirs"), tokens()
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    given_ = (ids, mask, ids % segments)
    expected = theirs(*given_, output_attentions=True)
    output = ours(*given_)
    ours.save_pretrained(folder / "ours")
    again = getattr(transformers, name).from_pretrained(folder / "ours", dtype="float64")(*given_)
    fields = ("last_hidden_state", "pooler_output") if name == "BertModel" else ("logits",)
    for field in fields:
        torch.testing.assert_close(getattr(output, field), getattr(expected, field))
        torch.testing.assert_close(getattr(again, field), getattr(output, field))
    if name != "BertForSequenceClassification":
        for own, their in zip(ours(*given_, maps=True).maps, expected.attentions, strict=True):
            torch.testing.assert_close(own, their, atol=1e-6, rtol=1e-6)


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
    model, ids = BertMaskedLm(BertConfig(**{**SIZES, "width": 24, "inner": 48})), tokens(4)
    hidden = torch.rand(ids.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    corrupted, targets = ids.masked_fill(hidden, 12), ids.masked_fill(~hidden, -100)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(100):
        loss = model.loss(corrupted, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.2
    assert losses[-1] < 0.1


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
