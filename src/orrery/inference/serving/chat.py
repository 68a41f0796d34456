"""POST /v1/chat/completions: a conversation in, the next message out, whole or piece by piece."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orrery.errors import OrreryError
from orrery.inference.serving.answer import Answer, AnswerPiece, choices_of, room, unless_gone
from orrery.inference.serving.engine_loop import Asked, Event
from orrery.inference.serving.openai_api import ChatRequest, Function, SchemaFormat
from orrery.inference.serving.protocols import ServedModel
from orrery.inference.serving.refusal import Refusal, shown_line
from orrery.inference.serving.safe_constraint import SafeConstraint
from orrery.inference.serving.service import EventStream, Service
from orrery.inference.serving.tool_calls import CallWatch, conversation, schema_of_call, tools_of


@dataclass(slots=True)
class Chat:
    """A request that was looked through, and its answer."""

    service: Service
    request: ChatRequest
    functions: Sequence[Function]
    prompt: Sequence[int]
    answer: Answer

    def chunk(self, head: dict[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
        """An event of a stream."""
        told = self.request.stream_options
        usage = {"usage": None} if told is not None and told.include_usage else {}
        return {**head, "choices": choices, **usage}

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        """The answer as events."""
        head = self.service.head("chat.completion.chunk", "chatcmpl")
        texts = range(len(self.answer.texts))
        watches, tokens = [CallWatch(self.functions) for _ in texts], [list[Event]() for _ in texts]
        for i in texts:
            yield self.chunk(head, [choice(i, {"role": "assistant", "content": ""})])
        async for piece in self.answer.pieces():
            i = piece.place
            text = watches[i].push(piece.text)
            tokens[i] += [piece.event] if piece.event else []
            call = None
            if piece.finish:
                rest, call = watches[i].end()
                text += rest
            if text or call:
                shown, tokens[i] = tokens[i], []
                delta = {"tool_calls": [{"index": 0, **call}]} if call else {"content": text}
                yield self.chunk(head, [choice(i, delta, logprobs=self.logprobs(shown))])
            if piece.finish:
                finish = "tool_calls" if call else piece.finish
                yield self.chunk(head, [choice(i, {}, finish)])
        told = self.request.stream_options
        if told is not None and told.include_usage:
            yield {**head, "choices": [], "usage": self.answer.usage([self.prompt])}

    async def whole(self) -> dict[str, Any]:
        """The answer when it is done."""
        texts = [list[AnswerPiece]() for _ in self.answer.texts]
        async for piece in self.answer.pieces():
            texts[piece.place].append(piece)
        choices = []
        for i, pieces in enumerate(texts):
            watch = CallWatch(self.functions)
            shown = "".join(watch.push(piece.text) for piece in pieces)
            rest, call = watch.end()
            message: dict[str, Any] = {
                "role": "assistant", "content": None if call else shown + rest, "refusal": None,
            }  # fmt: skip
            if call:
                message["tool_calls"] = [call]
            finish = "tool_calls" if call else pieces[-1].finish
            logprobs = self.logprobs([piece.event for piece in pieces if piece.event])
            choices.append(
                {"index": i, "message": message, "logprobs": logprobs, "finish_reason": finish}
            )
        head = self.service.head("chat.completion", "chatcmpl")
        return {**head, "choices": choices, "usage": self.answer.usage([self.prompt])}

    def logprobs(self, events: Sequence[Event]) -> dict[str, Any] | None:
        """The tokens' chances, if they are asked for."""
        if not self.request.logprobs:
            return None
        model = self.service.model
        content = [
            {
                **chance(model, event.token, event.chance),
                "top_logprobs": [chance(model, *rival) for rival in event.likeliest],
            }
            for event in events
        ]
        return {"content": content, "refusal": None}


async def chat(service: Service, request: ChatRequest, http: Request) -> Response:
    """Answer a conversation.

    Raises:
        Refusal: what is asked for cannot be had.
    """
    service.check(request.model, service.model.name)
    request.refuse_unsupported()
    if request.top_logprobs and not request.logprobs:
        raise Refusal("top_logprobs needs logprobs to be true", "top_logprobs")
    if (request.n or 1) > service.engine.capacity:
        most = service.engine.capacity
        raise Refusal(f"n must be at most {most}, got {request.n}", "n")
    functions, must = tools_of(request)
    asked = await service.prepare.do(lambda: prepared(service.model, request, functions, must))
    answer = Answer(service.engine, service.model, asked, request.stops)
    talk = Chat(service, request, functions, asked[0].prompt, answer)
    if request.stream:
        return EventStream(answer, talk.stream())
    try:
        return JSONResponse(await unless_gone(http, talk.whole))
    finally:
        answer.cancel()


def prepared(
    model: ServedModel, request: ChatRequest, functions: Sequence[Function], must: bool
) -> list[Asked]:
    """The texts that are to be written.

    Raises:
        Refusal: the conversation or a schema is refused, or there is no room for an answer.
    """
    try:
        prompt = model.prompt(conversation(request.messages, functions, must))
    except OrreryError as error:
        raise Refusal(f"messages: {error}", "messages") from None
    limit = request.max_completion_tokens or request.max_tokens
    how = choices_of(request, model.end, room(prompt, limit, model.context, "messages"))
    keep = constraint_of(model, request, functions, must)
    first = secrets.randbits(62) if request.seed is None else request.seed
    return [
        Asked(
            prompt=prompt, how=how, seed=(first + i) % 2**63, constraint=keep(how.max_new_tokens),
            likeliest=request.top_logprobs or 0,
        )
        for i in range(request.n or 1)
    ]  # fmt: skip


def constraint_of(
    model: ServedModel, request: ChatRequest, functions: Sequence[Function], must: bool
) -> Callable[[int], SafeConstraint | None]:
    """What gives the constraint of a text of so many tokens.

    Raises:
        Refusal: stop strings would cut what is asked for; also when it is called, if the schema is
            refused.
    """
    wanted = request.response_format
    schema: dict[str, Any] = {"type": "object"}
    param, additional = "response_format", True
    if must:
        schema, param, additional = schema_of_call(functions), "tools", False
    elif wanted is None or wanted.type == "text":
        return lambda _: None
    elif isinstance(wanted, SchemaFormat):
        schema, additional = wanted.json_schema.schema_, not wanted.json_schema.strict
    if request.stops:
        raise Refusal(f"stop must be left out: it would cut what {param} asks for", "stop")

    def keep(most: int) -> SafeConstraint:
        try:
            inner = model.constraint_of(schema, additional=additional, most=most)
        except (ValueError, RecursionError) as error:
            raise Refusal(f"{param}: {shown_line(error)}", param) from None
        return SafeConstraint(inner, model.lock, model.vocab, model.end)

    return keep


def chance(model: ServedModel, token: int, logprob: float) -> dict[str, Any]:
    """A token as the API writes it."""
    data = model.bytes_of(token)
    return {"token": data.decode(errors="replace"), "logprob": logprob, "bytes": list(data)}


def choice(
    index: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None
) -> dict[str, Any]:
    """A choice of a chunk."""
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
