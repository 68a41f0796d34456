"""What a client asks of the server of tests.inference.serving, and what it must hear."""

import json

SCHEMA = {
    "type": "object", "properties": {"n": {"type": "integer"}, "s": {"enum": ["x", "y"]}},
    "required": ["n", "s"], "additionalProperties": False,
}  # fmt: skip
PICK = {"type": "object", "properties": {"at": {"enum": ["here", "there"]}}, "required": ["at"]}
TOOLS = [
    {"type": "function", "function": {"name": "go", "description": "Go.", "parameters": PICK}},
    {"type": "function", "function": {"name": "stay"}},
]
GO = {"type": "function", "function": {"name": "go"}}
CALL = {"id": "1", "type": "function", "function": {"name": "go", "arguments": '{"at": "here"}'}}
HISTORY = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Go."}, {"type": "text", "text": "!"}]},
    {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "gone"},
]


def as_json(wanted, strict=True):
    return {
        "type": "json_schema", "json_schema": {"name": "q", "schema": wanted, "strict": strict}
    }  # fmt: skip


def called(name):
    def check(answer):
        (call,) = answer.choices[0].message.tool_calls
        assert (call.function.name, answer.choices[0].finish_reason) == (name, "tool_calls")
        assert isinstance(json.loads(call.function.arguments), dict)
        return True

    return check


def rivals(answer):
    return answer.choices[0].logprobs.content[-1].top_logprobs


def parsed(answer):
    return json.loads(answer.choices[0].message.content)


def called_any(answer):
    return called(answer.choices[0].message.tool_calls[0].function.name)(answer)


CHATS = [
    ({}, lambda a: a.choices[0].finish_reason == "length" and a.usage.completion_tokens == 8),
    ({"n": 3}, lambda a: [c.index for c in a.choices] == [0, 1, 2]),
    ({"max_completion_tokens": 2}, lambda a: a.usage.completion_tokens == 2),
    ({"temperature": 0}, lambda a: a.choices[0].message.role == "assistant"),
    ({"temperature": 1e-9}, lambda a: a.choices),
    ({"temperature": 2, "top_p": 0.5}, lambda a: a.choices),
    ({"top_p": 0}, lambda a: a.choices),
    ({"seed": -5}, lambda a: a.choices),
    ({"stop": "\n"}, lambda a: "\n" not in a.choices[0].message.content),
    ({"stop": ["a", "b", "c", "d"]}, lambda a: not set("abcd") & {*a.choices[0].message.content}),
    ({"stop": None, "n": None, "logprobs": None}, lambda a: a.choices[0].logprobs is None),
    ({"logprobs": True}, lambda a: len(a.choices[0].logprobs.content) == 8),
    ({"logprobs": True, "top_logprobs": 20}, lambda a: len(rivals(a)) == 20),
    ({"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}}, lambda a: a.choices),
    ({"user": "me", "metadata": {"a": "b"}, "store": False}, lambda a: a.choices),
    ({"messages": HISTORY}, lambda a: a.usage.prompt_tokens > 60),
    ({"tools": TOOLS, "tool_choice": "none"}, lambda a: a.choices[0].message.tool_calls is None),
    ({"tools": TOOLS}, lambda a: a.choices[0].finish_reason == "length"),
    ({"tools": TOOLS, "tool_choice": "required", "max_tokens": 60}, lambda a: called_any(a)),
    ({"tools": TOOLS, "tool_choice": GO, "max_tokens": 60}, called("go")),
    ({"tools": TOOLS[1:], "tool_choice": "required", "max_tokens": 60}, called("stay")),
    ({"response_format": {"type": "text"}}, lambda a: a.choices),
    ({"response_format": {"type": "json_object"}}, lambda a: isinstance(parsed(a), dict)),
    ({"response_format": as_json(SCHEMA), "max_tokens": 30}, lambda a: parsed(a).keys() == {*"ns"}),
    ({"response_format": as_json({"enum": [1]}, None)}, lambda a: parsed(a) == 1),
]
CHAT_ERRORS = [
    ({"model": "nothing"}, 404, "there is tiny"),
    ({"model": "letters"}, 404, "there is tiny"),
    ({"messages": []}, 400, "messages must be a list"),
    ({"messages": [{"role": "king", "content": ""}]}, 400, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, 400, "messages[0].content is required"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "content[0]"),
    ({"messages": [{"role": "user", "content": "a" * 1100}]}, 400, "maximum context length is"),
    ({"max_tokens": 0}, 400, "max_tokens must be at least 1, got 0"),
    ({"max_tokens": 5000}, 400, "5000 in the answer"),
    ({"n": 0}, 400, "n must be in [1, 128], got 0"),
    ({"n": 1.5}, 400, "n must be in [1, 128], got 1.5"),
    ({"n": 100}, 400, "n must be at most 72"),
    ({"temperature": 2.5}, 400, "temperature must be in [0, 2], got 2.5"),
    ({"temperature": "1"}, 400, "temperature must be in [0, 2], got '1'"),
    ({"top_p": -0.1}, 400, "top_p must be in [0, 1], got -0.1"),
    ({"seed": 2**63}, 400, "seed must be a whole number in"),
    ({"stop": [""]}, 400, "none of them empty"),
    ({"stop": [*"abcde"]}, 400, "up to 4 strings"),
    ({"top_logprobs": 2}, 400, "top_logprobs needs logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs must be in [0, 20], got 21"),
    ({"presence_penalty": 1}, 400, "presence_penalty must be 0"),
    ({"frequency_penalty": 3}, 400, "frequency_penalty must be in [-2, 2], got 3"),
    ({"stream_options": {"include_usage": True}}, 400, "unless stream is true"),
    ({"tool_choice": "required"}, 400, "only allowed when tools are given"),
    ({"tools": []}, 400, "tools must be a list of 1 to 128 functions"),
    ({"tools": TOOLS[:1] * 2}, 400, "a name of its own"),
    ({"tools": TOOLS[1:], "tool_choice": GO}, 400, "must name one of the tools: stay"),
    ({"response_format": as_json({"type": "king"})}, 400, "response_format: schema at #"),
    ({"response_format": as_json({"enum": ["a" * 70_000]})}, 400, "at most 65536 characters"),
    ({"response_format": as_json(SCHEMA), "max_tokens": 2}, 400, "2 are allowed"),
    ({"response_format": as_json(SCHEMA), "stop": "x"}, 400, "stop must be left out"),
    ({"extra_body": {"best": 1}}, 400, "Unrecognized request argument supplied: best"),
]
COMPLETIONS = [
    ({}, lambda a: a.usage.prompt_tokens == 5 and a.choices[0].finish_reason == "length"),
    ({"echo": True}, lambda a: a.choices[0].text.startswith("the hat")),
    ({"prompt": ["the", "hat"], "n": 2}, lambda a: len(a.choices) == 4),
    ({"prompt": [5, 6, 7]}, lambda a: a.usage.prompt_tokens == 3),
    ({"prompt": [[5, 6], [7]], "echo": True}, lambda a: a.usage.total_tokens == 11),
    ({"max_tokens": None}, lambda a: a.usage.completion_tokens == 16),
    ({"logprobs": 2}, lambda a: len(a.choices[0].logprobs.tokens) == 4),
]
COMPLETION_ERRORS = [
    ({"prompt": ""}, 400, "prompt must have a token"),
    ({"prompt": []}, 400, "prompt must have a token"),
    ({"prompt": [1, "a"]}, 400, "prompt must be a string, a list of strings, a list of tokens"),
    ({"prompt": [9999]}, 400, "prompt must have tokens in [0, 262)"),
    ({"prompt": ["a"] * 73}, 400, "at most 72 texts, got 73"),
    ({"best_of": 2}, 400, "best_of must be 1"),
    ({"echo": True, "logprobs": 0}, 400, "logprobs must be left out with echo"),
]
EMBEDDINGS = [
    ({}, lambda a: a.data[0].embedding == [5.0, 3.0]),
    ({"input": ["e", "ab"]}, lambda a: [one.embedding[0] for one in a.data] == [1.0, 2.0]),
    ({"encoding_format": "float", "dimensions": 2}, lambda a: a.usage.total_tokens == 5),
    ({"input": ["e"] * 70}, lambda a: a.data[69].index == 69),
]
EMBEDDING_ERRORS = [
    ({"model": "tiny"}, 404, "there is letters"),
    ({"input": ""}, 400, "none of them empty"),
    ({"input": []}, 400, "a list of 1 to 2048 strings"),
    ({"input": [1, 2]}, 400, "a list of 1 to 2048 strings"),
    ({"input": "e" * 41}, 400, "at most 40 tokens, got 41"),
    ({"dimensions": 3}, 400, "dimensions must be 2"),
    ({"encoding_format": "hex"}, 400, "encoding_format must be float or base64, got 'hex'"),
]
