"""What stands before every request: whose it is, where it comes from and how large it is.

A page that a browser shows may send requests to this machine, under another name (DNS rebinding)
or straight away. So the name a client asks for must be this machine's while only this machine is
listened to, a request that tells of a page must tell of one of ours, and no answer allows another
page to read it.
"""

import asyncio
import hmac
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orrery.inference.serving.refusal import Refusal

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
OPEN_PATHS = ("/health",)
BODY_BYTES = 4 * 2**20
BODY_SECONDS = 30.0
DRAIN_SECONDS = 1.5


class Guard:
    """An application that lets through what may pass to another."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None = None,
        hosts: Iterable[str] | None = LOOPBACK,
        body_bytes: int = BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        """Stand before an application.

        Args:
            app: what is guarded.
            token: that a client must bring, if any.
            hosts: names that a client may ask for; any, if None.
            body_bytes: the largest body.
            body_seconds: in which it must have come.
        """
        self.app, self.body_bytes, self.body_seconds = app, body_bytes, body_seconds
        self.token = None if token is None else token.encode()
        self.hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            headers = {name.lower(): value for name, value in scope["headers"]}
            self.check_host(headers)
            self.check_origin(headers)
            if scope["path"] not in OPEN_PATHS:
                self.check_token(headers)
            body = await self.read(headers, receive)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
            return
        except ConnectionError:  # the client left
            return
        await self.app(scope, _replay(body, receive), _sniffed_never(send))

    def check_host(self, headers: dict[bytes, bytes]) -> None:
        """Refuse a name that is not ours.

        Raises:
            Refusal: it is not.
        """
        asked = headers.get(b"host", b"").decode("latin1").lower()
        name, colon, port = asked.rpartition(":")
        name = name if colon and port.isdigit() else asked
        if self.hosts is not None and name not in self.hosts:
            raise Refusal("the Host header must name this machine", status=421, code="bad_host")

    def check_origin(self, headers: dict[bytes, bytes]) -> None:
        """Refuse what another page sends.

        Raises:
            Refusal: it does.
        """
        origin, host = headers.get(b"origin"), headers.get(b"host", b"")
        if origin is not None and origin.lower() not in (b"http://" + host, b"https://" + host):
            raise Refusal("requests of other pages are refused", status=403, code="bad_origin")

    def check_token(self, headers: dict[bytes, bytes]) -> None:
        """Refuse who does not bring the token, in a time that tells nothing of it.

        Raises:
            Refusal: it is missing or another one.
        """
        if self.token is None:
            return
        scheme, _, brought = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(brought.strip(), self.token):
            raise Refusal(
                "a request needs the header Authorization: Bearer TOKEN with the server's token",
                status=401, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip

    async def read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The body; of one that is too large the rest is read for a while and forgotten.

        A client that still sends may not look for an answer.

        Raises:
            Refusal: it is too large or comes too slowly.
            ConnectionError: the client left.
        """
        told = headers.get(b"content-length", b"")
        large = told.isdigit() and int(told[:20]) > self.body_bytes
        chunks, size, more = list[bytes](), 0, True
        try:
            async with asyncio.timeout(DRAIN_SECONDS if large else self.body_seconds) as limit:
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    more = message.get("more_body", False)
                    size += len(message.get("body", b""))
                    if size > self.body_bytes and not large:
                        large, chunks = True, []
                        limit.reschedule(asyncio.get_running_loop().time() + DRAIN_SECONDS)
                    if not large:
                        chunks.append(message.get("body", b""))
        except TimeoutError:
            if not large:
                raise Refusal("the body came too slowly", status=408, code="timeout") from None
        if large:
            raise Refusal(
                f"the body must have at most {self.body_bytes} bytes",
                status=413, code="request_too_large",
            )  # fmt: skip
        return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """What gives the body in one piece, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _sniffed_never(send: Send) -> Send:
    """What adds to every answer that it is what it says and is not to be kept."""

    async def onward(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
            message["headers"] = [*message.get("headers", []), *more]
        await send(message)

    return onward
