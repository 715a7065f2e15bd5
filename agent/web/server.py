"""The application at an address, until Ctrl-C. Knows uvicorn's manners and TLS; no page and no option.

No access log is written: addresses and query strings stay out of every file.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from agent import serve
from agent.errors import ConfigError

GRACE = 5
"""Seconds that requests in flight have to end once the server is told to."""
HEAD = 20.0
"""Seconds in which the head of a request must have come."""
STAYS_OPEN = 65
"""Seconds a silent connection is kept, so that the next key needs no new one."""


def needed() -> Any:
    """uvicorn. Raises MissingExtra where it, or what the pages stand on, is not installed."""
    return serve.needed(("starlette", "python_multipart", "jinja2", "uvicorn"), "review", "tutelage review --web")


def impatient(protocol: Any) -> Any:
    """uvicorn's protocol, but it hangs up where a request's head does not come within `HEAD` seconds: else a few
    hundred connections that say nothing keep everybody out."""

    class Impatient(protocol):  # type: ignore[misc]
        hangs_up: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait(transport)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._still()
            elif self.hangs_up is None:
                self._wait(self.transport)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._still()  # a silent connection may stay for `STAYS_OPEN`

        def connection_lost(self, exc: Exception | None) -> None:
            self._still()
            super().connection_lost(exc)

        def _wait(self, transport: Any) -> None:
            self.hangs_up = asyncio.get_running_loop().call_later(HEAD, transport.close)

        def _still(self) -> None:
            if self.hangs_up is not None:
                self.hangs_up.cancel()
                self.hangs_up = None

    return Impatient


class Server:
    """One application at one listening address.

    Args:
        cert, key: files in PEM, for TLS; none: plain HTTP.

    Raises:
        ConfigError: cert and key cannot be read, or do not belong together.
    """

    def __init__(self, app: Any, listener: socket.socket, cert: str | None = None, key: str | None = None) -> None:
        uvicorn = needed()
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="error",
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=STAYS_OPEN,
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            what = error.strerror or type(error).__name__
            raise ConfigError(
                f"--tls-cert {cert} and --tls-key {key} cannot be used: {what}; give a certificate and its key in PEM"
            ) from None
        config.http_protocol_class = impatient(config.http_protocol_class)
        self._server, self._listener = uvicorn.Server(config), listener

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`; what is in flight is answered first."""
        with serve.ending_quietly():
            self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """End in order, from any thread."""
        self._server.should_exit = True
