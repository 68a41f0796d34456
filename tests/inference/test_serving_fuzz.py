"""Whatever is sent, the server does not fail: by its OpenAPI document, and by changed requests."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error

from tests.inference.serving import HI, running, tiny_service

KIND = {"Content-Type": "application/json"}
FUZZ = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
ASKED = {
    "/v1/chat/completions": {"model": "tiny", "messages": HI, "max_tokens": 2},
    "/v1/completions": {"model": "tiny", "prompt": "the", "max_tokens": 2},
    "/v1/embeddings": {"model": "letters", "input": "the"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["n", "stop", "seed", "tools", "tool_choice", "response_format", "temperature", "top_p", "echo",
     "logprobs", "top_logprobs", "stream", "stream_options", "messages", "prompt", "input", "user",
     "max_tokens", "logit_bias", "dimensions", "encoding_format", "model", "best_of"]
)  # fmt: skip
LIKELY = st.sampled_from(
    [0, 1, 2, -1, 2**63, 1e308, 0.5, "", "a", "json_object", [], {}, ["a"], [""], True, None,
     "\ud800",
     [{"role": "user", "content": "\ud800"}], [{"role": "tool", "content": []}], [[1], [2]],
     {"type": "json_object"}, {"include_usage": True}, "required", "base64",
     {"type": "json_schema", "json_schema": {"name": "a", "schema": {"pattern": "(" * 99}}},
     {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "#"}}},
     [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]]
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tiny_service(tmp_path_factory.mktemp("llm"))) as one:
        yield one


def check(answer):
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"].isprintable()


def test_the_openapi_document_says_what_may_be_sent(server):
    document = server.web.get("/openapi.json").json()
    assert ASKED.keys() <= document["paths"].keys()
    for path in ASKED:
        assert "422" not in document["paths"][path]["post"]["responses"]
    schema = schemathesis.openapi.from_dict(document)
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(FUZZ, max_examples=6)
        def fuzz(case):
            answer = case.call(base_url=server.address)
            case.validate_response(answer, checks=[not_a_server_error])

        fuzz()


@FUZZ
@given(path=st.sampled_from([*ASKED]), changes=st.dictionaries(NAMES, JSON | LIKELY, max_size=3))
def test_changed_requests_are_answered_or_refused(server, path, changes):
    changes = {"max_tokens": 2} | changes
    if changes.get("n") is not None and changes["n"] != 0:
        changes["n"] = 2
    body = json.dumps(ASKED[path] | changes)
    check(server.web.post(path, content=body, headers=KIND))


@FUZZ
@given(path=st.sampled_from([*ASKED]), body=st.binary(max_size=60) | JSON.map(json.dumps))
def test_bodies_of_any_kind_are_refused(server, path, body):
    answer = server.web.post(path, content=body, headers=KIND)
    check(answer)
    assert answer.status_code == 400
