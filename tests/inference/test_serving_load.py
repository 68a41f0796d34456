"""Clients that leave, too many of them, and a server that is told to end."""

import httpx2
import openai
import pytest

from orrery.inference.serving import service as services
from tests.inference.serving import HI, running, unending_service, until

ASKED = {"model": "tiny", "messages": HI, "max_tokens": 900}


@pytest.fixture
def server(tmp_path):
    with running(unending_service(tmp_path, 0.004, texts=2, queue=2)) as one:
        yield one


def chat(server, **more):
    return server.client.chat.completions.create(**ASKED | more)


def load(server):
    return server.service.engine.load


def is_idle(server):
    until(lambda: load(server) == (0, 0))
    before = server.service.model.model.steps
    chat(server, max_tokens=3)
    return server.service.model.model.steps - before == 3


def test_a_client_that_leaves_a_stream_is_written_for_no_longer(server):
    with chat(server, stream=True, n=2) as stream:
        for _ in range(6):
            next(stream)
        assert load(server) == (2, 0)
    assert is_idle(server)


def test_a_client_that_leaves_before_its_answer_is_written_for_no_longer(server):
    for path, body in (
        ("/v1/chat/completions", ASKED),
        ("/v1/completions", {"model": "tiny", "prompt": ["a", "b", "c"], "max_tokens": 900}),
    ):
        with pytest.raises(httpx2.ReadTimeout):
            server.web.post(path, json=body, timeout=0.3)
        assert is_idle(server)


def test_a_full_queue_says_when_to_come_again(server):
    with chat(server, stream=True, n=3), chat(server, stream=True):
        with pytest.raises(openai.RateLimitError) as caught:
            chat(server, stream=True)
        assert caught.value.response.headers["retry-after"] == "1"
        assert caught.value.body["code"] == "queue_full"
    assert is_idle(server)
    assert chat(server, max_tokens=2, n=4).usage.completion_tokens == 8


def test_a_short_request_does_not_wait_for_a_long_one(server):
    with chat(server, stream=True) as long:
        next(long)
        assert chat(server, max_tokens=3).usage.completion_tokens == 3
        assert load(server) == (1, 0)


def test_a_step_that_breaks_ends_what_is_open_and_no_more(server, caplog):
    model = server.service.model.model
    with chat(server, stream=True) as stream:
        next(stream)
        model.broken = True
        with pytest.raises(openai.APIError, match="the server failed: EngineError"):
            for _ in stream:
                pass
    assert "the step broke" in caplog.text
    with pytest.raises(openai.InternalServerError, match="the server failed"):
        chat(server)
    model.broken = False
    assert chat(server, max_tokens=5).usage.completion_tokens == 5


def test_the_end_gives_open_answers_theirs(server, monkeypatch):
    monkeypatch.setattr(services, "GRACE_SECONDS", 1.0)
    with chat(server, stream=True) as long, chat(server, stream=True, max_tokens=8) as short:
        next(long)
        server.service.close()
        with pytest.raises(openai.InternalServerError) as caught:
            chat(server)
        assert (caught.value.status_code, caught.value.body["code"]) == (503, "shutting_down")
        assert caught.value.response.headers["retry-after"] == "1"
        assert server.web.get("/health").status_code == 503
        assert [*short][-1].choices[0].finish_reason == "length"  # it had time
        with pytest.raises(openai.APIError, match="shutting down"):
            for _ in long:
                pass
