import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import spread

import orrery
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
    theirs.save_pretrained(folder / "theirs")
    ours, ids = orrery.load(folder / "theirs"), texts(pad)
    given_ = (ids, (ids != pad).long(), ids % segments)
    expected = theirs(*given_, output_attentions=True)
    output = ours(*given_)
    ours.save_pretrained(folder / "ours")
    again = getattr(transformers, name).from_pretrained(folder / "ours", dtype="float64")(*given_)
    fields = ("last_hidden_state", "pooler_output") if name == "RobertaModel" else ("logits",)
    for field in fields:
        torch.testing.assert_close(getattr(output, field), getattr(expected, field))
        torch.testing.assert_close(getattr(again, field), getattr(output, field))
    for own, their in zip(ours(*given_, maps=True).maps, expected.attentions, strict=True):
        torch.testing.assert_close(own, their, atol=1e-6, rtol=1e-6)


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
    model = RobertaMaskedLm(RobertaConfig(**{**SIZES, "width": 24, "inner": 48}))
    ids = texts(5)
    hidden = torch.rand(ids.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    corrupted, targets = ids.masked_fill(hidden, 12), ids.masked_fill(~hidden, -100)
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(80):
        loss = model.loss(corrupted, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.2
    assert losses[-1] < 0.1


@pytest.mark.parametrize("padding", [None, -1, 11, 13])
def test_padding_must_be_a_token_and_leave_places(padding):
    with pytest.raises(ValueError, match="padding must be a token"):
        RobertaConfig(**SIZES, padding=padding)


def test_a_text_longer_than_the_places_is_refused():
    with pytest.raises(ValueError, match="at most 10 long, got 11"):
        Roberta(RobertaConfig(**SIZES))(texts(PADDING, 11))
