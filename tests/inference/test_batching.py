"""`orrery.inference.batching`: texts in a batch are those that are written alone."""

import pytest
import torch

from orrery.inference.batching import Batch
from orrery.inference.decoding import Decoding
from orrery.inference.gguf import Gguf
from orrery.inference.streaming import stream
from orrery.systems.language import compiled_llama
from orrery.systems.language.compiled_llama import CompiledLlama
from tests.inference.tiny_gguf import VOCABULARY, tiny_llama, write_gguf

pytestmark = pytest.mark.skipif(not compiled_llama.available(), reason="built without a C compiler")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_gguf(tmp_path_factory.mktemp("llm") / "tiny.gguf", tiny_llama(4), "Q4_1")
    return CompiledLlama(Gguf(path), threads=2)


def prompts(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 20, (count,), generator=generator).tolist()
    return [torch.randint(len(VOCABULARY), (n,), generator=generator).tolist() for n in lengths]


def choices(i):
    """Greedy, by chance, with penalties, and of other lengths."""
    return Decoding(
        max_new_tokens=3 + 4 * (i % 4), do_sample=i % 2 == 1, temperature=1.5, min_p=0.01,
        repetition_penalty=1 + i % 3 / 4, eos_token_id=i,
    )  # fmt: skip


def alone(model, prompt, how, seed):
    generator = torch.Generator().manual_seed(seed)
    return list(stream(model, model.new_cache(), prompt, how, generator=generator))


def gathered(batch, texts=None):
    texts = {} if texts is None else texts
    for one in batch.run():
        texts.setdefault(one.text, []).append(one.token)
    return texts


@pytest.mark.parametrize("most", [1, 3, 8, 20])
def test_a_text_is_written_as_if_alone(model, most):
    batch, asked = Batch(model, most=most), prompts(12)
    numbers = [batch.add(p, choices(i), seed=i) for i, p in enumerate(asked)]
    found = gathered(batch)
    for i, (number, prompt) in enumerate(zip(numbers, asked, strict=True)):
        assert found[number] == alone(model, prompt, choices(i), i)


def test_texts_join_and_leave_at_any_step(model):
    batch, asked, found = Batch(model, most=4), prompts(9, seed=1), {}
    numbers = []
    for i, prompt in enumerate(asked):
        numbers.append(batch.add(prompt, choices(i), seed=i))
        for one in batch.step():
            found.setdefault(one.text, []).append(one.token)
        assert len(batch.open) <= 4
    gathered(batch, found)
    for i, (number, prompt) in enumerate(zip(numbers, asked, strict=True)):
        assert found[number] == alone(model, prompt, choices(i), i)


@pytest.mark.parametrize("together", [False, True])
def test_a_prompt_that_texts_share_is_read_once(model, together):
    system = prompts(40, seed=2)[0] * 3
    asked = [[*system, *prompt] for prompt in prompts(5, seed=3)]
    batch, how, found = Batch(model), Decoding(max_new_tokens=5), {}
    for prompt in asked:
        batch.add(prompt, how)
        if not together:
            gathered(batch, found)
    gathered(batch, found)
    assert batch.read <= sum(map(len, asked)) - 4 * (len(system) - 1)
    assert list(found.values()) == [alone(model, prompt, how, 0) for prompt in asked]


def test_what_is_kept_is_bounded_and_nothing_may_be_kept(model):
    for kept in (0, 2):
        batch = Batch(model, kept=kept)
        for prompt in prompts(6):
            batch.add(prompt, Decoding(max_new_tokens=2))
        gathered(batch)
        assert len(batch.done) == kept


def test_a_text_that_is_given_up_is_written_no_further(model):
    batch = Batch(model, most=2)
    first, second, third = (batch.add(p, Decoding(max_new_tokens=6)) for p in prompts(3))
    assert {one.text for one in batch.step()} == {first, second}
    batch.cancel(first)
    batch.cancel(third)
    batch.cancel(99)
    found = gathered(batch)
    assert set(found) == {second}
    assert len(found[second]) == 5


def test_bad_texts_and_sizes_are_refused(model):
    batch = Batch(model)
    for prompt, how in (([], Decoding()), ([1], Decoding(num_beams=2))):
        with pytest.raises(ValueError, match="a prompt and num_beams=1"):
            batch.add(prompt, how)
    for sizes in ({"most": 0}, {"kept": -1}):
        with pytest.raises(ValueError, match="most must be at least 1 and kept 0"):
            Batch(model, **sizes)


def test_a_prompt_that_is_refused_leaves_the_others_alone(model):
    batch, how = Batch(model), Decoding(max_new_tokens=3)
    first = batch.add([1, 2], how)
    batch.step()
    batch.add([1] * (model.config.context + 1), how)
    with pytest.raises(ValueError, match="at most context"):
        batch.step()
    assert set(gathered(batch)) == {first}
