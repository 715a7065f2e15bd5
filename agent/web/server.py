"""The application at an address, until Ctrl-C. Knows uvicorn's manners and TLS; no page and no option.

No access log is written: addresses and query strings stay out of every file.
"""

from __future__ import annotations

import socket
from typing import Any

from agent import serve
from agent.errors import ConfigError

GRACE = 5
"""Seconds that requests in flight have to end once the server is told to."""
STAYS_OPEN = 65
"""Seconds a silent connection is kept, so that the next key needs no new one."""


def needed() -> Any:
    """uvicorn. Raises MissingExtra where it, or what the pages stand on, is not installed."""
    return serve.needed(("starlette", "python_multipart", "jinja2", "uvicorn"), "review", "tutelage review --web")


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
        self._server, self._listener = uvicorn.Server(config), listener

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`; what is in flight is answered first."""
        with serve.ending_quietly():
            self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """End in order, from any thread."""
        self._server.should_exit = True
