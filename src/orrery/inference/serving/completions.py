"""POST /v1/completions: texts in, what follows them out."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orrery.inference.serving.answer import Answer, choices_of, room, unless_gone
from orrery.inference.serving.engine_loop import Asked, Event
from orrery.inference.serving.openai_api import CompletionRequest
from orrery.inference.serving.protocols import ServedModel
from orrery.inference.serving.refusal import Refusal
from orrery.inference.serving.service import EventStream, Service

USUAL_TOKENS = 16
"""Of an answer, if the request does not say; as in OpenAI's API."""


@dataclass(slots=True)
class Completion:
    """A request that was looked through, and its answer."""

    service: Service
    request: CompletionRequest
    prompts: Sequence[Sequence[int]]
    answer: Answer

    def beginning(self, place: int) -> str:
        """What stands before an answer: its prompt, if that is to be said again."""
        if not self.request.echo:
            return ""
        prompt = self.prompts[place // (self.request.n or 1)]
        return b"".join(map(self.service.model.bytes_of, prompt)).decode(errors="replace")

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        """The answer as events."""
        head = self.service.head("text_completion", "cmpl")
        told = self.request.stream_options
        usage = told is not None and told.include_usage
        begun = [self.beginning(i) for i in range(len(self.answer.texts))]
        size, tokens = list(map(len, begun)), [list[Event]() for _ in begun]
        async for piece in self.answer.pieces():
            i = piece.place
            text, begun[i] = begun[i] + piece.text, ""
            tokens[i] += [piece.event] if piece.event else []
            if text or piece.finish:
                logprobs, tokens[i] = self.logprobs(tokens[i], size[i]), []
                size[i] += len(piece.text)
                choice = {"index": i, "text": text, "logprobs": logprobs}
                choice["finish_reason"] = piece.finish
                yield {**head, "choices": [choice], **({"usage": None} if usage else {})}
        if usage:
            yield {**head, "choices": [], "usage": self.answer.usage(self.prompts)}

    async def whole(self) -> dict[str, Any]:
        """The answer when it is done."""
        choices: list[dict[str, Any]] = [
            {"index": i, "text": self.beginning(i)} for i in range(len(self.answer.texts))
        ]
        tokens, sizes = [list[Event]() for _ in choices], [len(one["text"]) for one in choices]
        async for piece in self.answer.pieces():
            choice = choices[piece.place]
            choice["text"] += piece.text
            choice["finish_reason"] = piece.finish
            tokens[piece.place] += [piece.event] if piece.event else []
        for choice, events, size in zip(choices, tokens, sizes, strict=True):
            choice["logprobs"] = self.logprobs(events, size)
        head = self.service.head("text_completion", "cmpl")
        return {**head, "choices": choices, "usage": self.answer.usage(self.prompts)}

    def logprobs(self, events: Sequence[Event], offset: int) -> dict[str, Any] | None:
        """The tokens' chances, if they are asked for.

        Args:
            events: the tokens.
            offset: characters before them.
        """
        if self.request.logprobs is None:
            return None
        model = self.service.model
        words = [text_of(model, event.token) for event in events]
        return {
            "tokens": words,
            "token_logprobs": [event.chance for event in events],
            "top_logprobs": [
                {text_of(model, token): chance for token, chance in reversed(event.likeliest)}
                for event in events
            ],
            "text_offset": list(accumulate(map(len, words[:-1]), initial=offset))[: len(words)],
        }


async def complete(service: Service, request: CompletionRequest, http: Request) -> Response:
    """Write texts on.

    Raises:
        Refusal: what is asked for cannot be had.
    """
    service.check(request.model, service.model.name)
    request.refuse_unsupported()
    if request.echo and request.logprobs is not None:
        raise Refusal("logprobs must be left out with echo: prompts have none here", "logprobs")
    asked = await service.prepare.do(lambda: prepared_texts(service, request))
    answer = Answer(service.engine, service.model, asked, request.stops)
    prompts = [one.prompt for one in asked[:: request.n or 1]]
    work = Completion(service, request, prompts, answer)
    if request.stream:
        return EventStream(answer, work.stream())
    try:
        return JSONResponse(await unless_gone(http, work.whole))
    finally:
        answer.cancel()


def prepared_texts(service: Service, request: CompletionRequest) -> list[Asked]:
    """The texts that are to be written: n of the first prompt, then of the second and so on.

    Raises:
        Refusal: a prompt is empty, too long or of tokens that are none, or there are too many.
    """
    model, given = service.model, request.prompt
    several = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given
    count = len(several) * (request.n or 1)
    if count > service.engine.capacity:
        most = service.engine.capacity
        raise Refusal(f"prompt must ask for at most {most} texts, got {count}", "prompt")
    prompts = [model.encode(one) if isinstance(one, str) else list(one) for one in several]  # type: ignore[arg-type]
    if not prompts or not all(prompts):
        raise Refusal("prompt must have a token at least", "prompt")
    if max(map(max, prompts)) >= model.vocab:
        raise Refusal(f"prompt must have tokens in [0, {model.vocab})", "prompt")
    first = secrets.randbits(62) if request.seed is None else request.seed
    asked = list[Asked]()
    for prompt in prompts:
        most = room(prompt, request.max_tokens or USUAL_TOKENS, model.context, "prompt")
        for _ in range(request.n or 1):
            asked.append(
                Asked(
                    prompt=prompt, how=choices_of(request, model.end, most),
                    seed=(first + len(asked)) % 2**63, likeliest=request.logprobs or 0,
                )
            )  # fmt: skip
    return asked


def text_of(model: ServedModel, token: int) -> str:
    """A token as text."""
    return model.bytes_of(token).decode(errors="replace")
