"""Functions that the model may call: how it is told of them, and how a call is read.

Templates differ in whether they know of functions, so all models are told in a system message and
answer with a JSON object. An answer that must be a call is kept to its schema; one that may be a
call is one if it is such an object.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from orrery.inference.serving.openai_api import ChatRequest, Function, NamedTool, Said
from orrery.inference.serving.refusal import Refusal

Message = Mapping[str, str]
TOLD = """\
You can call these functions; each parameters is a JSON schema:
{functions}
To call one, answer with nothing but a JSON object: \
{{"name": the function's name, "arguments": an object of its parameters}}."""
MUST = "\nYou must call one of them now."


def tools_of(request: ChatRequest) -> tuple[list[Function], bool]:
    """The functions that may be called, and whether one must be.

    Raises:
        Refusal: a name is there twice, or the choice fits no function.
    """
    functions = [tool.function for tool in request.tools or []]
    names = [function.name for function in functions]
    choice = request.tool_choice
    if len(set(names)) < len(names):
        raise Refusal("tools must have a name of its own each", "tools")
    if choice is not None and choice != "none" and not functions:
        raise Refusal("tool_choice is only allowed when tools are given", "tool_choice")
    if isinstance(choice, NamedTool):
        if choice.function.name not in names:
            text = f"tool_choice must name one of the tools: {', '.join(names)}"
            raise Refusal(text, "tool_choice")
        return [f for f in functions if f.name == choice.function.name], True
    return [] if choice == "none" else functions, choice == "required"


def schema_of_call(functions: Sequence[Function]) -> dict[str, Any]:
    """The JSON schema of a call of any of these."""
    kinds = [
        {
            "type": "object",
            "properties": {
                "name": {"const": function.name},
                "arguments": arguments_of(function),
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for function in functions
    ]
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def arguments_of(function: Function) -> dict[str, Any]:
    """The schema of a call's arguments; one that lists no properties leaves them open."""
    if not function.parameters:
        return {"type": "object", "properties": {}}
    known = {"properties", "additionalProperties", "$ref", "anyOf", "oneOf", "allOf"}
    if known & function.parameters.keys():
        return function.parameters
    return {**function.parameters, "additionalProperties": True}


def conversation(
    messages: Sequence[Said], functions: Sequence[Function], must: bool
) -> list[Message]:
    """The messages as a template takes them, with word of the functions.

    Raises:
        Refusal: a message says nothing, or a function's schema is too deep.
    """
    said = [_plain(message, i) for i, message in enumerate(messages)]
    if not functions:
        return said
    try:
        lines = "\n".join(map(_line, functions))
    except RecursionError:
        raise Refusal("tools are nested too deeply", "tools") from None
    told = TOLD.format(functions=lines) + (MUST if must else "")
    if said and said[0]["role"] == "system":
        return [{"role": "system", "content": f"{said[0]['content']}\n\n{told}"}, *said[1:]]
    return [{"role": "system", "content": told}, *said]


def _line(function: Function) -> str:
    known = {
        "name": function.name, "description": function.description,
        "parameters": function.parameters,
    }  # fmt: skip
    told = {name: value for name, value in known.items() if value is not None}
    return json.dumps(told, ensure_ascii=False)


def _plain(message: Said, at: int) -> Message:
    """Of role system, user or assistant; a call is the object that it was made with."""
    content = message.content
    if isinstance(content, list):
        content = "\n".join(part.text for part in content)
    if message.role == "assistant" and message.tool_calls:
        calls = [
            f'{{"name": {json.dumps(call.function.name)}, "arguments": {call.function.arguments}}}'
            for call in message.tool_calls
        ]
        content = "\n".join([*filter(None, [content]), *calls])
    if content is None:
        raise Refusal(f"messages[{at}].content is required", f"messages[{at}].content")
    if message.role == "tool":
        return {"role": "user", "content": f"The function answered: {content}"}
    return {"role": "system" if message.role == "developer" else message.role, "content": content}


def call_in(text: str, functions: Sequence[Function]) -> dict[str, Any] | None:
    """The call that a text is, if it is one."""
    try:
        read = json.loads(text) if text.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict) or read.keys() != {"name", "arguments"}:
        return None
    if not isinstance(read["arguments"], dict) or read["name"] not in [f.name for f in functions]:
        return None
    return {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": read["name"], "arguments": json.dumps(read["arguments"])},
    }


class CallWatch:
    """Holds a text back while it may turn out to be a call."""

    def __init__(self, functions: Sequence[Function]) -> None:
        """Watch for calls of these; of none, nothing is held."""
        self.functions = functions
        self._held, self._plain, self._object = "", not functions, False

    def push(self, text: str) -> str:
        """What can be shown."""
        self._held += text
        if not (self._plain or self._object) and self._held.strip():
            self._object = self._held.lstrip().startswith("{")
            self._plain = not self._object
        return self._take() if self._plain else ""

    def end(self) -> tuple[str, dict[str, Any] | None]:
        """What is left to be shown, and the call if it was one."""
        call = None if self._plain else call_in(self._held, self.functions)
        return ("" if call else self._take()), call

    def _take(self) -> str:
        shown, self._held = self._held, ""
        return shown
