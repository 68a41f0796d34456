"""`orrery.systems.language.compiled_llama`: files of every kind, and what they say."""

from dataclasses import replace

import pytest
import torch
from tests.inference.tiny_gguf import CONFIG, VOCABULARY, tiny_llama, write_gguf

from orrery.errors import OrreryError
from orrery.inference.gguf import Gguf
from orrery.inference.step import KERNELS
from orrery.systems.language import compiled_llama
from orrery.systems.language.compiled_llama import CompiledLlama
from orrery.systems.language.gguf_llama import read_llama
from orrery.systems.language.llama import Llama

pytestmark = pytest.mark.skipif(
    not compiled_llama.available(), reason="the package was built without a C compiler"
)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0", "Q4_1"])
def test_it_scores_as_the_same_weights_worked_out(kind, kernels, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(2), kind)
    model, whole = CompiledLlama(Gguf(path), threads=2, kernels=kernels), read_llama(Gguf(path))
    tokens = torch.randint(len(VOCABULARY), (1, 30), generator=torch.Generator().manual_seed(2))
    cache = model.new_cache()
    with torch.no_grad():
        want = whole(tokens).logits[0, [19, *range(20, 30)]]
    found = [model(tokens[:, :20], cache)]
    found += [model(tokens[:, i : i + 1], cache) for i in range(20, 30)]
    off = (torch.cat(found) - want).norm() / want.norm()
    assert off < (0.01 if kind.startswith("Q") else 0.03)  # the others are rounded to eight bits
    assert len(cache) == 30
    matrices = sum(w.numel() for w in whole.parameters() if w.ndim == 2)
    assert matrices * 5 / 8 < model.bytes < matrices * 9 / 8 + 2000


def test_a_tensor_of_another_shape_is_refused_in_one_line(tmp_path):
    file = Gguf(write_gguf(tmp_path / "m.gguf", tiny_llama(), "Q4_1"))
    one = file.tensors["blk.1.attn_k.weight"]
    file.tensors = {**file.tensors, one.name: file.tensors["blk.1.attn_q.weight"]}
    with pytest.raises(OrreryError, match=r"blk.1.attn_k.weight must have \(32, 64\), has \(64"):
        CompiledLlama(file)
    file.tensors = {name: t for name, t in file.tensors.items() if name != one.name}
    with pytest.raises(OrreryError, match=r"attn_k.weight must have \(32, 64\), is missing"):
        CompiledLlama(file)


def test_sizes_that_the_step_cannot_take_are_refused(tmp_path):
    config = replace(CONFIG, inner=80)
    path = write_gguf(tmp_path / "m.gguf", Llama(config), config=config)
    with pytest.raises(OrreryError, match="multiples of 32"):
        CompiledLlama(Gguf(path))


def test_a_token_that_is_none_is_refused(tmp_path):
    model = CompiledLlama(Gguf(write_gguf(tmp_path / "m.gguf", tiny_llama(), "Q4_1")), threads=1)
    for token in (-1, len(VOCABULARY)):
        with pytest.raises(ValueError, match="tokens must be from 0 to"):
            model(torch.tensor([[token]]), model.new_cache())


def test_texts_side_by_side_score_as_each_alone(tmp_path):
    model = CompiledLlama(Gguf(write_gguf(tmp_path / "m.gguf", tiny_llama(), "Q4_1")), threads=2)
    texts = torch.randint(len(VOCABULARY), (3, 9), generator=torch.Generator().manual_seed(2))
    caches = [model.new_cache() for _ in texts]
    for text, cache in zip(texts, caches, strict=True):
        model(text[None, :-1], cache)
    together = model.write(texts[:, -1], caches)
    alone = [model(text[None], model.new_cache()) for text in texts]
    assert together.equal(torch.cat(alone))
