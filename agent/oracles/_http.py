"""Requests out, whole bodies in: the hot path, on aiohttp. Knows addresses, seconds and bytes; no model, no question.

One session an event loop, connections kept alive and as many as are asked for. No redirect is followed and nothing is
tried again. What goes wrong is a `Cut`, which says whether the request may have reached the engine.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from agent.oracles import nearness

LARGEST = 32 * 2**20
"""Bytes of a body that are read; no answer is that long."""

KEPT = 4.0
"""Seconds an idle connection is kept: less than the 5 after which uvicorn, under vLLM and others, closes its own."""

CONNECT = 10.0
"""Seconds a connection may take to come about."""


class Cut(Exception):
    """No whole answer came. `kind`: the request was never sent, ran late, broke off, was too large an answer, or this
    process is out of files. `why` names the cause and quotes nothing."""

    def __init__(self, kind: Literal["unsent", "late", "broken", "large", "files"], why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind, self.why = kind, why


@dataclass(frozen=True, slots=True)
class Got:
    """A whole HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_json(self) -> bool:
        """Whether it says that it is JSON."""
        media = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return media.endswith("json")


class Http:
    """Sends requests; far ones by the environment's proxies. deadline: seconds one may take in all."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._session: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places: dict[str, tuple[Any, str | None]] = {}

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline: float | None = None,
    ) -> Got:
        """One request.

        Raises:
            Cut: no whole answer came.
        """
        import aiohttp

        session, (place, proxy) = self._open(), self._place(url)
        limits = session.timeout if deadline is None else aiohttp.ClientTimeout(total=deadline, sock_connect=deadline)
        try:
            async with session.request(
                method, place, headers=headers, data=body, allow_redirects=False, proxy=proxy, timeout=limits
            ) as got:
                return Got(got.status, got.headers, await _whole(got))
        except aiohttp.ClientConnectorError as error:
            if getattr(error.os_error, "errno", None) in (errno.EMFILE, errno.ENFILE):
                raise Cut("files", "too many open files") from None
            raise Cut("unsent", type(error).__name__) from None
        except (aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL, aiohttp.ClientHttpProxyError) as error:
            raise Cut("unsent", type(error).__name__) from None
        except TimeoutError:
            raise Cut("late", "time-out") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Cut("broken", type(error).__name__) from None

    def _open(self) -> Any:
        """The session of the running event loop; that of a loop that is over has nothing left to close."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            import aiohttp

            self._drop()
            # limit 0: how many questions are in flight is decided where they are asked, not by a queue in here.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT, ttl_dns_cache=60, ssl=_trust())
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._deadline, sock_connect=min(CONNECT, self._deadline)),
                trust_env=False,
            )
            self._loop = loop
        return self._session

    def _place(self, url: str) -> tuple[Any, str | None]:
        """An address, parsed once, and the proxy it is reached by. aiohttp's own look-up takes a thread a request."""
        found = self._places.get(url)
        if found is None:
            from yarl import URL

            found = self._places[url] = (URL(url, encoded=True), _proxy(url))
        return found

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None and not session.closed:
            session.detach()

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is None or session.closed:
            return
        if self._loop is asyncio.get_running_loop():
            await session.close()
        else:
            session.detach()


async def _whole(got: Any) -> bytes:
    """The body, read to its end; a body that says how long it is, and is not packed, needs no counting."""
    length = got.content_length
    if length is not None and length <= LARGEST and "content-encoding" not in got.headers:
        body: bytes = await got.read()
        return body
    parts, total = [], 0
    async for part in got.content.iter_any():
        total += len(part)
        if total > LARGEST:
            got.close()
            raise Cut("large", f"more than {LARGEST // 2**20} MB")
        parts.append(part)
    return b"".join(parts)


def _proxy(url: str) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    parts, known = urlsplit(url), getproxies()
    if nearness(url) != "far" or proxy_bypass(parts.hostname or ""):
        return None
    return known.get(parts.scheme) or known.get("all")


def _trust() -> ssl.SSLContext:
    """The system's certificates, and where it has none (Python from python.org on a Mac) those of certifi."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        try:
            import certifi
        except ImportError:
            return context
        context.load_verify_locations(certifi.where())
    return context
