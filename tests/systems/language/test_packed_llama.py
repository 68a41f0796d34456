"""`orrery.systems.language.packed_llama` and the products in four bits."""

import numpy as np
import pytest
import torch
from tests.inference.tiny_gguf import VOCABULARY, tiny_llama, write_gguf

from orrery.errors import OrreryError
from orrery.inference.gguf import Gguf
from orrery.inference.packed_linear import HalfTable, PackedLinear
from orrery.nn.key_value_cache import KeyValueCache
from orrery.systems.language.gguf_llama import read_llama
from orrery.systems.language.packed_llama import PackedLlama


def four_bits(n, k, seed=0):
    rng = np.random.default_rng(seed)
    q = torch.from_numpy(rng.integers(0, 16, (n, k), dtype=np.uint8))
    scale = torch.from_numpy(rng.uniform(0.01, 0.1, (n, k // 32))).float()
    offset = torch.from_numpy(rng.normal(size=(n, k // 32))).float() * 0.3
    return q, scale, offset


@pytest.mark.parametrize("rows", [1, 5])
def test_a_product_in_four_bits_is_the_product(rows):
    q, scale, offset = four_bits(48, 96)
    weight = (scale[..., None] * q.unflatten(1, (-1, 32)) + offset[..., None]).flatten(1)
    x = torch.randn(2, rows, 96, generator=torch.Generator().manual_seed(0))
    want = x @ weight.T
    found = PackedLinear(q, scale, offset)(x)
    assert found.dtype == torch.float32
    assert ((found - want).norm() / want.norm()).item() < 0.01  # eight bits of a number


def test_sizes_that_do_not_go_together_are_refused():
    q, scale, offset = four_bits(16, 64)
    short = (q[:, :48], scale, offset)
    for bad in (short, (q, scale[:, :1], offset[:, :1])):
        with pytest.raises(ValueError, match="scale and offset"):
            PackedLinear(*bad)


def test_a_table_in_half_precision_reads_and_scores():
    table = torch.randn(40, 32, generator=torch.Generator().manual_seed(0))
    half = HalfTable(table)
    torch.testing.assert_close(half(torch.tensor([3])), table[3:4], atol=0.01, rtol=0.01)
    torch.testing.assert_close(half.scores(table[:2]), table[:2] @ table.T, atol=0.2, rtol=0.02)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1"])
def test_packed_weights_score_as_the_same_weights_worked_out(kind, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(2), kind)
    packed, whole = PackedLlama(Gguf(path)), read_llama(Gguf(path))
    tokens = torch.randint(len(VOCABULARY), (1, 30), generator=torch.Generator().manual_seed(2))
    cache = KeyValueCache()
    with torch.no_grad():
        want = whole(tokens).logits[0, [19, *range(20, 30)]]
    found = [packed(tokens[:, :20], cache)]
    found += [packed(tokens[:, i : i + 1], cache) for i in range(20, 30)]
    off = (torch.cat(found) - want).norm() / want.norm()
    assert off < 0.02
    matrices = sum(w.numel() for n, w in whole.named_parameters() if w.ndim == 2 and "blocks" in n)
    others = sum(w.numel() for n, w in whole.named_parameters()) - matrices
    assert packed.bytes <= matrices * 5 / 8 + others * 4  # four bits, and two numbers for 32


def test_texts_in_turn_score_as_each_alone(tmp_path):
    model = PackedLlama(Gguf(write_gguf(tmp_path / "m.gguf", tiny_llama(), "Q4_1")))
    texts = torch.randint(len(VOCABULARY), (2, 5), generator=torch.Generator().manual_seed(2))
    shared = model.new_cache()
    model(texts[:1, :4], shared)
    caches = [shared.beginning(4), model.new_cache()]
    model(texts[1:, :4], caches[1])
    together = model.write(texts[:, 4], caches)
    alone = []
    for text in texts:
        cache = model.new_cache()
        model(text[None, :4], cache)
        alone.append(model(text[None, 4:], cache))
    assert together.equal(torch.cat(alone))
    assert len(shared) == 4


def test_weights_in_another_format_are_refused_in_one_line(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(), "Q8_0")
    with pytest.raises(OrreryError, match="must be Q4_0 or Q4_1, got Q8_0"):
        PackedLlama(Gguf(path))
