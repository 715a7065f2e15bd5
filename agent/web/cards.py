"""The page on which a person answers: one card, its answer, undo, skip, leases. Knows desks and forms; no purpose.

Every card is made by the same template from the same names, so that a question that measures cannot be told from one
that repairs. What is changed is a plain form; with htmx only the card is swapped, and `static/review.js` sees to keys.
"""

from __future__ import annotations

import secrets
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.errors import UserError
from agent.review import guide, minutes
from agent.review.desk import Desk
from agent.review.queue import LEASE, Card, Queue
from agent.types import Value
from agent.web import form as forms

if TYPE_CHECKING:
    from agent.web.site import Site

PACE = 20
"""Answers whose time is told as this person's pace."""
FRESH = 5.0
"""Seconds for which the guidelines' version is good."""
TOLD = 10.0
"""Seconds for which the minutes that are left are good."""
SAID = {
    "again": "That card was saved before: it counts once.",
    "late": "Somebody else answered that card meanwhile: your answer is kept as a further opinion.",
    "gone": "That question was withdrawn: there was nothing to save.",
    "undone": "Taken back: answer it again.",
    "nothing": "There is nothing to take back.",
    "moved": "Nothing was taken back: something else was answered meanwhile. Look, then press again.",
    "skipped": "Skipped: it comes back at the end.",
}


@dataclass
class Seat:
    """One person at this server. visit: the page that was opened last; older ones may not give cards back."""

    desk: Desk
    guide: int
    visit: str = ""
    pace: deque[float] = field(default_factory=lambda: deque(maxlen=PACE))
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Word:
    """What is told of the last thing done. labels: what was saved, by the key of its card; bad: it was not done."""

    text: str = ""
    labels: tuple[str, ...] | None = None
    key: str = ""
    bad: bool = False


def routes(site: Site) -> list[Any]:
    """The page, and what its forms and its script ask for."""
    from starlette.concurrency import run_in_threadpool
    from starlette.routing import Route

    hall = Hall(site)
    site.notes["cards"] = hall

    def posted(work: Callable[[Any, Any], Any]) -> Any:
        async def handle(request: Any) -> Any:
            async with request.form(max_files=0, max_fields=2_000) as given:
                return await run_in_threadpool(work, request, given)

        return handle

    found = [Route(at, posted(work), methods=["POST"]) for at, work in hall.deeds.items()]
    shown = {
        "/": hall.page, "/card": hall.card, "/ahead": hall.ahead, "/panel": hall.panel,
        "/text/{key}/{part}": hall.text,
    }  # fmt: skip
    return found + [Route(at, work, methods=["GET"]) for at, work in shown.items()]


class Hall:
    """All who answer at this server, at one queue."""

    def __init__(self, site: Site) -> None:
        run, review = site.config.run, site.config.review
        self.site = site
        self.queue = Queue(site.store, site.pool, site.task, site.kind, run.seed, review.order, review.assisted)
        self.form = forms.draw(site.task, site.kind)
        self.deeds = {
            "/answer": self.answer, "/undo": self.undo, "/skip": self.skip, "/keep": self.keep, "/leave": self.leave,
        }  # fmt: skip
        self._seats: dict[str, Seat] = {}
        self._lock = threading.Lock()
        self._guide, self._read = 0, float("-inf")
        self._words, self._told = "", float("-inf")

    def seat(self, who: str) -> Seat:
        """The seat of one person, whose answers carry the guidelines' version of now."""
        with self._lock:
            if time.monotonic() - self._read > FRESH:
                self._guide = guide.now(self.site.store, self.site.config).version
                self._read = time.monotonic()
            seat = self._seats.get(who)
            if seat is None:
                seat = self._seats[who] = Seat(Desk(self.queue, who, self._guide), self._guide)
            elif seat.guide != self._guide:
                seat.desk, seat.guide = Desk(self.queue, who, self._guide), self._guide
        return seat

    # What is shown ------------------------------------------------------------------------------------------------

    def page(self, request: Any) -> Any:
        """GET /: the whole page with the card in hand. `?said=`: what was just done, where there is no script."""
        seat = self._mine(request)
        with seat.lock:
            seat.visit = secrets.token_hex(8)
            said = request.query_params.get("said", "")
            word = Word("Saved.") if said == "saved" else Word(SAID.get(said, ""))
            return self._show(request, seat, word, whole=True)

    def card(self, request: Any) -> Any:
        """GET /card: the card in hand again, after something was lost."""
        seat = self._mine(request)
        with seat.lock:
            return self._show(request, seat, Word())

    def ahead(self, request: Any) -> Any:
        """GET /ahead: the card after the one in hand, kept for this person; 204 where there is none."""
        from starlette.responses import Response

        seat = self._mine(request)
        with seat.lock:
            cards = seat.desk.ahead(1)
            return self._draw(request, seat, cards[0], Word()) if cards else Response(status_code=204)

    def panel(self, request: Any) -> Any:
        """GET /panel: the guidelines in force, as they stand beside the card."""
        now = guide.now(self.site.store, self.site.config)
        told = {
            "version": now.version, "text": guide.text(now), "labels": guide.labels(now), "samples": guide.samples(now)
        }  # fmt: skip
        return self.site.page(request, "card_panel.html", told)

    def text(self, request: Any) -> Any:
        """GET /text/KEY/PART: the whole of a part of a card that this person holds."""
        from starlette.exceptions import HTTPException

        seat, which = self._mine(request), request.path_params["part"]
        part = int(which) if which.isascii() and which.isdecimal() and len(which) < 9 else -1
        with seat.lock:
            held = seat.desk.card(request.path_params["key"])
        if held is None or not 0 <= part < len(held.item.parts):
            raise HTTPException(404, "this card is not on your desk any more")
        short = "hx-request" in request.headers
        return self.site.page(
            request, "card_text.html" if short else "card_whole.html", {"body": held.item.parts[part].data}
        )

    # What is done -------------------------------------------------------------------------------------------------

    def answer(self, request: Any, given: Any) -> Any:
        """POST /answer: commit it, then show the next card."""
        seat, key = self._mine(request), _one(given, "key")
        with seat.lock:
            try:
                value = forms.read(self.form, _one(given, "say"), _all(given, "label"))
                seconds, idle = forms.took(_one(given, "seconds"), LEASE)
                flags = [*forms.reason(_one(given, "flag")), *idle]
                mates = _all(given, "mate") if _one(given, "together") else []
                guess = self._guess(given)
                outcome = seat.desk.answer(key, value, seconds, flags, mates, guess)
            except UserError as error:
                return self._show(request, seat, Word(f"Not saved: {error}.", bad=True), status=422)
            if outcome.status != "saved":
                return self._done(request, seat, outcome.status, ready=_one(given, "ready"))
            if seconds and not idle and guess is None:
                seat.pace.append(seconds)
            word = Word(f"Saved for {1 + len(outcome.mates)}:" if outcome.mates else "Saved:", _names(value), key)
            return self._done(request, seat, "saved", word, _one(given, "ready"))

    def undo(self, request: Any, given: Any) -> Any:
        """POST /undo: take the last answer back. `answered`: how many the page saw; a repeated request does nothing."""
        seat = self._mine(request)
        with seat.lock:
            self.queue.refresh()
            told, stand = _one(given, "answered"), seat.desk.answered()
            if told != str(stand):  # repeated by a page that did not hear of its success, or from an older page
                return self._done(request, seat, "undone" if told == str(stand + 1) else "moved")
            again = seat.desk.undo()
            return self._done(request, seat, "nothing" if again is None else "undone", card=again)

    def skip(self, request: Any, given: Any) -> Any:
        """POST /skip: lay the card at the end."""
        seat = self._mine(request)
        with seat.lock:
            seat.desk.skip(_one(given, "key"))
            return self._done(request, seat, "skipped", ready=_one(given, "ready"))

    def keep(self, request: Any, given: Any) -> Any:
        """POST /keep: extend the leases of the cards on the page; says which are still this person's."""
        from starlette.responses import JSONResponse

        seat = self._mine(request)
        with seat.lock:
            return JSONResponse({"held": [key for key in _all(given, "key")[:8] if seat.desk.keep(key)]})

    def leave(self, request: Any, given: Any) -> Any:
        """POST /leave: the page was closed; its cards go back, unless a newer page of the same person is open."""
        from starlette.responses import Response

        seat = self._mine(request)
        with seat.lock:
            if seat.visit and seat.visit == _one(given, "visit"):
                seat.visit = ""
                seat.desk.leave()
        return Response(status_code=204)

    # How it is shown ----------------------------------------------------------------------------------------------

    def _mine(self, request: Any) -> Seat:
        return self.seat(self.site.person(request).name)

    def _guess(self, given: Any) -> Value | None:
        """The machines' label that stood on the card; only assisted questions have one."""
        shown = [name for name in _all(given, "guess") if name in self.site.task.labels]
        if not self.site.config.review.assisted or "guessed" not in given:
            return None
        return tuple(sorted(shown)) if self.form.many else (shown[0] if shown else None)

    def _done(
        self, request: Any, seat: Seat, code: str, word: Word | None = None, ready: str = "", card: Card | None = None
    ) -> Any:
        """After a form: the next card where htmx asks, and the page anew where there is no script."""
        from starlette.responses import RedirectResponse

        if "hx-request" not in request.headers:
            return RedirectResponse(f"/?said={code}", 303)
        return self._show(request, seat, word or Word(SAID[code]), card=card, ready=ready)

    def _show(
        self, request: Any, seat: Seat, word: Word, status: int = 200, card: Card | None = None, ready: str = "",
        whole: bool = False,
    ) -> Any:  # fmt: skip
        """The card in hand. `ready`: the key of a card that the page holds already and needs not be sent again."""
        card = card or seat.desk.next_card()
        whole = whole or "hx-request" not in request.headers
        return self._draw(request, seat, card, word, status, card is not None and card.key == ready, whole)

    def _draw(
        self, request: Any, seat: Seat, card: Card | None, word: Word, status: int = 200, there: bool = False,
        whole: bool = False,
    ) -> Any:  # fmt: skip
        names: Mapping[str, Any] = {
            "card": card,
            "pieces": [] if card is None else forms.pieces(card.item, self.site.config.pool.text),
            "guess": () if card is None else _names(card.guess),
            "form": self.form,
            "word": word,
            "there": there,
            "answered": seat.desk.answered() if card is None else card.number - 1,
            "left": self.queue.left() if card is None else card.total - card.number + 1,
            "pace": round(statistics.median(seat.pace)) if seat.pace else 0,
            "minutes": self._minutes(),
            "visit": seat.visit,
            "guide": seat.guide,
            "frame": self._frame(),
        }
        return self.site.page(request, "card.html" if whole else "card_region.html", names, status)

    def _minutes(self) -> str:
        """How much longer people are wanted, as of `TOLD` seconds ago at most."""
        with self._lock:
            due = time.monotonic() - self._told > TOLD
            if due:
                self._told = time.monotonic()
        if due:
            self._words = minutes.left(self.site.store, self.site.config, time.time()).words.partition(":")[0]
        return self._words

    def _frame(self) -> str:
        """The kind's own template.

        Raises:
            HTTPException: 501, there is none.
        """
        from jinja2 import TemplateNotFound
        from starlette.exceptions import HTTPException

        try:
            self.site.room.get_template(self.form.template)
        except TemplateNotFound as error:
            kind = self.site.task.kind
            told = f"there is no card for questions of kind {kind!r}: add the template {self.form.template}"
            raise HTTPException(501, told) from error
        return self.form.template


def _one(given: Any, name: str) -> str:
    """A form's field; "" where it is not there."""
    value = given.get(name, "")
    return value if isinstance(value, str) else ""


def _all(given: Any, name: str) -> list[str]:
    return [value for value in given.getlist(name) if isinstance(value, str)]


def _names(value: Value | None) -> tuple[str, ...] | None:
    """A value as names; None stays None: cannot tell, or nothing guessed."""
    return (value,) if isinstance(value, str) else value
