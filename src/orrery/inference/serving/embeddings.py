"""POST /v1/embeddings: texts in, vectors out."""

import base64
from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orrery.inference.serving.answer import unless_gone
from orrery.inference.serving.openai_api import EmbeddingRequest
from orrery.inference.serving.protocols import TextEmbedder
from orrery.inference.serving.refusal import Refusal
from orrery.inference.serving.service import Service

TOGETHER = 32
"""Texts that are read at once; between such groups other requests have their turn."""


async def embed(service: Service, request: EmbeddingRequest, http: Request) -> Response:
    """Embed texts.

    Raises:
        Refusal: what is asked for cannot be had.
    """
    model = await service.embedder(request.model)
    texts = [request.input] if isinstance(request.input, str) else request.input
    sizes = await service.embed.do(lambda: [model.tokens(text) for text in texts])
    if max(sizes) > model.longest:
        raise Refusal(
            f"input must have texts of at most {model.longest} tokens, got {max(sizes)}",
            "input", code="context_length_exceeded",
        )  # fmt: skip

    async def work() -> list[Any]:
        rows: list[Any] = []
        for first in range(0, len(texts), TOGETHER):
            some = texts[first : first + TOGETHER]
            found = await service.embed.do(partial(vectors, model, some))
            if request.dimensions not in (None, found.shape[1]):
                raise Refusal(f"dimensions must be {found.shape[1]} or left out", "dimensions")
            rows += list(found)
        return rows

    rows = await unless_gone(http, work)
    as_text = request.encoding_format == "base64"
    data = [
        {
            "object": "embedding",
            "index": i,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()
            if as_text
            else row.tolist(),
        }
        for i, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": sum(sizes), "total_tokens": sum(sizes)}
    return JSONResponse({"object": "list", "data": data, "model": model.name, "usage": usage})


def vectors(model: TextEmbedder, texts: Sequence[str]) -> Any:
    """The embeddings of texts as an array of numpy."""
    return model.embed(texts).float().numpy()
