"""The server's process: a socket of its own, and an end that gives open answers theirs."""

import contextlib
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from orrery.errors import OrreryError
from orrery.inference.serving.service import GRACE_SECONDS, Service

MOST_CONNECTIONS = 1024
"""At once; beyond it uvicorn itself answers 503."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises:
        OrreryError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise OrreryError(f"cannot listen at {host} port {port}: {why}") from None


class Server(uvicorn.Server):
    """Ends with exit code 0 at SIGINT and SIGTERM; a second signal ends it at once."""

    def __init__(self, app: ASGIApp, service: Service, ready: Callable[[], None]) -> None:
        """Serve an application.

        Args:
            app: the application.
            service: what it serves.
            ready: called once when requests are answered.
        """
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False,
                timeout_graceful_shutdown=int(GRACE_SECONDS) + 5, lifespan="on", ws="none",
                limit_concurrency=MOST_CONNECTIONS, proxy_headers=False,
            )
        )  # fmt: skip
        self.service, self.ready = service, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self.service.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ask for the end."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals, and do not send them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
