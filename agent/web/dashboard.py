"""The dashboard: how far the run is, how good, what it cost, which labels are doubtful. Knows no figure of its own.

The owner sees what `tutelage status --json` says, drawn; who answers sees the queue and their own numbers. The figures
are made in a process of their own and kept until the ledger changes, so that a page takes milliseconds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.errors import ConfigError
from agent.report.overview import kept_apart
from agent.report.standing import file_of
from agent.report.words import things
from agent.review import minutes
from agent.web.beside import Aside

if TYPE_CHECKING:
    from agent.web.site import Site

FIRST = 2.0
"""Seconds for which the first page waits for its figures; then it is shown without, and asks again."""
SAID = {
    "put": "Put to people. What people are being asked already, or answered in the random check, stays as it was: the "
    "check must not be chosen from.",
    "run": "A run is at work, and it asks people itself: put this to people once it has ended or waits.",
    "file": "These are the labels of a finished file: nothing is labeled here, and only its audit is put to people.",
    "nobody": 'Nobody can be asked: the ladder has no [[rung]] with oracle = "person".',
}
SEES_ALL = "owner"


def routes(site: Site) -> list[Any]:
    """The page, the parts of it that are asked for again and again, and what its buttons do."""
    from starlette.concurrency import run_in_threadpool
    from starlette.routing import Route

    site.room.filters["label"] = named
    board = Board(site)
    site.notes["dashboard"] = board

    async def ask(request: Any) -> Any:
        async with request.form(max_files=0, max_fields=200) as given:
            return await run_in_threadpool(board.ask, request, [str(item) for item in given.getlist("item")])

    return [
        Route("/dashboard", board.page, methods=["GET"]),
        Route("/dashboard/top", board.top, methods=["GET"]),
        Route("/dashboard/rest", board.rest, methods=["GET"]),
        Route("/dashboard/doubts", board.doubts, methods=["GET"]),
        Route("/dashboard/doubts", board.look, methods=["POST"]),
        Route("/dashboard/ask", ask, methods=["POST"]),
    ]


class Board:
    """What is known at this server of how the run stands."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.figures = Aside("overview")
        self.doubtful = Aside("doubts")
        self._apart: tuple[tuple[int, ...], frozenset[str]] = ((), frozenset())

    # Pages and their parts ----------------------------------------------------------------------------------------

    def page(self, request: Any) -> Any:
        """The whole page."""
        if self._role(request) == SEES_ALL:
            self._freshen()
            if self.figures.found is None:
                self.figures.wait(FIRST)
        code = request.query_params.get("said", "")
        names = {**self._top(request), **self._rest(), **self._doubts()}
        names |= {"said": SAID.get(code, ""), "said_bad": code != "put"}
        return self.site.page(request, "dashboard.html", names)

    def top(self, request: Any) -> Any:
        """The numbers on top; nothing (204) where they are as they were."""
        if self._role(request) == SEES_ALL:
            self._freshen()
        return self._unless_same(request, "dashboard_top.html", self._top(request))

    def rest(self, request: Any) -> Any:
        """Pictures and tables, for the owner; nothing (204) where they are as they were."""
        self.site.owner_only(request)
        self._freshen()
        return self._unless_same(request, "dashboard_rest.html", self._rest())

    def doubts(self, request: Any) -> Any:
        """The likely errors, for the owner."""
        self.site.owner_only(request)
        return self._unless_same(request, "dashboard_doubts.html", self._doubts())

    def look(self, request: Any) -> Any:
        """Look for likely errors by all that is known: in a process of its own, once a turn."""
        self.site.owner_only(request)
        if file_of(self.site.config, self.site.store):
            return self._back("file")
        self.doubtful.want(self.site.store.last_turn(), self.site.config, rests=False)
        if "hx-request" in request.headers:
            return self.site.page(request, "dashboard_doubts.html", self._doubts())
        return self._back()

    def ask(self, request: Any, items: list[str]) -> Any:
        """Put items to people, unless a run is at work."""
        self.site.owner_only(request)
        return self._back(self.put(items))

    def put(self, items: list[str]) -> str:
        """The same; what came of it, one of `SAID`."""
        from agent.loop import doubts
        from agent.loop.ground import lock

        site = self.site
        if site.config.person is None:
            return "nobody"
        if file_of(site.config, site.store):
            return "file"
        known = [item for item in items if _there(site, item)]
        try:
            with lock(site.config.folder):
                doubts.put(site.config, site.store, known)
        except ConfigError:
            return "run"
        return "put"

    def _back(self, said: str = "") -> Any:
        from starlette.responses import RedirectResponse

        return RedirectResponse(f"/dashboard?said={said}" if said else "/dashboard", 303)

    # What they say ------------------------------------------------------------------------------------------------

    def _role(self, request: Any) -> str:
        return self.site.person(request).role

    def _freshen(self) -> None:
        self.figures.want(self.site.store.review.marks(), self.site.config, self.site.flags)

    def _top(self, request: Any) -> dict[str, Any]:
        site, who = self.site, self.site.person(request)
        left = minutes.left(site.store, site.config, time.time())
        count, seconds = minutes.own(site.store, site.config, who.name)
        asked = left.done + left.open
        told: dict[str, Any] = {
            "left": left,
            "mine": {"answers": count, "seconds": seconds},
            "share": left.done / asked if asked else 0.0,
            "all": who.role == SEES_ALL,
            "told": self.figures.found,
            "tiles": self._tiles(left.open) if who.role == SEES_ALL else [],
        }
        return told

    def _tiles(self, open_: int) -> list[tuple[str, str, str]]:
        """(number, what, note): five of them."""
        found = self.figures.found
        if found is None or not found["big"]:
            return [(f"{open_:,}", "open questions to people", "")]
        settled, proved, people, money = (tuple(big) for big in found["big"])
        unsure = found["figures"]["unsure"]
        note = f"{things(unsure, 'label')} unsure: the best guess given" if unsure else "no label is a mere guess"
        waits = (f"{open_:,}", "open questions to people", note)
        return [settled, proved, waits, people, money]

    def _rest(self) -> dict[str, Any]:
        figures = self.figures
        return {
            "told": figures.found,
            "made": figures.made,
            "stale": figures.found is not None and figures.key != self.site.store.review.marks(),
            "busy": figures.busy,
            "unread": figures.trouble,
        }

    def _doubts(self) -> dict[str, Any]:
        looked, told = self.doubtful, self.figures.found
        sharp = looked.found if looked.key == self.site.store.last_turn() else None
        rows = sharp["rows"] if sharp is not None else told["doubts"] if told is not None else []
        apart = self._kept_apart() if rows else frozenset[str]()
        return {
            "told": told,
            "likely": [row for row in rows if row["item"] not in apart],
            "sharp": sharp,
            "looking": looked.busy,
            "lost": looked.trouble,
        }

    def _kept_apart(self) -> frozenset[str]:
        """What may not be listed as of now, whenever the list was made."""
        marks = self.site.store.review.marks()
        if marks != self._apart[0]:
            self._apart = marks, frozenset(kept_apart(self.site.config, self.site.store))
        return self._apart[1]

    def _unless_same(self, request: Any, template: str, names: Mapping[str, Any]) -> Any:
        from starlette.responses import Response

        page = self.site.page(request, template, {**names, "have": ""})
        have = hashlib.sha256(page.body).hexdigest()[:16]
        if request.query_params.get("have") == have:
            return Response(status_code=204)
        return self.site.page(request, template, {**names, "have": have})


def _there(site: Site, item: str) -> bool:
    try:
        site.pool.position(item)
    except KeyError:
        return False
    return True


def named(value: object) -> str:
    """A label in a table; several joined."""
    return " + ".join(map(str, value)) or "none of them" if isinstance(value, list | tuple) else str(value)
