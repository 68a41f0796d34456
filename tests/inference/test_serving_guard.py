"""Whom the server answers: the right name, page, token, kind and size, and nobody else."""

import asyncio
import json
import socket
import time

import pytest

from orrery.inference.serving import guard
from tests.inference.serving import HI, running, tiny_service

TOKEN = "a-token-of-some-length"
LIMIT = 20_000
ROUTES = [
    ("GET", "/v1/models"), ("GET", "/v1/models/tiny"), ("GET", "/openapi.json"),
    ("GET", "/nothing"),
    ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"), ("POST", "/v1/embeddings"),
]  # fmt: skip
BODY = {"model": "tiny", "messages": HI, "max_tokens": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    service = tiny_service(tmp_path_factory.mktemp("llm"))
    with running(service, token=TOKEN, body_bytes=LIMIT) as one:
        yield one


def said(answer):
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return answer.status_code, error["code"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_wants_the_token(server, method, path):
    for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}",
                  TOKEN, "Bearer \u00e9"):  # fmt: skip
        answer = server.web.request(method, path, headers={"Authorization": wrong.encode()})
        assert said(answer) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text
    assert server.web.request(method, path).status_code != 401


def test_health_is_open_and_there_are_no_pages_of_others(server):
    assert server.web.get("/health", headers={"Authorization": ""}).json() == {"status": "ok"}
    for path in ("/docs", "/redoc"):
        assert server.web.get(path).status_code == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "", "[::2]",
     "127.0.0.1@evil", "0.0.0.0", "localhost:evil"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/health", "/v1/models"])
def test_another_name_is_refused(server, host, path):
    assert said(server.web.get(path, headers={"Host": host})) == (421, "bad_host")


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:1234", "127.0.0.1", "[::1]:8000", "[::1]"]
)
def test_this_machine_s_names_are_known(server, host):
    assert server.web.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/health")])
def test_pages_of_others_are_refused(server, method, path):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "file://", ""):
        answer = server.web.request(method, path, headers={"Origin": origin})
        assert said(answer) == (403, "bad_origin")
        assert "access-control-allow-origin" not in answer.headers
    assert server.web.request(method, path, headers={"Origin": server.address}).status_code != 403


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_a_body_must_say_that_it_is_json(server, kind):
    answer = server.web.post(
        "/v1/chat/completions", content=json.dumps(BODY), headers={"Content-Type": kind}
    )
    assert said(answer) == (400, None)
    assert "application/json" in answer.json()["error"]["message"]


def test_bodies_have_a_limit(server):
    def sized(count):
        body = json.dumps(BODY).encode()
        return body + b" " * (count - len(body))

    def chunks(count):
        yield from (sized(count)[i : i + 5000] for i in range(0, count, 5000))

    kind = {"Content-Type": "application/json"}
    for make in (sized, chunks):
        at_most = server.web.post("/v1/chat/completions", content=make(LIMIT), headers=kind)
        assert at_most.status_code == 200
        for count in (LIMIT + 1, 50 * LIMIT):
            beyond = server.web.post("/v1/chat/completions", content=make(count), headers=kind)
            assert said(beyond) == (413, "request_too_large")


def raw(server, text, seconds=10):
    """What comes back for these bytes."""
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as line:
        line.sendall(text.encode())
        found = b""
        while more := line.recv(65536):
            found += more
    return found.decode()


def head(*lines):
    return "\r\n".join(
        ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}",
         "Content-Type: application/json", "Connection: close", *lines, "", ""]
    )  # fmt: skip


def test_a_body_that_never_comes_is_not_waited_for(server, monkeypatch):
    start = time.monotonic()
    found = raw(server, head("Content-Length: 1000000000"))
    assert "413" in found.split("\r\n")[0]
    assert time.monotonic() - start < 2.5
    monkeypatch.setattr(server.server.config.app, "body_seconds", 0.2)
    assert "408" in raw(server, head("Content-Length: 100") + "{").split("\r\n")[0]


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "1", "null", '"a"', "\x00", '{"model":"tiny"', "[" * 9000, '{"a":' * 3000,
     '{"model":NaN}',
     '{"model":1e999}', '{"model":' + "9" * 5000 + "}", '{"model":"\\ud800"}', '{"\\ud800":1}'],
    ids=range(15),
)  # fmt: skip
def test_broken_bodies_are_refused_in_one_line(server, body):
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        answer = server.web.post(path, content=body, headers={"Content-Type": "application/json"})
        assert said(answer)[0] == 400
        assert answer.json()["error"]["message"].isprintable()
    spelled = '{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}'
    kind = {"Content-Type": "application/json"}
    answer = server.web.post("/v1/chat/completions", content=spelled, headers=kind)
    assert "lone surrogate" in answer.json()["error"]["message"]


@pytest.mark.parametrize("depth", [200, 980])
def test_what_is_nested_deeply_is_answered_or_refused(server, depth):
    nest = '{"properties": {"a": ' * (depth // 2) + "{}" + "}}" * (depth // 2)
    tool = f'{{"type": "function", "function": {{"name": "f", "parameters": {nest}}}}}'
    schema = f'{{"type": "json_schema", "json_schema": {{"name": "a", "schema": {nest}}}}}'
    for more in (f'"n": {"[" * depth + "]" * depth}', f'"tools": [{tool}]', f'"logit_bias": {nest}',
                 f'"tools": [{tool}], "tool_choice": "required"',
                 f'"response_format": {schema}', f'"{nest}": 1'.replace('"', "")):  # fmt: skip
        body = json.dumps(BODY)[:-1] + f", {more}}}"
        kind = {"Content-Type": "application/json"}
        answer = server.web.post("/v1/chat/completions", content=body, headers=kind)
        assert answer.status_code in (200, 400), answer.text


def test_answers_are_not_kept_and_say_what_they_are(server):
    for answer in (
        server.web.get("/v1/models"),
        server.web.post("/v1/chat/completions", json=BODY),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_other_protocols_are_closed():
    sent = []

    async def send(message):
        sent.append(message)

    async def never(*_):
        raise AssertionError

    asyncio.run(guard.Guard(never)({"type": "websocket"}, never, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
