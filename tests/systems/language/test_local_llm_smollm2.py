"""The real model that comes with orrery, where its file can be had."""

from tests.data.test_sets import have

from orrery.data import smollm2
from orrery.inference.gguf import Gguf
from orrery.systems.language.local_llm import LocalLlm


def test_the_file_is_what_its_card_says():
    file = Gguf(have(smollm2).load())
    numbers = sum(
        one.size // one.format.bytes * one.format.numbers for one in file.tensors.values()
    )
    assert {"tensors": len(file.tensors), "numbers": numbers} == smollm2.CARD.counts


def test_it_knows_the_capital_of_france():
    model = LocalLlm(have(smollm2).load())
    prompt = model.prompt([{"role": "user", "content": "What is the capital of France?"}])
    assert "Paris" in "".join(model.write(prompt, max_new_tokens=12))
    assert model.model.bytes < 130e6
