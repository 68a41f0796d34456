"""Requests as OpenAI's API has them; a field's description says what is allowed.

What the API knows and this server does not do is refused unless it asks for nothing
(`refuse_unsupported`); arguments that the API does not know are refused, as the API does.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from orrery.inference.serving.refusal import Refusal, shown

MOST_STOPS = 4
MOST_LIKELIEST = 20
MOST_INPUTS = 2048
Text = Annotated[str, Field(min_length=1)]
Token = Annotated[int, Field(ge=0)]
NAME = r"^[a-zA-Z0-9_-]{1,64}$"


class ExactBody(BaseModel):
    """Values are taken as they are: "1" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Lenient(BaseModel):
    """May hold more than is read, as answers do that come back as history."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class TextPart(ExactBody):
    """A piece of a message; only text is read."""

    type: Literal["text"]
    text: str


class CalledFunction(Lenient):
    """What was called, and with what: JSON as text."""

    name: str
    arguments: str


class ToolCall(Lenient):
    """A call that the assistant made earlier."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Said(Lenient):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Function(ExactBody):
    """A function that may be called; its parameters are a JSON schema."""

    name: str = Field(pattern=NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(ExactBody):
    """Only functions are known."""

    type: Literal["function"]
    function: Function


class FunctionName(ExactBody):
    """Which function."""

    name: str


class NamedTool(ExactBody):
    """The tool that must be called."""

    type: Literal["function"]
    function: FunctionName


class JsonSchema(ExactBody):
    """A schema with its name."""

    name: str = Field(pattern=NAME)
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class PlainFormat(ExactBody):
    """Text, or JSON of any kind."""

    type: Literal["text", "json_object"]


class SchemaFormat(ExactBody):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class StreamOptions(ExactBody):
    """What a stream tells besides."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Sampled(ExactBody):
    """What both kinds of answers take."""

    unsupported: ClassVar[dict[str, tuple[object, ...]]] = {
        "frequency_penalty": (None, 0), "presence_penalty": (None, 0), "logit_bias": (None, {}),
    }  # fmt: skip

    model: str = Field(description="the name of a model that /v1/models lists")
    n: int | None = Field(None, ge=1, le=128, description="in [1, 128]")
    temperature: float | None = Field(None, ge=0, le=2, description="in [0, 2]")
    top_p: float | None = Field(None, ge=0, le=1, description="in [0, 1]")
    seed: int | None = Field(
        None, ge=-(2**63), lt=2**63, description="a whole number in [-2^63, 2^63)"
    )
    stop: str | list[str] | None = Field(None, description="a string or up to 4 strings")
    stream: bool | None = Field(None, description="true or false")
    stream_options: StreamOptions | None = Field(
        None, description='an object like {"include_usage": true}'
    )
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="in [-2, 2]")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="in [-2, 2]")
    logit_bias: dict[str, float] | None = Field(None, description="an object of numbers")
    user: str | None = Field(None, description="a string; it is ignored")

    @property
    def stops(self) -> list[str]:
        """The stop strings.

        Raises:
            Refusal: one is empty, or there are too many.
        """
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > MOST_STOPS or "" in stops:
            text = f"stop must be a string or up to {MOST_STOPS} strings, none of them empty"
            raise Refusal(text, "stop")
        return stops

    def refuse_unsupported(self) -> None:
        """Refuse what is not done here, unless it asks for nothing.

        Raises:
            Refusal: an argument asks for something.
        """
        for name, allowed in self.unsupported.items():
            value = getattr(self, name)
            if value not in allowed:
                only = " or ".join(shown(one) for one in allowed if one is not None) or "left out"
                raise Refusal(
                    f"{name} must be {only}: this server does not do more; got {shown(value)}", name
                )
        if self.stream_options is not None and not self.stream:
            raise Refusal("stream_options must be left out unless stream is true", "stream_options")


class ChatRequest(Sampled):
    """Of POST /v1/chat/completions."""

    unsupported: ClassVar[dict[str, tuple[object, ...]]] = {
        **Sampled.unsupported, "modalities": (None, ["text"]), "audio": (None,),
        "prediction": (None,), "functions": (None,), "function_call": (None,),
    }  # fmt: skip

    messages: list[Said] = Field(
        min_length=1, description="a list of messages, each with a role and its content"
    )
    max_tokens: int | None = Field(None, ge=1, description="at least 1")
    max_completion_tokens: int | None = Field(None, ge=1, description="at least 1")
    logprobs: bool | None = Field(None, description="true or false")
    top_logprobs: int | None = Field(None, ge=0, le=MOST_LIKELIEST, description="in [0, 20]")
    tools: list[Tool] | None = Field(
        None, min_length=1, max_length=128, description="a list of 1 to 128 functions"
    )
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = Field(
        None, description="none, auto, required or an object that names a function"
    )
    parallel_tool_calls: bool | None = Field(None, description="true or false; it is ignored")
    response_format: PlainFormat | SchemaFormat | None = Field(
        None, description="an object of type text, json_object or json_schema"
    )
    modalities: list[str] | None = Field(None, description='["text"]')
    audio: dict[str, Any] | None = Field(None, description="left out")
    prediction: dict[str, Any] | None = Field(None, description="left out")
    functions: list[Any] | None = Field(None, description="left out: use tools")
    function_call: Any = Field(None, description="left out: use tool_choice")
    metadata: dict[str, str] | None = Field(None, description="strings by name; ignored")
    store: bool | None = Field(None, description="true or false; it is ignored")
    service_tier: str | None = Field(None, description="a string; it is ignored")
    safety_identifier: str | None = Field(None, description="a string; it is ignored")
    prompt_cache_key: str | None = Field(None, description="a string; it is ignored")


class CompletionRequest(Sampled):
    """Of POST /v1/completions."""

    unsupported: ClassVar[dict[str, tuple[object, ...]]] = {
        **Sampled.unsupported, "best_of": (None, 1), "suffix": (None, ""),
    }  # fmt: skip

    prompt: str | list[str] | list[Token] | list[list[Token]] = Field(
        description="a string, a list of strings, a list of tokens or a list of such lists"
    )
    max_tokens: int | None = Field(None, ge=1, description="at least 1")
    echo: bool | None = Field(None, description="true or false")
    logprobs: int | None = Field(None, ge=0, le=5, description="in [0, 5]")
    best_of: int | None = Field(None, ge=0, le=20, description="in [0, 20]")
    suffix: str | None = Field(None, description="a string")


class EmbeddingRequest(ExactBody):
    """Of POST /v1/embeddings."""

    model: str = Field(description="the name of a model that /v1/models lists")
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=MOST_INPUTS)] = Field(
        description=f"a string or a list of 1 to {MOST_INPUTS} strings, none of them empty"
    )
    encoding_format: Literal["float", "base64"] | None = Field(None, description="float or base64")
    dimensions: int | None = Field(None, ge=1, description="the model's own")
    user: str | None = Field(None, description="a string; it is ignored")
