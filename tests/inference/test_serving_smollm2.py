"""The real models behind the server, where their files can be had."""

import json

import pytest
import torch

from orrery.cli.serve import EMBEDDER, LocalModel, service_of
from orrery.data import minilm, smollm2
from orrery.systems.language.local_llm import LocalLlm
from orrery.systems.language.sentence_embedding import SentenceEncoder
from tests.data.test_sets import have
from tests.inference.serving import running


@pytest.fixture(scope="module")
def server():
    with running(service_of(LocalModel(LocalLlm(have(smollm2).load())))) as one:
        yield one


def test_it_knows_the_capital_of_france_and_answers_by_a_schema(server):
    (name, _) = server.service.names
    asked = {"model": name, "temperature": 0, "max_tokens": 16}
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    answer = server.client.chat.completions.create(messages=messages, **asked)
    assert name == "SmolLM2-135M-Instruct"
    assert "Paris" in answer.choices[0].message.content
    schema = {"type": "object", "properties": {"capital": {"type": "string"}},
              "required": ["capital"], "additionalProperties": False}  # fmt: skip
    wanted = {"type": "json_schema", "json_schema": {"name": "q", "schema": schema, "strict": True}}
    kept = server.client.chat.completions.create(messages=messages, response_format=wanted, **asked)
    assert "Paris" in json.loads(kept.choices[0].message.content)["capital"]


def test_embeddings_are_those_of_the_encoder(server):
    texts = ["A cat sits.", "Ein Haus", "The weather is fine today, is it not?"]
    encoder = SentenceEncoder.from_pretrained(have(minilm).folder())
    answer = server.client.embeddings.create(model=EMBEDDER, input=texts)
    found = torch.tensor([one.embedding for one in answer.data])
    torch.testing.assert_close(found, encoder.encode(texts))
    assert answer.usage.prompt_tokens == sum(len(encoder.reader.numbers(text)) for text in texts)
