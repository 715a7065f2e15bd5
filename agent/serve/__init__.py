"""A saved model for new rows: opened (`Saved`), and served over HTTP (`run`). Knows no ledger and no command line."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from agent.errors import DataError, MissingExtra
from agent.serve.app import Service
from agent.serve.batches import Limits
from agent.serve.saved import Label, Labeled, Saved, item_of

__all__ = ["Label", "Labeled", "Limits", "Saved", "Service", "bind", "ending_quietly", "item_of", "needed", "run"]

GRACE = 60
"""Seconds that requests in flight have to end once the server is told to."""


def bind(host: str, port: int) -> socket.socket:
    """A listening address; port 0 takes a free one.

    Raises:
        DataError: the address is taken, or not ours.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise DataError(f"{host} is no address of this machine: {error.strerror}; give another --host") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(2_048)
    except OSError as error:
        made.close()
        raise DataError(
            f"{host}:{port} cannot be listened at: {error.strerror}; give another --port or --host"
        ) from None
    return made


def run(service: Service, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; what is in flight is answered first.

    Raises:
        MissingExtra: starlette or uvicorn is not installed. What hindered the first prediction.
    """
    uvicorn = needed()
    config = uvicorn.Config(
        "", access_log=False, log_level="warning", lifespan="on", server_header=False, timeout_graceful_shutdown=GRACE
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    config.app = service.app(stop)
    with ending_quietly():
        server.run(sockets=[listener])
    if service.failed is not None:
        raise service.failed


def needed(
    packages: Sequence[str] = ("starlette", "uvicorn"), extra: str = "serve", why: str = "tutelage serve"
) -> Any:
    """uvicorn. Raises MissingExtra where it, or another of the packages, is not installed."""
    try:
        for package in packages:
            import_module(package)
        return import_module("uvicorn")
    except ImportError as error:
        raise MissingExtra(error.name or "uvicorn", extra, why) from error


class ending_quietly:  # noqa: N801 - a context manager, read as words
    """uvicorn raises the signal that ended it once more when it is done: that must not kill an orderly end."""

    def __enter__(self) -> None:
        self._kept: dict[int, Callable[..., Any] | int | None] = {}
        if threading.current_thread() is threading.main_thread():
            for one in (signal.SIGTERM, signal.SIGINT):
                self._kept[one] = signal.signal(one, lambda *_: None)

    def __exit__(self, *_: object) -> None:
        for one, before in self._kept.items():
            signal.signal(one, before)
