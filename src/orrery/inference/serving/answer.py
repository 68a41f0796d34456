"""The texts that a request asked for, as their tokens come out of the engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from orrery.inference.decoding import Decoding
from orrery.inference.serving.engine_loop import Asked, EngineLoop, Event
from orrery.inference.serving.openai_api import Sampled
from orrery.inference.serving.protocols import ServedModel
from orrery.inference.serving.refusal import Refusal, refusal_of, shown
from orrery.inference.streaming import TextPieces

LEAST_TEMPERATURE = 1e-3
"""Below it the likeliest token is taken: scores divided by less are beyond single precision."""


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """What one more token of a text made certain."""

    place: int
    text: str
    event: Event | None
    """The token; None if it is the one that ends a text."""
    finish: str | None
    """Why the text ends with this: stop or length."""


class Writing:
    """One text: its tokens so far."""

    def __init__(self, model: ServedModel, stops: Sequence[str]) -> None:
        """Begin with none."""
        self.model, self.tokens, self.finish = model, 0, ""
        self._pieces = TextPieces(stops)

    def push(self, event: Event) -> AnswerPiece:
        """Take a token."""
        self.tokens += 1
        ends = event.token == self.model.end
        text = self._pieces.push(b"" if ends else self.model.bytes_of(event.token))
        if event.last and not self._pieces.stopped:
            text += self._pieces.push(b"", last=True)
        if event.last or self._pieces.stopped:
            self.finish = "stop" if event.complete or self._pieces.stopped else "length"
        return AnswerPiece(event.place, text, None if ends else event, self.finish or None)


class Answer:
    """All texts of a request."""

    def __init__(
        self, engine: EngineLoop, model: ServedModel, asked: Sequence[Asked], stops: Sequence[str]
    ) -> None:
        """Hand them to the engine.

        Raises:
            Refusal: it takes no more.
        """
        self.texts = [Writing(model, stops) for _ in asked]
        self._engine, self._asked = engine, asked
        self._events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def deliver(event: Event | Exception) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, event)

        try:
            self._job = engine.submit(asked, deliver)
        except Exception as error:
            raise refusal_of(error) from None

    def cancel(self) -> None:
        """Give up what is not done."""
        self._engine.cancel(self._job)

    async def pieces(self) -> AsyncIterator[AnswerPiece]:
        """The texts, piece by piece, until all have ended.

        Raises:
            Refusal: the engine ended them.
        """
        left = len(self.texts)
        while left:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise refusal_of(event)
            text = self.texts[event.place]
            if text.finish:  # written before the engine heard that the text has ended
                continue
            piece = text.push(event)
            if piece.finish:
                left -= 1
                if not event.last:
                    self._engine.cancel(self._job, event.place)
            yield piece

    def usage(self, prompts: Sequence[Sequence[int]]) -> dict[str, int]:
        """Tokens read and written; the one that ends a text counts.

        Args:
            prompts: each once, however many texts go on with it.
        """
        read, written = sum(map(len, prompts)), sum(text.tokens for text in self.texts)
        return {
            "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written
        }  # fmt: skip


def choices_of(request: Sampled, end: int, tokens: int) -> Decoding:
    """How a request wants its texts written; temperature and top_p are 1 if it does not say."""
    temperature = 1.0 if request.temperature is None else request.temperature
    top_p = 1.0 if request.top_p is None else request.top_p
    if temperature < LEAST_TEMPERATURE or top_p == 0:
        return Decoding(eos_token_id=end, max_new_tokens=tokens)
    return Decoding(
        eos_token_id=end, max_new_tokens=tokens, do_sample=True, temperature=temperature,
        top_p=top_p,
    )  # fmt: skip


def room(prompt: Sequence[int], asked: int | None, context: int, param: str) -> int:
    """Tokens that an answer may have: as many as asked for, or as there is room for.

    Raises:
        Refusal: there is no room.
    """
    if len(prompt) + (asked or 1) > context:
        raise Refusal(
            f"this model's maximum context length is {context} tokens, but you asked for "
            f"{len(prompt)} in the {param} and {shown(asked or 1)} in the answer; shorten them",
            param, code="context_length_exceeded",
        )  # fmt: skip
    return asked or context - len(prompt)


async def unless_gone(request: Request, work: Callable[[], Any]) -> Any:
    """What `work` gives, awaited; given up when the client leaves.

    Raises:
        ConnectionError: it left.
    """
    task = asyncio.ensure_future(work())
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ConnectionError("the client left")
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
