"""The application: routes, and errors in OpenAI's form."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from orrery.inference.serving.chat import chat
from orrery.inference.serving.completions import complete
from orrery.inference.serving.embeddings import embed
from orrery.inference.serving.guard import BODY_BYTES, LOOPBACK, Guard
from orrery.inference.serving.openai_api import ChatRequest, CompletionRequest, EmbeddingRequest
from orrery.inference.serving.refusal import Refusal, refusal_of, refusal_of_body, shown
from orrery.inference.serving.service import Service

BODIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingRequest,
}


class ErrorText(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An answer that says no."""

    error: ErrorText


def guarded_app(
    service: Service,
    *,
    token: str | None = None,
    hosts: Iterable[str] | None = LOOPBACK,
    body_bytes: int = BODY_BYTES,
) -> Guard:
    """The application behind its guard.

    Args:
        service: what is served.
        token: that a client must bring, if any.
        hosts: names that a client may ask for; any, if None.
        body_bytes: the largest body.
    """
    return Guard(application(service), token=token, hosts=hosts, body_bytes=body_bytes)


def application(service: Service) -> FastAPI:
    """The routes; they start and end the engine."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.engine.start()
        yield
        service.engine.close()
        service.engine.join()
        service.prepare.close()
        service.embed.close()

    app = FastAPI(
        title="orrery serve", lifespan=life, docs_url=None, redoc_url=None,
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )  # fmt: skip
    add_errors(app)
    add_lists(app, service)
    add_answers(app, service)
    return app


def add_lists(app: FastAPI, service: Service) -> None:
    """The routes that say what there is."""

    @app.get("/health")
    async def health() -> dict[str, Any]:
        if service.engine.closing:
            raise Refusal("the server is shutting down", status=503, code="shutting_down")
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [listed(name) for name in service.names]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        if model not in service.names:
            raise service.no_model(model)
        return listed(model)

    def listed(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": service.started, "owned_by": "orrery"}


def add_answers(app: FastAPI, service: Service) -> None:
    """The routes at which a model answers."""

    @app.post("/v1/chat/completions", response_model=None)
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        return await chat(service, body, request)

    @app.post("/v1/completions", response_model=None)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        return await complete(service, body, request)

    @app.post("/v1/embeddings", response_model=None)
    async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
        return await embed(service, body, request)


def add_errors(app: FastAPI) -> None:
    """What is said when something is wrong."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        model = BODIES.get(request.scope["path"])
        return refusal_of_body(error.errors(), model).response()

    @app.exception_handler(UnicodeEncodeError)
    async def halved(_: Request, error: UnicodeEncodeError) -> Response:
        return Refusal("the body has half of a letter: a lone surrogate").response()

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        url = f"{request.method} {request.scope['path']}"
        text = f"{shown(url)[1:-1]} is not known here" if error.status_code == 404 else error.detail
        return Refusal(text, status=error.status_code, headers=error.headers or {}).response()

    @app.exception_handler(ConnectionError)
    async def left(_: Request, error: ConnectionError) -> Response:
        return JSONResponse(None, status_code=499)  # nobody reads it

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return refusal_of(error).response()
