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
)
from transformers.models.t5.modeling_t5 import T5LayerNorm

from orrery.systems.language.t5 import T5, RelativePlaces, T5Config, bucket, t5_base, t5_small

SIZES = {
    "vocab": 13, "depth": 2, "heads": 2, "width": 8, "head_size": 4, "inner": 12, "dropout": 0.0,
    "buckets": 8, "farthest": 16,
}  # fmt: skip
ANY = {
    "heads": st.integers(1, 3), "head_size": st.integers(1, 4), "width": st.integers(2, 9),
    "depth": st.integers(1, 3), "decoder_depth": st.integers(1, 3), "inner": st.integers(1, 9),
    "buckets": st.sampled_from([4, 8, 32]), "farthest": st.sampled_from([17, 40, 128]),
    "proj": st.sampled_from(["relu", "gated-gelu", "gelu", "gated-silu"]),
    "epsilon": st.sampled_from([1e-6, 1e-2]), "scaled": st.booleans(),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _norms_in_float64(monkeypatch):
    """Theirs go down to float32, whatever they are given: six digits too few for a comparison."""

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, True) + self.variance_epsilon)

    monkeypatch.setattr(T5LayerNorm, "forward", forward)


def theirs(**changes):
    config = {
        "vocab_size": 13, "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 2, "num_heads": 2,
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16,
        "decoder_start_token_id": 0,
    }  # fmt: skip
    config = transformers.T5Config(**{**config, **changes}, attn_implementation="sdpa")
    return spread(transformers.T5ForConditionalGeneration(config).double())


@pytest.mark.parity
@settings(max_examples=20, deadline=None)
@given(**ANY)
def test_it_is_transformers_t5_both_ways(
    tmp_path_factory, heads, head_size, width, depth, decoder_depth, inner, buckets, farthest,
    proj, epsilon, scaled,
):  # fmt: skip
    folder = tmp_path_factory.mktemp("t5")
    model = theirs(
        d_model=width, d_kv=head_size, d_ff=inner, num_layers=depth, num_heads=heads,
        num_decoder_layers=decoder_depth, relative_attention_num_buckets=buckets,
        relative_attention_max_distance=farthest, feed_forward_proj=proj,
        layer_norm_epsilon=epsilon, tie_word_embeddings=scaled,
    )  # fmt: skip
    check_both_ways(model, folder, pair_of_texts(), ("logits",))


@pytest.mark.parity
@pytest.mark.parametrize("options", WAYS_TO_WRITE)
def test_it_writes_what_transformers_writes(tmp_path, options):
    options = {"max_new_tokens": 12, "eos_token_id": 5, "pad_token_id": 0, **options}
    check_writes_the_same(theirs(), tmp_path, options)


@pytest.mark.parametrize(("preset", "parameters"), [(t5_small, 60_506_624), (t5_base, 222_903_552)])
def test_it_has_the_published_number_of_parameters(preset, parameters):
    with torch.device("meta"):
        model = T5(preset())
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_only_distance_counts():
    """The bias is the same along each diagonal, and a cache does not move it."""
    places = spread(RelativePlaces(T5Config(**SIZES), both_ways=True))
    whole = places(9, 9)[0, 0]
    for offset in range(-8, 9):
        assert whole.diagonal(offset).unique().numel() == 1
    torch.testing.assert_close(places(2, 9), places(9, 9)[:, :, 7:])


def test_near_distances_have_buckets_of_their_own_and_far_ones_share():
    far = torch.arange(-40, 41)[None]
    found = bucket(far, 8, 16, both_ways=True)[0].tolist()
    assert found[40] == 0
    assert found[39] != found[41]  # before and after differ
    assert len(set(found)) == 8 - 1  # no key after a query lies at distance 0
    assert len(set(found[:25])) == 1  # sixteen and more
    one_way = bucket(far, 8, 16, both_ways=False)[0].tolist()
    assert set(one_way[40:]) == {0}
    assert sorted(set(one_way)) == list(range(8))


def test_a_prefix_tells_the_task():
    """One batch of two tasks on the same text: the first token says which."""
    torch.manual_seed(0)
    model = T5(T5Config(**{**SIZES, "width": 32, "inner": 64, "head_size": 8}))
    text = torch.randint(3, 13, (4, 5), generator=torch.Generator().manual_seed(0))
    copy, reverse = text.new_full((4, 1), 1), text.new_full((4, 1), 2)
    ids = torch.cat([torch.cat([copy, text], 1), torch.cat([reverse, text], 1)])
    targets = torch.cat([text, text.flip(1)])
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(150):
        loss = model.loss(ids, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.1
    written = model.eval().generate(ids, max_new_tokens=5)[:, 1:]
    assert torch.equal(written, targets)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({name: 0}, f"{name} must be at least 1, got 0") for name in ("vocab", "heads", "inner")]
    + [
        ({"decoder_depth": 0}, "decoder_depth must be at least 1"),
        ({"buckets": 7}, "buckets must be even"),
        ({"farthest": 4}, "farthest must be above half of buckets=8, got 4"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"activation": "elu2"}, "activation must be one of"),
    ],
)
def test_bad_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        T5Config(**{**SIZES, **bad})
