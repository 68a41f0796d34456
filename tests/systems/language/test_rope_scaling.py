import math

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from orrery.systems.language.rope_scaling import Rope

transformers.logging.set_verbosity_error()
SIZE, CONTEXT = 16, 64
numbers = st.floats(0.5, 8)
settings_of = {
    "linear": st.fixed_dictionaries({"factor": st.floats(1, 16)}),
    "dynamic": st.fixed_dictionaries({"factor": st.sampled_from([1, 2, 2.5, 8.0])}),
    "yarn": st.fixed_dictionaries(
        {"factor": st.floats(1, 16), "original_max_position_embeddings": st.integers(8, 64)},
        optional={
            "attention_factor": numbers, "beta_fast": st.floats(4, 40),
            "beta_slow": st.floats(0.5, 3), "mscale": numbers, "mscale_all_dim": numbers,
            "truncate": st.booleans(),
        },
    ),
    "longrope": st.fixed_dictionaries(
        {
            "short_factor": st.lists(st.floats(1, 4), min_size=SIZE // 2, max_size=SIZE // 2),
            "long_factor": st.lists(st.floats(4, 9), min_size=SIZE // 2, max_size=SIZE // 2),
            "original_max_position_embeddings": st.integers(8, 64),
        },
        optional={"factor": st.floats(0.5, 16), "attention_factor": numbers},
    ),
    "llama3": st.fixed_dictionaries({
        "factor": st.floats(1, 16), "low_freq_factor": st.floats(0.5, 2),
        "high_freq_factor": st.floats(2.5, 8),
        "original_max_position_embeddings": st.integers(8, 64),
    }),
    "proportional": st.fixed_dictionaries(
        {}, optional={"factor": st.floats(1, 4), "partial_rotary_factor": st.floats(0.2, 1)}
    ),
}  # fmt: skip


def config_of(kind, given_, theta=10_000.0):
    parameters = {"rope_type": kind, "rope_theta": theta, **given_}
    return transformers.LlamaConfig(
        hidden_size=32, num_attention_heads=2, head_dim=SIZE, max_position_embeddings=CONTEXT,
        rope_parameters=parameters,
    )  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("kind", list(settings_of))
@settings(max_examples=25, deadline=None)
@given(data=st.data(), theta=st.sampled_from([100.0, 10_000.0, 500_000]),
       length=st.integers(1, 300))  # fmt: skip
def test_angles_and_factors_are_those_of_transformers(kind, data, theta, length):
    config = config_of(kind, data.draw(settings_of[kind]), theta)
    rope = Rope.read(config.to_dict())
    grown = torch.tensor(length) if kind == "dynamic" else length
    expected, expected_factor = ROPE_INIT_FUNCTIONS[kind](config, seq_len=grown)
    angles, factor = rope.angles(SIZE, CONTEXT, length=length)
    torch.testing.assert_close(angles, expected, rtol=1e-7, atol=0)
    assert factor == pytest.approx(expected_factor, rel=1e-12)
    assert Rope.read({"rope_parameters": rope.write()}) == rope


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "llama3"])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_part_of_a_head_may_turn(kind, share):
    given_ = {"factor": 4.0, "partial_rotary_factor": share, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 32}  # fmt: skip
    expected, _ = ROPE_INIT_FUNCTIONS[kind](config_of(kind, given_))
    rope = Rope.read({"rope_parameters": {"rope_type": kind, **given_}})
    torch.testing.assert_close(rope.angles(SIZE, CONTEXT)[0], expected, rtol=1e-7, atol=0)
    assert len(expected) == SIZE * share / 2


@pytest.mark.parity
@pytest.mark.parametrize("batch", [True, False])
def test_tables_are_those_of_a_llama(batch):
    given_ = {"factor": 4.0, "original_max_position_embeddings": 16}
    config = config_of("yarn", given_)
    theirs = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    places = torch.tensor([[3, 0, 50], [7, 8, 9]])
    cos, sin = theirs(torch.zeros(1), places)
    rope = Rope.read(config.to_dict())
    own = rope.tables(places if batch else places[0], SIZE, CONTEXT)
    for mine, their in zip(own, (cos, sin), strict=True):
        mine = mine[:, 0] if batch else mine
        torch.testing.assert_close(mine, (their if batch else their[0])[..., : SIZE // 2])


def test_the_older_form_is_read():
    older = {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}
    assert Rope.read(older) == Rope(rope_type="linear", rope_theta=5e5, factor=2.0)
    assert Rope.read({}) == Rope()
    rope = Rope.read({"original_max_position_embeddings": 32, "rope_parameters": {
        "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}})  # fmt: skip
    assert rope.original_max_position_embeddings == 32


def test_what_each_kind_is_for():
    plain = Rope().angles(SIZE, 4096)[0]
    long = {"factor": 4.0, "original_max_position_embeddings": 1024}
    linear = Rope(rope_type="linear", factor=4.0).angles(SIZE, 4096)[0]
    torch.testing.assert_close(linear, plain / 4)
    meta = Rope(rope_type="llama3", low_freq_factor=1, high_freq_factor=4, **long)
    for rope in (Rope(rope_type="yarn", **long), meta):
        theta = rope.angles(SIZE, 4096)[0]
        assert theta[0] == plain[0]  # short waves tell neighbours apart, as before
        torch.testing.assert_close(theta[-1], plain[-1] / 4)
        assert (theta.diff() < 0).all()
    dynamic = Rope(rope_type="dynamic", factor=4.0)
    assert torch.equal(dynamic.angles(SIZE, 4096, length=4096)[0], plain)
    assert (dynamic.angles(SIZE, 4096, length=8192)[0][1:] < plain[1:]).all()
    factor = Rope(rope_type="yarn", **long).angles(SIZE, 4096)[1]
    assert factor == pytest.approx(0.1 * math.log(4) + 1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"rope_type": "ntk"}, "rope_type must be one of default, .* got 'ntk'"),
        ({"rope_theta": 0.0}, "rope_theta must be above 0, got 0.0"),
        ({"rope_type": "linear"}, "factor must be given for rope_type 'linear'"),
        ({"rope_type": "linear", "factor": -1.0}, "factor must be above 0, got -1.0"),
        ({"partial_rotary_factor": 2.0}, r"partial_rotary_factor must be in \(0, 1\], got 2.0"),
        ({"low_freq_factor": 4.0, "high_freq_factor": 1.0}, "low_freq_factor must be above 0 and"),
        ({"rope_type": "longrope"}, "short_factor must be given for rope_type 'longrope'"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Rope(**bad)


def test_unknown_settings_and_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="mrope_section is not known"):
        Rope.read({"rope_parameters": {"mrope_section": [1, 2]}})
    with pytest.raises(ValueError, match="even number of numbers to turn, got 5"):
        Rope().angles(5, CONTEXT)
    with pytest.raises(ValueError, match="must hold 8 numbers each"):
        Rope(rope_type="longrope", short_factor=(1,), long_factor=(1,)).angles(SIZE, CONTEXT)
