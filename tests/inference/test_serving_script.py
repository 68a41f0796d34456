"""The official client's script: what it asks for is answered, what is wrong is refused clearly."""

import openai
import pytest

from tests.inference import serving_cases as cases
from tests.inference.serving import HI, running, tiny_service


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tiny_service(tmp_path_factory.mktemp("llm"))) as one:
        yield one


def ask(server, kind, asked):
    client = server.client
    if kind == "chat":
        usual = {"model": "tiny", "messages": HI, "max_tokens": 8, "seed": 1}
        return client.chat.completions.create(**usual | asked)
    if kind == "text":
        usual = {"model": "tiny", "prompt": "the hat", "max_tokens": 4, "seed": 1}
        return client.completions.create(**usual | asked)
    return client.embeddings.create(**{"model": "letters", "input": "eerie"} | asked)


def table(*kinds):
    rows = [
        (kind, *row)
        for kind, rows in zip(("chat", "text", "vector"), kinds, strict=True)
        for row in rows
    ]
    return rows


def name(value):
    return str(value)[:40] if isinstance(value, dict | str) else ""


@pytest.mark.parametrize(
    ("kind", "asked", "check"), table(cases.CHATS, cases.COMPLETIONS, cases.EMBEDDINGS), ids=name
)
def test_answered(server, kind, asked, check):
    assert check(ask(server, kind, asked))


@pytest.mark.parametrize(
    ("kind", "asked", "status", "words"),
    table(cases.CHAT_ERRORS, cases.COMPLETION_ERRORS, cases.EMBEDDING_ERRORS), ids=name,
)  # fmt: skip
def test_refused(server, kind, asked, status, words):
    with pytest.raises(openai.APIStatusError) as caught:
        ask(server, kind, asked)
    error = caught.value
    assert (error.status_code, error.type) == (status, "invalid_request_error")
    assert words in error.body["message"]
    assert "\n" not in error.body["message"]


def test_models(server):
    assert [one.id for one in server.client.models.list()] == ["tiny", "letters"]
    assert server.client.models.retrieve("letters").owned_by == "orrery"
    with pytest.raises(openai.NotFoundError, match="there is tiny and letters"):
        server.client.models.retrieve("some/thing")
    assert server.web.get("/health").json() == {"status": "ok"}
