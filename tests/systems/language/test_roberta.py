import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import check_both_ways, check_fills_gaps, spread

from orrery.systems.language.roberta import (
    Roberta,
    RobertaConfig,
    RobertaMaskedLm,
    roberta_base,
    roberta_large,
)

PADDING = 1
SIZES = {
    "vocab": 13, "context": 12, "depth": 2, "heads": 2, "width": 8, "inner": 12, "dropout": 0.0,
}  # fmt: skip
ANY = {
    "heads": st.sampled_from([1, 2, 3]), "head_size": st.integers(1, 5),
    "depth": st.integers(1, 3), "inner": st.integers(1, 9), "segments": st.integers(1, 3),
    "activation": st.sampled_from(["gelu", "relu", "gelu_new", "silu"]),
    "epsilon": st.sampled_from([1e-12, 1e-2]), "tied": st.booleans(),
    "pad": st.sampled_from([0, 1, 2]),
}  # fmt: skip


def texts(padding, length=9):
    """Two texts, the second shorter and padded behind."""
    ids = torch.randint(3, 13, (2, length), generator=torch.Generator().manual_seed(1))
    ids[1, 6:] = padding
    return ids


@pytest.mark.parity
@pytest.mark.parametrize("name", ["RobertaModel", "RobertaForMaskedLM"])
@settings(max_examples=10, deadline=None)
@given(**ANY)
def test_it_is_transformers_roberta_both_ways(
    tmp_path_factory, name, heads, head_size, depth, inner, segments, activation, epsilon, tied, pad
):
    folder = tmp_path_factory.mktemp("roberta")
    theirs = spread(getattr(transformers, name)(transformers.RobertaConfig(
        vocab_size=13, max_position_embeddings=12, type_vocab_size=segments, pad_token_id=pad,
        hidden_size=heads * head_size, num_hidden_layers=depth, num_attention_heads=heads,
        intermediate_size=inner, hidden_act=activation, tie_word_embeddings=tied,
        layer_norm_eps=epsilon, attn_implementation="eager",
    )).double())  # fmt: skip
    ids = texts(pad)
    mask = (ids != pad).long()
    given_ = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids % segments}
    fields = ("last_hidden_state", "pooler_output") if name == "RobertaModel" else ("logits",)
    check_both_ways(theirs, folder, given_, fields, maps="attentions")


@pytest.mark.parametrize(
    ("preset", "parameters"), [(roberta_base, 124_645_632), (roberta_large, 355_359_744)]
)
def test_it_has_the_published_number_of_parameters(preset, parameters):
    with torch.device("meta"):
        model = Roberta(preset())
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_places_are_counted_over_what_is_no_padding():
    """Padding in front moves no token to another place."""
    model = spread(Roberta(RobertaConfig(**SIZES)).double())
    ids = texts(PADDING)[:1, :6]
    padded = torch.cat([torch.full((1, 3), PADDING), ids], dim=1)
    found = model(padded, (padded != PADDING).long()).last_hidden_state[:, 3:]
    torch.testing.assert_close(found, model(ids).last_hidden_state)


def test_it_learns_to_fill_the_gaps_of_one_batch():
    torch.manual_seed(0)
    check_fills_gaps(
        RobertaMaskedLm(RobertaConfig(**{**SIZES, "width": 24, "inner": 48})), texts(5)
    )


@pytest.mark.parametrize("padding", [None, -1, 11, 13])
def test_padding_must_be_a_token_and_leave_places(padding):
    with pytest.raises(ValueError, match="padding must be a token"):
        RobertaConfig(**SIZES, padding=padding)


def test_a_text_longer_than_the_places_is_refused():
    with pytest.raises(ValueError, match="at most 10 long, got 11"):
        Roberta(RobertaConfig(**SIZES))(texts(PADDING, 11))
