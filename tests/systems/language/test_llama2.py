import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import orrery
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.llama import Llama, LlamaConfig, parameters
from orrery.systems.language.llama2 import (
    cache_bytes,
    cache_sizes,
    llama2_7b,
    llama2_13b,
    llama2_70b,
    with_groups,
)


@pytest.mark.parametrize(
    ("preset", "count"),
    [(llama2_7b, 6_738_415_616), (llama2_13b, 13_015_864_320), (llama2_70b, 68_976_648_192)],
)
def test_the_sizes_have_the_published_number_of_parameters(preset, count):
    assert parameters(preset()) == count


@settings(max_examples=10, deadline=None)
@given(heads=st.sampled_from([2, 4, 8]), groups=st.sampled_from([None, 1, 2]),
       depth=st.integers(1, 3), tokens=st.integers(1, 9))  # fmt: skip
def test_a_real_cache_takes_what_is_said(heads, groups, depth, tokens):
    config = LlamaConfig(vocab=7, context=9, depth=depth, heads=heads, groups=groups,
                         width=heads * 4, inner=5)  # fmt: skip
    cache = KeyValueCache()
    model = Llama(config).bfloat16()
    model(torch.zeros(1, tokens, dtype=torch.long), cache=cache)
    held = sum(x.numel() * x.element_size() for x in (*cache.keys, *cache.values))
    assert held == cache_bytes(config, tokens)


def test_groups_share_the_cache_by_heads_over_groups():
    sizes = cache_sizes(llama2_70b(), 4096)
    assert sizes["MHA"] == 8 * sizes["GQA"] == 64 * sizes["MQA"]
    assert sizes["GQA"] == cache_bytes(llama2_70b(), 4096)
    assert cache_bytes(llama2_7b()) == 524_288
    assert with_groups(llama2_70b(), None).key_heads == 64


def test_a_checkpoint_is_written_loaded_and_talks(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(vocab=17, context=32, depth=2, heads=4, groups=2, width=16, inner=24)
    model = Llama(config)
    ids = torch.randint(17, (4, 12))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(tmp_path)
    again = orrery.load(tmp_path)
    written = again.generate(ids[:, :4], max_new_tokens=8)
    assert torch.equal(written, ids)  # what it learned by heart, four tokens given


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="tokens must be at least 0, got -1"):
        cache_bytes(llama2_7b(), -1)
    with pytest.raises(ValueError, match="bytes_per_number must be at least 1, got 0"):
        cache_bytes(llama2_7b(), bytes_per_number=0)
