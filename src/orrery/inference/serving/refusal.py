"""What is wrong with a request, in the form that OpenAI's clients know, in one clear line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from starlette.responses import Response

from orrery.inference.serving.engine_loop import ClosingError, QueueFullError

LONGEST_SHOWN = 60
RETRY_SECONDS = 1


class Refusal(Exception):  # noqa: N818  (most often the request is in error, not the server)
    """An answer that says no."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        *,
        status: int = 400,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say why.

        Args:
            message: one line.
            param: the argument that it is about.
            status: of HTTP.
            code: for programs.
            headers: that go with it.
        """
        super().__init__(message)
        self.message, self.param, self.status, self.code = message, param, status, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI writes it."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": self.message, "type": kinds.get(self.status, kind),
                "param": self.param, "code": self.code,
            }
        }  # fmt: skip

    def response(self) -> Response:
        """The error as an answer; letters beyond ASCII are spelled out, even halves of one."""
        return Response(json.dumps(self.body), self.status, self.headers, "application/json")


def refusal_of(error: Exception) -> Refusal:
    """What a client is told when the engine ends its request."""
    retry = {"Retry-After": str(RETRY_SECONDS)}
    if isinstance(error, Refusal):
        return error
    if isinstance(error, QueueFullError):
        text = "the queue is full; ask again later"
        return Refusal(text, status=429, code="queue_full", headers=retry)
    if isinstance(error, ClosingError):
        text = "the server is shutting down"
        return Refusal(text, status=503, code="shutting_down", headers=retry)
    return Refusal(f"the server failed: {type(error).__name__}", status=500, code="server_error")


def shown(value: object) -> str:
    """A value as a message shows it: short, on one line, ASCII."""
    try:
        text = ascii(value)
    except RecursionError:
        text = f"a deep {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def shown_line(error: Exception) -> str:
    """What an error says, on one line of ASCII."""
    text = ascii(" ".join(str(error).split()) or type(error).__name__)
    return text[1:-1][:300]


def refusal_of_body(errors: Sequence[Any], model: type[BaseModel] | None) -> Refusal:
    """What is wrong with a body, from the errors that pydantic found in it.

    Args:
        errors: each with its type, place, message and input.
        model: that the body was read as; its fields' descriptions say what is allowed.
    """
    unknown = [e for e in errors if e["type"] == "extra_forbidden" and len(e["loc"]) == 2]
    if unknown:
        name = shown(str(unknown[0]["loc"][1]))[1:-1]
        return Refusal(f"Unrecognized request argument supplied: {name}", name)
    # Of a choice of kinds each says what does not fit; the last one looks deepest.
    error = [e for e in errors if e["loc"][1:2] == errors[0]["loc"][1:2]][-1]
    place = list(error["loc"][1:])
    if error["type"] == "json_invalid":
        return Refusal("the body is not JSON")
    if not place or not isinstance(place[0], str):
        return Refusal("the body must be a JSON object, its Content-Type application/json")
    name = place[0]
    if error["type"] == "missing" and len(place) == 1:
        return Refusal(f"{name} is required", name)
    field = model.model_fields.get(name) if model else None
    allowed = field.description if field is not None and field.description else "as documented"
    path, value = _path(place), error.get("input", PydanticUndefined)
    inside = "" if path == name else f" ({path}: {error['msg']})"
    return Refusal(f"{name} must be {allowed}, got {shown(value)}{inside}", path)


def _path(place: Sequence[str | int]) -> str:
    """As OpenAI writes it: messages[0].content; without pydantic's names of kinds."""
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part.islower() and part not in ("str", "list"):
            path += f".{part}" if path else part
    return path
