import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.systems.language.published import (
    WAYS_TO_WRITE,
    check_both_ways,
    check_writes_the_same,
    pair_of_texts,
    spread,
    tokens,
)

import orrery
from orrery.errors import OrreryError
from orrery.systems.language.bart import Bart, BartConfig, bart_base, bart_large

SIZES = {
    "vocab": 13, "context": 12, "depth": 2, "heads": 2, "width": 8, "inner": 12, "dropout": 0.0,
}  # fmt: skip
ANY = {
    "heads": st.sampled_from([1, 2, 3]), "decoder_heads": st.sampled_from([1, 2, 3]),
    "size": st.integers(1, 3), "depth": st.integers(1, 3), "decoder_depth": st.integers(1, 3),
    "inner": st.integers(1, 9), "decoder_inner": st.integers(1, 9), "scaled": st.booleans(),
    "activation": st.sampled_from(["gelu", "relu", "gelu_new", "silu"]),
}  # fmt: skip


def theirs(**changes):
    config = {
        "vocab_size": 13, "max_position_embeddings": 12, "d_model": 8, "encoder_layers": 2,
        "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "forced_eos_token_id": None,
    }  # fmt: skip
    config = transformers.BartConfig(**{**config, **changes}, attn_implementation="eager")
    model = spread(transformers.BartForConditionalGeneration(config).double())
    torch.nn.init.normal_(model.final_logits_bias, generator=torch.Generator().manual_seed(0))
    return model


@pytest.mark.parity
@settings(max_examples=20, deadline=None)
@given(**ANY)
def test_it_is_transformers_bart_both_ways(
    tmp_path_factory, heads, decoder_heads, size, depth, decoder_depth, inner, decoder_inner,
    scaled, activation,
):  # fmt: skip
    folder = tmp_path_factory.mktemp("bart")
    model = theirs(
        d_model=6 * size, encoder_layers=depth, decoder_layers=decoder_depth,
        encoder_attention_heads=heads, decoder_attention_heads=decoder_heads,
        encoder_ffn_dim=inner, decoder_ffn_dim=decoder_inner, scale_embedding=scaled,
        activation_function=activation,
    )  # fmt: skip
    check_both_ways(model, folder, pair_of_texts(), ("logits",), maps="cross_attentions")


@pytest.mark.parity
@pytest.mark.parametrize("options", WAYS_TO_WRITE)
def test_it_writes_what_transformers_writes(tmp_path, options):
    options = {"max_new_tokens": 10, "eos_token_id": 5, "pad_token_id": 1, **options}
    check_writes_the_same(theirs(), tmp_path, options)


@pytest.mark.parametrize(
    ("preset", "parameters"), [(bart_base, 139_420_416), (bart_large, 406_291_456)]
)
def test_it_has_the_published_number_of_parameters(preset, parameters):
    with torch.device("meta"):
        model = Bart(preset())
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_encoder_sees_both_sides_and_the_decoder_what_was_written():
    model, ids = spread(Bart(BartConfig(**SIZES)).double()), tokens(2, 9)
    target = tokens(2, 6)
    before = model(ids, None, target).logits
    other = target.clone()
    other[:, 4] = (target[:, 4] + 1) % 13
    after = model(ids, None, other).logits
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4], before[:, 4])
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1) % 13
    assert not torch.allclose(model(changed, None, target).logits[:, 0], before[:, 0])


def test_it_learns_to_write_the_whole_text_from_a_damaged_one():
    torch.manual_seed(0)
    model = Bart(BartConfig(**{**SIZES, "width": 32, "inner": 64}))
    text = tokens(4, 6).clamp(min=3)
    damaged = text.clone()
    damaged[:, 2:4] = 0
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.005), []
    for _ in range(120):
        loss = model.loss(damaged, text)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.2
    assert losses[-1] < 0.1
    assert torch.equal(model.eval().generate(damaged, max_new_tokens=6)[:, 1:], text)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in SIZES if name != "dropout"]
    + [
        ({"decoder_depth": -1}, "decoder_depth must be at least 1, got -1"),
        ({"decoder_heads": 3}, "width must be a multiple of heads=3, got 8"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"activation": "elu2"}, "activation must be one of"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        BartConfig(**{**SIZES, **bad})


def test_tables_that_are_not_one_are_refused(tmp_path):
    """Of an untied model transformers has three tables that read, and one that scores."""
    theirs(tie_word_embeddings=False).save_pretrained(tmp_path)
    with pytest.raises(OrreryError, match="tie_word_embeddings must be one of true, got false"):
        orrery.load(tmp_path)


def test_a_text_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="at most context=12 long, got 13"):
        Bart(BartConfig(**SIZES))(tokens(1, 13))
