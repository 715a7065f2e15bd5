"""The pages about people: /team (the owner's), /me (one's own figures), /settle (where two differ). Knows no purpose.

What a settled answer comes to is decided in `agent.review.settle` and in the ledger's own transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agent import opinions
from agent.errors import UserError
from agent.review import guide, team
from agent.review.people import ADJUDICATOR, OWNER
from agent.review.queue import LEASE
from agent.review.settle import Differences
from agent.web import form as forms

if TYPE_CHECKING:
    from agent.web.site import Site

SAID = {
    "saved": "Settled. Press u to take it back.",
    "again": "That one was settled by you before: it counts once.",
    "late": "Somebody else settled that one meanwhile: theirs stands.",
    "gone": "An answer to that one was changed meanwhile: nothing was saved.",
    "refused": "You may not settle that one: you have answered it yourself, or your role has changed.",
    "undone": "Taken back: it is open again.",
    "nothing": "There is nothing to take back.",
    "skipped": "Skipped: it comes back at the end.",
}
MIXED = 12
"""Pairs of labels that are shown of a person."""
REST, QUICK = 9.0, 0.1
"""Figures that took longer than `QUICK` seconds rest so many times that long."""
T = TypeVar("T")


def routes(site: Site) -> list[Any]:
    """/team, /me and /settle with its forms."""
    from starlette.concurrency import run_in_threadpool
    from starlette.routing import Route

    court = Court(site)
    figures = Kept(site, lambda: team.figures(site.store, site.pool, site.task, site.kind))
    together = Kept(site, lambda: opinions.of_run(site.store, site.pool, site.task, site.kind))

    def posted(work: Any) -> Any:
        async def handle(request: Any) -> Any:
            async with request.form(max_files=0, max_fields=2_000) as given:
                return await run_in_threadpool(work, request, given)

        return handle

    def everybody(request: Any) -> Any:
        site.owner_only(request)
        return _people(site, request, figures(), together())

    def mine(request: Any) -> Any:
        return _people(site, request, figures(), None)

    return [
        Route("/team", everybody, methods=["GET"]),
        Route("/me", mine, methods=["GET"]),
        Route("/settle", court.page, methods=["GET"]),
        Route("/settle", posted(court.settle), methods=["POST"]),
        Route("/settle/undo", posted(court.undo), methods=["POST"]),
        Route("/settle/skip", posted(court.skip), methods=["POST"]),
    ]


class Kept(Generic[T]):
    """What was computed last, until the ledger has changed; computed by one request at a time, and where it takes long
    not again before `REST` times as long has passed, as keys wait for the same processor."""

    def __init__(self, site: Site, work: Callable[[], T]) -> None:
        self._site, self._work = site, work
        self._lock = threading.Lock()
        self._found: list[T] = []
        self._key: object = None
        self._next = float("-inf")

    def __call__(self) -> T:
        """It, computed where it must be."""
        with self._lock:
            begun = time.monotonic()
            review = self._site.store.review
            key = (review.marks(), review.people())
            if not self._found or (key != self._key and begun >= self._next):
                self._found, self._key = [self._work()], key
                took = time.monotonic() - begun
                self._next = begun + (1 + REST) * took if took > QUICK else begun
            return self._found[0]


def _people(site: Site, request: Any, found: Sequence[team.Figures], together: opinions.Agreement | None) -> Any:
    """Figures of all, where `together` is told; else of who asks."""
    own, everybody = site.person(request).name, together is not None
    names = {
        "everybody": everybody,
        "people": [one for one in found if everybody or one.name == own],
        "agreement": together,
        "words": "" if together is None else opinions.told(together),
        "later": opinions.held_back(together.later) if together is not None and together.enough else "",
        "differ": _differences(site).left(own)[0] if everybody else 0,
        "mixed": MIXED,
        "undo": opinions.UNDO,
    }
    return site.page(request, "team.html", names)


def _differences(site: Site) -> Differences:
    return Differences(site.store, site.pool, site.task, site.kind, site.config.run.seed)


class Court:
    """The page on which differences are settled, for all who may."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.form = forms.draw(site.task, site.kind)
        self.found = _differences(site)
        self._lock = threading.Lock()

    def page(self, request: Any) -> Any:
        """GET /settle: the difference in hand. `?said=`: what was just done; `?whole=1`: a long text to its end."""
        return self._show(request, SAID.get(request.query_params.get("said", ""), ""))

    def settle(self, request: Any, given: Any) -> Any:
        """POST /settle: the last word on one."""
        who = self._who(request)
        try:
            value = forms.read(self.form, _one(given, "say"), [v for v in given.getlist("label") if isinstance(v, str)])
            seconds, idle = forms.took(_one(given, "seconds"), LEASE)
            flags = [*forms.reason(_one(given, "flag")), *idle]
            version = guide.now(self.site.store, self.site.config).version
            key, mark = _one(given, "key"), _one(given, "mark")
            with self._lock:
                done = self.found.settle(who, key, mark, value, seconds, flags, version)
        except UserError as error:
            return self._show(request, f"Not saved: {error}.", 422)
        return _back(done)

    def undo(self, request: Any, given: Any) -> Any:
        """POST /settle/undo: take the last one back."""
        return _back("undone" if self.found.undo(self._who(request)) else "nothing")

    def skip(self, request: Any, given: Any) -> Any:
        """POST /settle/skip: lay one at the end."""
        with self._lock:
            self.found.skip(self._who(request), _one(given, "key"))
        return _back("skipped")

    def _who(self, request: Any) -> str:
        """Who asks, if they may settle.

        Raises:
            HTTPException: 403.
        """
        from starlette.exceptions import HTTPException

        person = self.site.person(request)
        if person.role not in (OWNER, ADJUDICATOR):
            raise HTTPException(403, "settling is for the owner and for adjudicators")
        return person.name

    def _show(self, request: Any, said: str, status: int = 200) -> Any:
        who = self._who(request)
        with self._lock:
            dispute = self.found.next(who)
            left, _ = self.found.left(who)  # how many others there are would tell who answers that somebody differs
        whole = request.query_params.get("whole") == "1"
        names = {
            "dispute": dispute,
            "pieces": [] if dispute is None else forms.pieces(dispute.item, self.site.config.pool.text),
            "parts": [] if dispute is None else [part.data for part in dispute.item.parts],
            "whole": whole,
            "form": self.form,
            "said": said,
            "bad": status != 200,
            "left": left,
            "undoes": self.found.settled(who),
        }
        return self.site.page(request, "settle.html", names, status)


def _back(code: str) -> Any:
    from starlette.responses import RedirectResponse

    return RedirectResponse(f"/settle?said={code}", 303)


def _one(given: Any, name: str) -> str:
    value = given.get(name, "")
    return value if isinstance(value, str) else ""
