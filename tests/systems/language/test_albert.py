import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import check_both_ways, check_fills_gaps, spread, tokens

from orrery.systems.language.albert import (
    Albert,
    AlbertConfig,
    AlbertMaskedLm,
    albert_base,
    albert_xxlarge,
    group_of,
)

SIZES = {
    "vocab": 13, "context": 9, "depth": 3, "heads": 2, "width": 8, "inner": 12, "embedding": 5,
}  # fmt: skip
ANY = {
    "heads": st.sampled_from([1, 2, 3]), "head_size": st.integers(1, 5),
    "depth": st.integers(1, 4), "inner": st.integers(1, 9), "segments": st.integers(1, 3),
    "activation": st.sampled_from(["gelu", "relu", "gelu_new", "silu"]),
    "epsilon": st.sampled_from([1e-12, 1e-2]), "tied": st.booleans(),
    "embedding": st.integers(1, 9), "groups": st.integers(1, 4), "inner_layers": st.integers(1, 2),
}  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("name", ["AlbertModel", "AlbertForMaskedLM"])
@settings(max_examples=10, deadline=None)
@given(**ANY)
def test_it_is_transformers_albert_both_ways(
    tmp_path_factory, name, heads, head_size, depth, inner, segments, activation, epsilon, tied,
    embedding, groups, inner_layers,
):  # fmt: skip
    folder = tmp_path_factory.mktemp("albert")
    theirs = spread(getattr(transformers, name)(transformers.AlbertConfig(
        vocab_size=13, max_position_embeddings=9, type_vocab_size=segments, layer_norm_eps=epsilon,
        hidden_size=heads * head_size, num_hidden_layers=depth, num_attention_heads=heads,
        intermediate_size=inner, hidden_act=activation, tie_word_embeddings=tied,
        embedding_size=embedding, num_hidden_groups=min(groups, depth),
        inner_group_num=inner_layers, attn_implementation="eager",
    )).double())  # fmt: skip
    ids = tokens()
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    given_ = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids % segments}
    fields = ("last_hidden_state", "pooler_output") if name == "AlbertModel" else ("logits",)
    check_both_ways(theirs, folder, given_, fields, maps="attentions")


@pytest.mark.parametrize(
    ("preset", "parameters"), [(albert_base, 11_683_584), (albert_xxlarge, 222_595_584)]
)
def test_it_has_the_published_number_of_parameters(preset, parameters):
    with torch.device("meta"):
        model = Albert(preset())
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_depth_costs_no_parameters_and_changes_what_comes_out():
    torch.manual_seed(0)
    shallow, deep = (Albert(AlbertConfig(**{**SIZES, "depth": d})).eval() for d in (1, 6))
    deep.load_state_dict(shallow.state_dict())  # the very same tensors
    ids = tokens()
    assert not torch.allclose(shallow(ids).last_hidden_state, deep(ids).last_hidden_state)


def test_a_narrow_table_saves_what_the_paper_says():
    """v x e + e x d in place of v x d."""
    narrow, wide = (
        sum(p.numel() for p in Albert(AlbertConfig(**{**SIZES, "embedding": e})).parameters())
        for e in (3, 8)
    )
    rows = 13 + 9 + 2 + 2  # tokens, places, segments, a norm's gain and shift
    assert wide - narrow == (8 - 3) * (rows + 8)


def test_groups_share_the_depth_evenly():
    config = AlbertConfig(**{**SIZES, "depth": 6}, groups=3)
    assert [group_of(i, config) for i in range(6)] == [0, 0, 1, 1, 2, 2]


def test_it_learns_to_fill_the_gaps_of_one_batch():
    torch.manual_seed(0)
    big = {**SIZES, "width": 24, "inner": 48, "embedding": 12}
    check_fills_gaps(AlbertMaskedLm(AlbertConfig(**big)), tokens(4))


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in ("embedding", "groups")]
    + [({"groups": 4}, "groups must be at most depth=3, got 4")],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        AlbertConfig(**{**SIZES, **bad})
