"""Signing in by a token, and out again. Knows sessions and how often may be tried; no page behind the door.

There is no sign-up: `tutelage people` names people and prints each one's token. The link that is printed carries the
token in the address's fragment, which browsers send to no server; `static/login.js` posts it.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from agent.review import people
from agent.web import guard

if TYPE_CHECKING:
    from agent.web.site import Site

WINDOW = 300.0
EACH = 10
"""Wrong tokens in `WINDOW` seconds after which an address has to wait. All addresses together may go on: a token has
256 bits, and whoever can make everybody wait keeps them out."""
KEPT = 10_000
_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}")


class Tries:
    """Wrong tokens of the last minutes, the last `KEPT` of them. Thread-safe."""

    def __init__(self) -> None:
        self._wrong: deque[tuple[float, str]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def wait(self, address: str) -> int:
        """Seconds until this address may try again; 0: now."""
        now = time.monotonic()
        with self._lock:
            while self._wrong and now - self._wrong[0][0] > WINDOW:
                self._wrong.popleft()
            mine = [at for at, whose in self._wrong if whose == address]
        return math.ceil(mine[-EACH] + WINDOW - now) if len(mine) >= EACH else 0

    def note(self, address: str) -> None:
        """Another wrong one."""
        with self._lock:
            self._wrong.append((time.monotonic(), address))


def routes(site: Site) -> list[Any]:
    """/login, /logout, and /who, by which the door's script sees that one is in already."""
    from starlette.responses import JSONResponse, RedirectResponse
    from starlette.routing import Route

    tries = Tries()

    def door(request: Any) -> Any:
        if site.person(request) is not guard.NOBODY:
            return RedirectResponse(_after(request), 303)
        return _page(site, request, "", 200)

    async def come(request: Any) -> Any:
        from starlette.concurrency import run_in_threadpool

        given = (await request.form(max_files=0, max_fields=10)).get("token", "")
        return await run_in_threadpool(_enter, site, request, tries, given if isinstance(given, str) else "")

    def leave(request: Any) -> Any:
        site.store.review.close_session(guard.sha256(request.state.secret))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(**_cookie(site, request))
        return answer

    def who(request: Any) -> Any:
        return JSONResponse({"in": True})

    def icon(request: Any) -> Any:
        return RedirectResponse("/static/icon.svg", 301)

    return [
        Route("/login", door, methods=["GET"]),
        Route("/login", come, methods=["POST"]),
        Route("/logout", leave, methods=["POST"]),
        Route("/who", who, methods=["GET"]),
        Route("/favicon.ico", icon, methods=["GET"]),
    ]


def _enter(site: Site, request: Any, tries: Tries, given: str) -> Any:
    """A session for whoever shows a token that holds."""
    from starlette.responses import RedirectResponse

    address = request.state.door.address(request)
    if wait := tries.wait(address):
        answer = _page(site, request, f"Too many wrong tokens: wait {math.ceil(wait / 60)} min and try again.", 429)
        answer.headers["retry-after"] = str(wait)
        return answer
    person = people.find(site.store, given.strip())
    if person is None:
        tries.note(address)
        told = "This token opens nothing. Copy the whole of it, or ask the owner for a new one."
        return _page(site, request, told, 403)
    secret = guard.fresh()  # never one that came from outside: nobody can be lured into a session that is known
    site.store.review.open_session(guard.sha256(secret), person)
    answer = RedirectResponse(_after(request), 303)
    answer.set_cookie(value=secret, max_age=guard.STAYS, **_cookie(site, request))
    return answer


def _cookie(site: Site, request: Any) -> dict[str, Any]:
    door = request.state.door
    return {"key": door.cookie(site), "path": "/", "secure": door.https, "httponly": True, "samesite": "strict"}


def _page(site: Site, request: Any, told: str, code: int) -> Any:
    return site.page(request, "login.html", {"told": told, "after": _after(request)}, code)


def _after(request: Any) -> str:
    """Where one wanted to go: a path of this server and nothing else."""
    path = request.query_params.get("next", "/")
    return path if _PATH.fullmatch(path) and not path.startswith("/login") else "/"
