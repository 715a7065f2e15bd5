"""The pages of the guidelines and of labels that are confused. Knows nothing of how versions are kept or pairs counted.

What may be an example is never said to depend on why an item was asked about. A proposed one is shown to whom it came
from and, once nobody is being asked about its text, to the owner, who is not asked about it blind from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from agent import prompt
from agent.errors import UserError
from agent.review import confusions, guide
from agent.web.outline import outline, pieces

if TYPE_CHECKING:
    from agent.store.guides import Guide
    from agent.types import Item
    from agent.web.site import Site

OWNER = "owner"
JUDGES = ("owner", "adjudicator")
VERSIONS = 30
"""Versions that are listed."""

SAID = {
    "saved": "Saved. Everybody reads it from their next card on.",
    "same": "Nothing was changed.",
    "proposed": "Thank you: it is among the proposed examples, for the owner to accept.",
    "accepted": "People see this example from their next card on.",
    "gone": "The example is taken out.",
    "declined": "The proposed example is declined.",
    "late": "Nothing was changed: people are being asked about this text now, or somebody has judged it meanwhile.",
    "other": "Somebody saved another version meanwhile: yours stands below, not saved. Put the two together.",
}
WAITS = "proposed"
STATES = {"proposed": "waits", "accepted": "accepted", "declined": "declined"}
"""What became of a proposed example, as its proposer reads it."""
WHY = 500
"""Characters of the reason an example is given."""


def routes(site: Site) -> list[Any]:
    """The pages, and what their forms do."""
    from starlette.concurrency import run_in_threadpool
    from starlette.routing import Route

    pages = Pages(site)

    def posted(work: Callable[[Any, Any], Any]) -> Any:
        async def handle(request: Any) -> Any:
            async with request.form(max_files=0, max_fields=2_000) as given:
                return await run_in_threadpool(work, request, given)

        return handle

    return [
        Route("/guidelines", pages.page, methods=["GET"]),
        Route("/guidelines", posted(pages.write), methods=["POST"]),
        Route("/guidelines/example", posted(pages.example), methods=["POST"]),
        Route("/guidelines/judge", posted(pages.judge), methods=["POST"]),
        Route("/confusions", pages.confused, methods=["GET"]),
        Route("/confusions", posted(pages.settle), methods=["POST"]),
    ]


class Pages:
    """Guidelines and confusions at one server."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._lock = threading.Lock()
        self._pairs: list[confusions.Pair] = []
        self._as_of: tuple[int, ...] | None = None
        self._told: dict[int, dict[str, Any]] = {}
        guide.current(site.store, site.config)  # the configuration was read just now, and grows old from here on
        self._asking = prompt.open_recipes(prompt.person_recipe(site.task))

    # Guidelines ---------------------------------------------------------------------------------------------------

    def page(self, request: Any) -> Any:
        """GET /guidelines: what is in force, and how it came to be so."""
        return self._show(request, said=request.query_params.get("said", ""))

    def write(self, request: Any, given: Any) -> Any:
        """POST /guidelines: a new text, on top of the version it was written from."""
        self.site.owner_only(request)
        newest, text = self._now(), _one(given, "text").replace("\r\n", "\n").strip()
        expected = _one(given, "version")
        if expected == str(newest.version) and text == guide.text(newest):
            return self._back("same")
        number = int(expected) if expected.isascii() and expected.isdigit() and len(expected) < 10 else 0
        try:
            saved = guide.write(self.site.store, self._who(request), text, number)
        except UserError as error:
            return self._show(request, trouble=str(error), draft=text, status=422)
        return self._back("saved") if saved else self._show(request, said="other", draft=text, status=409)

    def example(self, request: Any, given: Any) -> Any:
        """POST /guidelines/example: the text of a card, with a label and why, proposed to the owner."""
        from starlette.exceptions import HTTPException

        who, names = self._who(request), tuple(sorted(set(_all(given, "label"))))
        item = self._of_card(who, _one(given, "key"))
        known = set(names) <= set(self.site.task.labels)
        if item is None or not known or (self.site.task.kind == "single" and len(names) != 1):
            raise HTTPException(422, "an example is a text that you are or were asked about, and a label of the task")
        # The owner's, too: what is said here may not depend on who else is asked about the text.
        guide.propose(
            self.site.store, who, guide.Sample(item.text, names, _one(given, "why").strip()[:WHY], who, item.id)
        )
        return self._back("proposed")

    def judge(self, request: Any, given: Any) -> Any:
        """POST /guidelines/judge: the owner's word on an example."""
        self.site.owner_only(request)
        store, who, sign, word = self.site.store, self._who(request), _one(given, "sign"), _one(given, "word")
        self._now()
        if word == "remove":
            return self._back("gone" if guide.take_out(store, who, sign) else "late")
        judged = guide.accept if word == "accept" else guide.decline
        if not judged(store, who, sign, self._asking):
            return self._back("late")
        return self._back("accepted" if word == "accept" else "declined")

    def _show(
        self, request: Any, said: str = "", trouble: str = "", draft: str | None = None, status: int = 200
    ) -> Any:
        newest, person = self._now(), self.site.person(request)
        own = guide.own_offers(self.site.store, person.name)
        offers = guide.offers(self.site.store, self._asking) if person.role == OWNER else []
        # A word on one's own proposal, or somebody else's proposal, says something of the text.
        told = [one for one in offers if set(one.who) != {person.name}] + [one for one in own if one.state != WAITS]
        self._note(person.name, {one.sample.item for one in told} - {""})
        names: Mapping[str, Any] = {
            "version": newest.version,
            "blocks": outline(guide.text(newest)),
            "pieces": pieces,
            "source": guide.text(newest) if draft is None else draft,
            "labels": guide.labels(newest),
            "samples": _by_label(guide.samples(newest), guide.labels(newest)),
            "offers": offers,
            "own": own,
            "states": STATES,
            "sign": guide.sign,
            "versions": self._versions(newest.version),
            "said": SAID.get(said, ""),
            "said_bad": said in ("late", "other"),
            "trouble": trouble,
            "drafted": draft is not None,
        }
        return self.site.page(request, "guidelines.html", names, status)

    def _versions(self, newest: int) -> list[dict[str, Any]]:
        """The last versions, newest first. One that was told once is not read again: it stays as it is."""
        first = max(newest - VERSIONS + 1, 1)
        wanted = [number for number in range(first, newest + 1) if number not in self._told]
        if wanted:
            every = self.site.store.review.guides(max(wanted[0] - 1, 1))
            for before, one in zip([None, *every[:-1]], every, strict=True):
                if one.version in wanted:
                    self._told[one.version] = _row(before, one)
        return [self._told[number] for number in range(newest, first - 1, -1)]

    def _of_card(self, who: str, key: str) -> Item | None:
        """The item of a question that this person holds or has answered."""
        store = self.site.store
        call = store.calls([key]).get(key)
        recipe = prompt.person_recipe(self.site.task)
        theirs = (recipe, prompt.second_recipe(recipe))
        if call is None or call.annotator != "person" or call.recipe not in theirs:
            return None
        holds = store.leases().get(key, ("", 0.0))[0] == who
        said = any(a is not None and a.who == who for _, a in store.review.of_item(call.item))
        return self.site.pool.item(self.site.pool.position(call.item)) if holds or said else None

    # Confusions ---------------------------------------------------------------------------------------------------

    def confused(self, request: Any) -> Any:
        """GET /confusions: pairs of labels, the question each raises, and texts on which it came up."""
        return self._table(request, request.query_params.get("said", ""))

    def settle(self, request: Any, given: Any) -> Any:
        """POST /confusions: an answer to a pair's question, at the end of the guidelines."""
        self.site.owner_only(request)
        names = [name for name in _all(given, "label") if name in self.site.task.labels]
        words = _one(given, "words").strip()
        if not words or not names:
            return self._back("same", "/confusions")
        self._now()
        heading = " or ".join(f"`{name}`" for name in names) + ("?" if len(names) > 1 else " or not?")
        guide.append(self.site.store, self._who(request), f"## {heading}\n\n{words}")
        return self._back("saved", "/confusions")

    def _table(self, request: Any, said: str) -> Any:
        from starlette.exceptions import HTTPException

        person = self.site.person(request)
        if person.role not in JUDGES:
            raise HTTPException(403, "this page shows what others said, and whoever answers must not be led by it")
        pairs = self._found()
        self._note(person.name, {one.item for pair in pairs for one in pair.examples})
        find = self._find
        shown = [
            {
                "pair": pair,
                "question": confusions.words(pair, _short(find(pair.examples[0].item).text) if pair.examples else ""),
                "examples": [(find(one.item), one.said) for one in pair.examples],
                "against": pair.against,
            }
            for pair in pairs
        ]
        return self.site.page(
            request, "confusions.html", {"pairs": shown, "said": SAID.get(said, ""), "people": confusions.PEOPLE}
        )

    def _found(self) -> list[confusions.Pair]:
        """The pairs, counted anew when the ledger has changed."""
        site = self.site
        with self._lock:
            marks = site.store.review.marks()
            if marks != self._as_of:
                self._pairs = confusions.confusions(site.store, self._find, site.task, site.kind)
                self._as_of = marks
            return self._pairs

    def _note(self, who: str, items: Set[str]) -> None:
        """Whoever sees what others said of a text is not asked about it blind."""
        for item in items - self.site.store.review.shown_to(who) if items else ():
            self.site.store.review.show(who, item)

    def _find(self, item: str) -> Item:
        return self.site.pool.item(self.site.pool.position(item))

    # Both ---------------------------------------------------------------------------------------------------------

    def _now(self) -> Guide:
        return guide.now(self.site.store, self.site.config)

    def _who(self, request: Any) -> str:
        return self.site.person(request).name

    def _back(self, said: str, to: str = "/guidelines") -> Any:
        from starlette.responses import RedirectResponse

        return RedirectResponse(f"{to}?said={said}", 303)


def _row(before: Guide | None, one: Guide) -> dict[str, Any]:
    from datetime import UTC, datetime

    return {
        "number": one.version,
        "who": one.who,
        "when": datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "changed": [] if before is None else guide.difference(before, one),
    }


def _by_label(samples: Sequence[guide.Sample], labels: Mapping[str, str]) -> list[tuple[str, list[guide.Sample]]]:
    """(label, its examples) in the task's order; "" is none of them."""
    out = [(name, [one for one in samples if name in one.label]) for name in labels]
    out.append(("", [one for one in samples if not set(one.label) & set(labels)]))
    return [(name, found) for name, found in out if found]


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 80 else plain[:79].rstrip() + "…"


def _one(given: Any, name: str) -> str:
    value = given.get(name, "")
    return value if isinstance(value, str) else ""


def _all(given: Any, name: str) -> list[str]:
    return [value for value in given.getlist(name) if isinstance(value, str)]
