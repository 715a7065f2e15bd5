"""The guard: who may come in, from where, and with what. Knows sessions and headers; no page, no token, no text.

Before a page sees a request: the Host header is one of ours (no DNS rebinding), whatever is not GET or HEAD comes from
our own pages (Sec-Fetch-Site, Origin) and carries the session's CSRF token, its body is at most `BODY` bytes, and a
session names a person. Every response leaves with the headers of `HEADERS`. (OWASP, Cross-Site Request Forgery
Prevention and Session Management cheat sheets.)
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from agent.errors import StoreFull
from agent.store.gate import LostLedger
from agent.store.review import Person

if TYPE_CHECKING:
    from agent.web.site import Site

BODY = 1_000_000
"""Bytes a form may have."""
SLOW = 30.0
"""Seconds a form may take to come in."""
STAYS = 30 * 86_400
"""Seconds a session lasts."""
NOBODY = Person("", "", "", 0.0)
OPEN = ("/login", "/static/", "/favicon.ico")
"""What one sees without a session."""
HOME = ("127.0.0.1", "localhost", "[::1]")
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Nothing goes to other sites. To our own it must: with "no-referrer" a form's Origin is "null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+?)\.?(:[0-9]{1,5})?")


def sha256(secret: str) -> str:
    """What the ledger keeps of a session's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class Door:
    """By which names the server is called, whether browsers reach it by TLS, and whether a proxy stands before it."""

    hosts: Sequence[str] = ()
    https: bool = False
    proxied: bool = False

    @cached_property
    def names(self) -> frozenset[str]:
        """Names and addresses, lower case, IPv6 in brackets."""
        given = (f"[{host}]" if ":" in host and not host.startswith("[") else host for host in self.hosts)
        return frozenset(host.lower() for host in (*HOME, *given))

    def knows(self, hosts: Sequence[str], here: str = "") -> bool:
        """Whether a request's Host headers are one, and one of ours: a name, or the address it has come to."""
        found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        return found is not None and found[1].lower() in {*self.names, f"[{here}]" if ":" in here else here}

    def ours(self, request: Any) -> bool:
        """Whether a request comes from our own pages. A browser says so by one header or both; neither is none."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site is None and origin is None:
            return False
        here = f"{'https' if self.https else 'http'}://{request.headers['host']}"
        return site in (None, "same-origin") and origin in (None, here)

    def cookie(self, site: Site) -> str:
        """The cookie's name: its own for each run folder, as cookies do not tell the ports of a machine apart."""
        mark = hashlib.sha256(str(site.config.folder.resolve()).encode()).hexdigest()[:8]
        return f"__Host-tutelage-{mark}" if self.https else f"tutelage-{mark}"

    def address(self, request: Any) -> str:
        """Who asks, for counting: the last address a proxy has noted, or the connection's. Some proxies add a header of
        their own behind the one that came, which says what its sender likes."""
        noted = request.headers.getlist("x-forwarded-for") if self.proxied else []
        return "".join(noted[-1:]).rpartition(",")[2].strip()[:64] or (request.client.host if request.client else "")


class Guard:
    """ASGI middleware. Puts `person`, `csrf`, `door` and `secret` into `request.state`."""

    def __init__(self, app: Any, site: Site, door: Door, refuse: Callable[..., Any]) -> None:
        self.app, self.site, self.door, self.refuse = app, site, door, refuse

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)  # type: ignore[no-any-return]
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})  # type: ignore[no-any-return]
        state = scope.setdefault("state", {})
        state.update(person=NOBODY, csrf="", door=self.door, secret="")
        leaving = _Leaving(send, private=not scope["path"].startswith("/static/"))
        try:
            await self._admit(scope, receive, leaving)
        except Exception as error:  # noqa: BLE001 - the last door: no text of an item may reach a log or a page
            await self._failed(scope, receive, leaving, error)

    async def _admit(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import Request

        request = Request(scope, receive)
        if not self.door.knows(request.headers.getlist("host"), (scope.get("server") or ("",))[0]):
            return await self._no(request, 400, "This server is not called by that name: see --allowed-host.", send)
        opened = scope["path"].startswith(OPEN)
        if not scope["path"].startswith("/static/"):
            await run_in_threadpool(self._recognise, request)
        changes = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes:
            if not self.door.ours(request):
                return await self._no(request, 403, "This form was not sent by a page of this server.", send)
            try:
                async with asyncio.timeout(SLOW):
                    body = await _body(request)
            except TimeoutError:
                return await self._no(request, 408, "", send)
            if body is None:
                return await self._no(request, 413, "", send)
            receive = _again(body, receive)
        if request.state.person is NOBODY and not opened:
            return await self._stranger(request, send)
        if changes and not opened and not await self._meant(Request(scope, receive)):
            told = "This page is from before you signed in, or from another tab: load it again."
            return await self._no(request, 403, told, send)
        if changes:
            receive = _again(body or b"", receive)
        await self.app(scope, receive, send)

    def _recognise(self, request: Any) -> None:
        """Whose session the cookie's secret opens."""
        secret = request.cookies.get(self.door.cookie(self.site), "")
        if _SECRET.fullmatch(secret):
            person = self.site.store.review.session(sha256(secret), STAYS)
            if person is not None:
                request.state.person, request.state.csrf, request.state.secret = person, csrf(secret), secret

    async def _meant(self, request: Any) -> bool:
        """Whether a form carries the token of this session."""
        try:
            async with request.form(max_files=0, max_fields=2_000, max_part_size=BODY) as form:
                given = form.get("csrf", "")
        except Exception:  # noqa: BLE001 - what cannot be read as a form carries no token
            return False
        return isinstance(given, str) and hmac.compare_digest(given.encode(), request.state.csrf.encode())

    async def _stranger(self, request: Any, send: Any) -> None:
        """To the door: a page is led there, a part of one is told."""
        from starlette.responses import RedirectResponse

        if request.method not in ("GET", "HEAD") or "hx-request" in request.headers:
            return await self._no(request, 401, "You are signed out: load this page again and sign in.", send)
        at = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        after = "" if at == "/" else f"?next={quote(at, safe='/')}"
        await RedirectResponse(f"/login{after}", 303)(request.scope, request.receive, send)

    async def _no(self, request: Any, code: int, told: str, send: Any) -> None:
        await self.refuse(self.site, request, code, told)(request.scope, request.receive, send)

    async def _failed(self, scope: Any, receive: Any, send: _Leaving, error: Exception) -> None:
        """Say on stderr what failed and where, never what the error says: it may hold an item's text."""
        from starlette.requests import ClientDisconnect, Request

        if isinstance(error, ClientDisconnect):
            return
        frames = traceback.extract_tb(error.__traceback__)
        room = Path(__file__).parents[1]
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(room)] or frames
        where = f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""
        sys.stderr.write(f"error: {type(error).__name__}{where}, at {scope['method']} {scope['path'][:200]!a}\n")
        if not send.begun:
            full, gone = isinstance(error, StoreFull), isinstance(error, LostLedger)
            told = "The disk is full: nothing was saved." if full else "The fault is ours; what was saved is kept."
            told = "The ledger is gone, and nothing is saved: tell the owner." if gone else told
            await self._no(Request(scope, receive), 503 if full or gone else 500, told, send)


class _Leaving:
    """`send` that adds the headers; `begun`: a response is on its way."""

    def __init__(self, send: Any, private: bool) -> None:
        self._send, self._private, self.begun = send, private, False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            caching = {"cache-control": "no-store" if self._private else "no-cache"}
            given = {name.lower() for name, _ in message["headers"]}
            extra = [(k.encode(), v.encode()) for k, v in {**HEADERS, **caching}.items() if k.encode() not in given]
            message = {**message, "headers": [*message["headers"], *extra]}
        await self._send(message)


def csrf(secret: str) -> str:
    """The token of a session's forms: HMAC-SHA256 of its secret, hex."""
    return hmac.new(secret.encode(), b"tutelage form", hashlib.sha256).hexdigest()


def fresh() -> str:
    """A session's secret: 256 random bits, 43 characters."""
    return secrets.token_urlsafe(32)


async def _body(request: Any) -> bytes | None:
    """The body; None where it is longer than `BODY`, which is seen before it is read to its end."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY:
        return None
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY:
            return None
        parts.append(part)
    return b"".join(parts)


def _again(body: bytes, receive: Any) -> Any:
    """A `receive` that gives a body that was read already."""
    given = False

    async def read() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read
