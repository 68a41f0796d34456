"""What the routes share: the models, the engine, and the threads that prepare and embed."""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from orrery.errors import OrreryError
from orrery.inference.serving.answer import Answer
from orrery.inference.serving.engine_loop import ClosingError, EngineLoop, QueueFullError
from orrery.inference.serving.protocols import ServedModel, TextEmbedder
from orrery.inference.serving.refusal import Refusal, refusal_of, shown, shown_line

T = TypeVar("T")
GRACE_SECONDS = 5.0
"""Open answers may go on for so long when the server is told to end."""


class Worker:
    """A thread that does one thing after another, of a bounded number."""

    def __init__(self, most: int) -> None:
        """Begin with nothing to do.

        Args:
            most: that may wait.
        """
        self._most, self._waiting = most, 0
        self._pool = ThreadPoolExecutor(1)

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` gives.

        Raises:
            Refusal: too much waits.
        """
        if self._waiting >= self._most:
            raise refusal_of(QueueFullError())
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Take no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Service:
    """Models that are served."""

    def __init__(
        self,
        model: ServedModel,
        *,
        embedder: tuple[str, Callable[[], TextEmbedder]] | None = None,
        texts: int = 8,
        queue: int = 64,
    ) -> None:
        """Serve a model.

        Args:
            model: that writes.
            embedder: the name of one that embeds, and what gives it; it is asked when it is needed.
            texts: most that are open at once.
            queue: most that wait besides.
        """
        self.model, self.started = model, int(time.time())
        self.engine = EngineLoop(model.model, texts=texts, queue=queue)
        self.prepare, self.embed = Worker(self.engine.capacity), Worker(self.engine.capacity)
        self._embedder_name = embedder[0] if embedder else ""
        self._get_embedder = embedder[1] if embedder else None
        self._embedder: TextEmbedder | None = None
        self.fingerprint = "fp_" + hashlib.sha256(model.name.encode()).hexdigest()[:10]

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return [self.model.name, *filter(None, [self._embedder_name])]

    def check(self, name: str, served: str) -> None:
        """Refuse another model than is asked for here, and all when the server ends.

        Raises:
            Refusal: it is another.
        """
        if self.engine.closing:
            raise refusal_of(ClosingError())
        if name != served:
            raise self.no_model(name, served)

    def no_model(self, name: str, served: str = "") -> Refusal:
        """What is said of a model that is not there."""
        there = served or " and ".join(self.names)
        text = f"the model {shown(name)} does not exist here; there is {there}"
        return Refusal(text, "model", status=404, code="model_not_found")

    async def embedder(self, name: str) -> TextEmbedder:
        """The model that embeds, loaded at its first use.

        Raises:
            Refusal: there is none of this name, or it cannot be had.
        """
        self.check(name, self._embedder_name or "no model for embeddings")
        if self._get_embedder is None:
            raise self.no_model(name)
        try:
            return await self.embed.do(self._loaded)
        except OrreryError as error:
            text = f"the model {name} cannot be had: {shown_line(error)}"
            raise Refusal(text, "model", status=503, code="model_not_available") from None

    def _loaded(self) -> TextEmbedder:
        if self._embedder is None:
            assert self._get_embedder is not None
            self._embedder = self._get_embedder()
        return self._embedder

    def head(self, kind: str, prefix: str) -> dict[str, Any]:
        """How an answer begins."""
        return {
            "id": f"{prefix}-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()),
            "model": self.model.name, "system_fingerprint": self.fingerprint,
        }  # fmt: skip

    def close(self) -> None:
        """Take no more requests; those that are open have a while to end."""
        self.engine.close(GRACE_SECONDS)


class EventStream(StreamingResponse):
    """Server-sent events out of an answer, which is given up when nobody listens any more."""

    def __init__(self, answer: Answer, events: AsyncIterator[dict[str, Any]]) -> None:
        """Send events."""
        super().__init__(_lines(events), media_type="text/event-stream")
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.cancel()


async def _lines(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """Events as lines; an error is the last one, otherwise [DONE] is."""
    try:
        async for event in events:
            yield f"data: {json.dumps(event)}\n\n"
    except Refusal as refusal:
        yield f"data: {json.dumps(refusal.body)}\n\n"
    else:
        yield "data: [DONE]\n\n"
