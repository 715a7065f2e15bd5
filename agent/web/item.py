"""The page of one item: its text, what became of it, who said what. Knows what may not be shown, and to whom.

Whoever opens it has seen what machines say, and is not asked about it any more: the ledger notes who did. While people
are asked about an item its page stays shut, whatever they are asked it for; what was said in the random check stands on
no page before it repairs a label.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent import prompt
from agent.errors import Unparsable
from agent.loop.decisions import ALIKE
from agent.types import Answer, Call, Item
from agent.web.beside import Aside
from agent.web.dashboard import named

if TYPE_CHECKING:
    from agent.store.about import Step
    from agent.web.site import Site

ROLES = ("owner", "adjudicator")
PERSON = "person"
KEPT = 64
"""Items whose explanation is kept."""
AT_ONCE = 3
"""Items that may wait for theirs."""
BUSY = "Others are being looked into just now: try again in a moment."
NOTHING: dict[str, Any] = {"explained": None, "looking": False, "lost": ""}
DID = {"accept": "accepted", "abstain": "best guess given", "ask": "to be asked about"}


def routes(site: Site) -> list[Any]:
    """The page and its two buttons."""
    from starlette.routing import Route

    pages = Pages(site)
    return [
        Route("/item/{id}", pages.page, methods=["GET"]),
        Route("/item/{id}/show", pages.show, methods=["POST"]),
        Route("/item/{id}/why", pages.why, methods=["GET"]),
        Route("/item/{id}/ask", pages.ask, methods=["POST"]),
    ]


class Pages:
    """Pages of items at one server."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._explained: dict[str, Aside] = {}

    def page(self, request: Any) -> Any:
        """The item, or why it is not shown."""
        item = self._item(request)
        names: dict[str, Any] = {"item": item, "shut": "", **NOTHING}
        questions = self.site.store.review.of_item(item.id)
        if self._asked(item.id):
            return self.site.page(request, "item.html", {**names, "shut": "asked"})
        if item.id not in self._shown(request):
            return self.site.page(request, "item.html", {**names, "shut": "unseen"})
        history = self.site.store.review.history(item.id)
        names |= {
            "history": [self._step(step) for step in history],
            "said": self._said(questions, item, self.site.person(request).role == "owner"),
            "alike": self._alike(history, item),
            **self._explanation(item.id),
        }
        return self.site.page(request, "item.html", names)

    def show(self, request: Any) -> Any:
        """Notes who opens the page, and opens it."""
        from starlette.responses import RedirectResponse

        item = self._item(request)
        if not self._asked(item.id):
            self.site.store.review.show(self.site.person(request).name, item.id)
        return RedirectResponse(f"/item/{item.id}", 303)

    def why(self, request: Any) -> Any:
        """What everybody says as of now and why it is decided so: begins to find out, or tells what was found."""
        item = self._item(request)
        if self._asked(item.id) or item.id not in self._shown(request):
            return self.page(request)
        if item.id not in self._explained and sum(one.busy for one in self._explained.values()) >= AT_ONCE:
            if "hx-request" not in request.headers:
                return self.page(request)
            return self.site.page(request, "item_why.html", {"item": item, **NOTHING, "lost": BUSY})
        aside = self._explained.setdefault(item.id, Aside("explain"))
        aside.want(self.site.store.last_turn(), self.site.config, item.id, rests=False)
        while len(self._explained) > KEPT:
            self._explained.pop(next(iter(self._explained)))
        if "hx-request" not in request.headers:
            aside.wait(30.0)
            return self.page(request)
        return self.site.page(request, "item_why.html", {"item": item, **self._explanation(item.id)})

    def ask(self, request: Any) -> Any:
        """Puts the item to a person."""
        from starlette.responses import RedirectResponse

        self.site.owner_only(request)
        said = self.site.notes["dashboard"].put([self._item(request).id])
        return RedirectResponse(f"/dashboard?said={said}", 303)

    # What is shown ------------------------------------------------------------------------------------------------

    def _item(self, request: Any) -> Item:
        from starlette.exceptions import HTTPException

        if self.site.person(request).role not in ROLES:
            raise HTTPException(403, "pages of items show what machines say, and whoever answers must not be led by it")
        try:
            return self.site.pool.item(self.site.pool.position(request.path_params["id"]))
        except KeyError:
            raise HTTPException(404) from None

    def _asked(self, item: str) -> bool:
        """Whether people are being asked about it: for every purpose the same."""
        return self.site.store.review.waits(item, prompt.open_recipes(prompt.person_recipe(self.site.task)))

    def _shown(self, request: Any) -> set[str]:
        return self.site.store.review.shown_to(self.site.person(request).name)

    def _explanation(self, item: str) -> dict[str, Any]:
        aside = self._explained.get(item)
        if aside is None:
            return {**NOTHING}
        fresh = aside.key == self.site.store.last_turn()
        return {"explained": aside.found if fresh else None, "looking": aside.busy, "lost": aside.trouble}

    def _step(self, step: Step) -> dict[str, Any]:
        value = json.loads(step.value)
        return {
            "turn": step.turn,
            "did": DID.get(step.action, step.action),
            "label": None if value is None else named(value),
            "by": step.by,
            "sure": f"{100 * step.confidence:.1f}",
            "why": step.why,
        }

    def _said(
        self, questions: Sequence[tuple[Call, Answer | None]], item: Item, names: bool
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Who was asked and what came back. People's words only where nothing of them is in the random check."""
        audited = any(call.purpose == "audit" for call, _ in questions)
        opened = audited and item.id in self.site.store.opened(self._recipe())
        out = []
        for call, answer in questions:
            person = call.annotator == PERSON
            if person and audited and not opened:
                continue
            who = answer.who if person and names and answer is not None else ""
            out.append({"by": call.annotator, "who": who, "turn": call.turn, **self._word(call, answer, item)})
        return out

    def _recipe(self) -> str:
        from agent.claim import person_recipe

        return person_recipe(self.site.config)

    def _word(self, call: Call, answer: Answer | None, item: Item) -> dict[str, Any]:
        """label: what was said, None where nothing came or it cannot be read; sure: how sure a machine was, %."""
        if answer is None:
            return {"label": None, "sure": "", "note": "no answer", "flags": ()}
        if answer.unsure:
            return {"label": None, "sure": "", "note": "could not tell", "flags": answer.flags}
        kind, task = self.site.kind, self.site.task
        try:
            read = kind.parse(task, kind.question(task, item, call.sample), answer)
        except (Unparsable, KeyError, ValueError):
            read = None
        if read is None:
            return {"label": None, "sure": "", "note": "answered; under other labels or another form", "flags": ()}
        value = kind.value(task, {atom: max(d, key=d.__getitem__) for atom, d in read.items()})
        sure = min(max(d.values()) for d in read.values())
        told = f"{100 * sure:.0f}" if answer.logprobs is not None and sure < 1 else ""
        return {"label": named(value), "sure": told, "note": "", "flags": answer.flags}

    def _alike(self, history: Sequence[Step], item: Item) -> list[Item]:
        """Items that are nearly the same: of which it takes the answers, and those that take its own."""
        pool, store = self.site.pool, self.site.store
        found: list[str] = []
        _, near, name = history[-1].why.partition(f"{ALIKE} ") if history else ("", "", "")
        if near:
            named_so = [one for one, own in zip(store.item_ids(), store.names(), strict=True) if own == name]
            found += named_so or [one for one in store.item_ids() if one.startswith(name)]
        found += store.review.ending(f"{ALIKE} {item.name or item.id[:12]}")
        return [pool.item(pool.position(one)) for one in dict.fromkeys(found) if one != item.id][:10]
