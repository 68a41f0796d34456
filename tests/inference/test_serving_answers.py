"""What the server answers: streams are wholes in pieces, and nothing depends on who else asks."""

import threading

import openai
import pytest

from orrery.errors import MissingDataError
from orrery.inference.decoding import Decoding
from orrery.inference.serving.openai_api import Function
from orrery.inference.serving.service import Service
from orrery.inference.serving.tool_calls import CallWatch
from orrery.inference.streaming import stream
from tests.inference.serving import HI, running, tiny_model, tiny_service
from tests.inference.serving_cases import GO, SCHEMA, TOOLS, as_json

ASKED = {
    "plain": {"max_tokens": 40},
    "several": {"max_tokens": 12, "n": 3, "logprobs": True, "top_logprobs": 3},
    "stops": {"max_tokens": 40, "stop": ["A[", "y", "\x16"], "n": 3},
    "call": {"max_tokens": 60, "tools": TOOLS, "tool_choice": GO},
    "may call": {"max_tokens": 12, "tools": TOOLS, "n": 2},
    "json": {"max_tokens": 30, "response_format": as_json(SCHEMA), "n": 2},
    "likeliest": {"max_tokens": 20, "temperature": 0},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tiny_service(tmp_path_factory.mktemp("llm"))) as one:
        yield one


def chat(server, **asked):
    usual = {"model": "tiny", "messages": HI, "seed": 7}
    return server.client.chat.completions.create(**usual | asked)


def plain(choice):
    """A choice without the parts that are drawn anew each time."""
    calls = [(c.function.name, c.function.arguments) for c in choice.message.tool_calls or []]
    return choice.message.content, calls, choice.finish_reason, choice.logprobs


@pytest.mark.parametrize("kind", ASKED)
def test_a_stream_is_the_whole_in_pieces(server, kind):
    whole = chat(server, **ASKED[kind])
    events = [*chat(server, **ASKED[kind], stream=True, stream_options={"include_usage": True})]
    assert events[-1].usage == whole.usage
    assert not events[-1].choices
    for choice in whole.choices:
        mine = [c for event in events for c in event.choices if c.index == choice.index]
        assert mine[0].delta.role == "assistant"
        assert "".join(c.delta.content or "" for c in mine) == (choice.message.content or "")
        calls = [call.function for c in mine for call in c.delta.tool_calls or []]
        assert [(f.name, f.arguments) for f in calls] == plain(choice)[1]
        assert [c.finish_reason for c in mine if c.finish_reason] == [choice.finish_reason]
        if ASKED[kind].get("logprobs"):
            tokens = [one for c in mine if c.logprobs for one in c.logprobs.content]
            shown = choice.logprobs.content
            assert tokens == shown[: len(tokens)]
            assert len(shown) - len(tokens) <= 3  # what is cut off in the middle of a character


def test_completions_stream_too(server):
    asked = {"model": "tiny", "prompt": ["the", "hat"], "max_tokens": 20, "seed": 3, "echo": True}
    whole = server.client.completions.create(**asked)
    events = [*server.client.completions.create(**asked, stream=True)]
    for choice in whole.choices:
        mine = [c for event in events for c in event.choices if c.index == choice.index]
        assert "".join(c.text for c in mine) == choice.text
        assert mine[-1].finish_reason == choice.finish_reason


def test_tokens_are_those_of_the_engine_alone(server):
    model = server.service.model
    prompt = model.prompt(HI)
    how = Decoding(max_new_tokens=25, eos_token_id=model.end)
    tokens = stream(model.model, model.model.new_cache(), prompt, how)
    text = b"".join(model.bytes_of(t) for t in tokens if t != model.end)
    answer = chat(server, max_tokens=25, temperature=0)
    assert answer.choices[0].message.content == text.decode(errors="replace")
    assert answer.usage.prompt_tokens == len(prompt)


def test_the_same_request_has_the_same_answer_whoever_else_asks(server):
    alone = [plain(c) for kind in ASKED for c in chat(server, **ASKED[kind]).choices]
    beside = threading.Thread(
        target=lambda: [chat(server, max_tokens=30, seed=i, n=3) for i in range(3)]
    )
    beside.start()
    again = [plain(c) for kind in ASKED for c in chat(server, **ASKED[kind]).choices]
    beside.join()
    assert again == alone
    drawn = {chat(server, max_tokens=20, seed=None).choices[0].message.content for _ in range(3)}
    assert len(drawn) > 1


def test_logprobs_are_true(server):
    answer = chat(server, max_tokens=6, temperature=0, logprobs=True, top_logprobs=2)
    for one in answer.choices[0].logprobs.content:
        first, second = one.top_logprobs
        assert (first.token, first.logprob) == (one.token, pytest.approx(one.logprob, abs=1e-5))
        assert second.logprob <= first.logprob <= 0
    text = server.client.completions.create(
        model="tiny", prompt="the", max_tokens=6, temperature=0, logprobs=1
    )
    told = text.choices[0].logprobs
    assert [*told.text_offset] == [len("".join(told.tokens[:i])) for i in range(6)]
    for token, logprob, best in zip(
        told.tokens, told.token_logprobs, told.top_logprobs, strict=True
    ):
        assert best == {token: pytest.approx(logprob, abs=1e-5)}


def test_embeddings_are_the_same_as_text(server):
    asked = {"model": "letters", "input": ["eel", "bee", "cat"]}
    numbers = server.client.embeddings.create(**asked, encoding_format="float").data
    coded = server.client.embeddings.create(**asked).data  # the client asks for base64
    assert [one.embedding for one in numbers] == [one.embedding for one in coded]


def test_a_model_for_embeddings_may_be_missing(tmp_path):
    def fails():
        raise MissingDataError("there is no network")

    for embedder, status in ((None, 404), (("letters", fails), 503)):
        with running(Service(tiny_model(tmp_path), embedder=embedder)) as server:
            with pytest.raises(openai.APIStatusError) as caught:
                server.client.embeddings.create(model="letters", input="a")
            assert caught.value.status_code == status
            assert ("there is no network" in caught.value.body["message"]) == (status == 503)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ('{"name": "go", "arguments": {"at": "here"}}', True),
        (' \n{"name": "stay", "arguments": {}} ', True),
        ('{"name": "fly", "arguments": {}}', False),
        ('{"name": "go", "arguments": []}', False),
        ('{"name": ["go"], "arguments": {}}', False),
        ('{"name": "go", "arguments": {}', False),
        ("[" * 1500, False),
        ('{"a":' * 1500, False),
        ('go {"name": "go", "arguments": {}}', False),
        ("", False),
    ],
)
def test_a_text_is_a_call_only_if_it_is_one(text, call):
    watch = CallWatch([Function(name="go"), Function(name="stay")])
    shown = "".join(map(watch.push, text))
    rest, found = watch.end()
    assert (found is not None) == call
    assert shown + rest == ("" if call else text)
    free = CallWatch([])
    assert "".join(map(free.push, text)) == text
