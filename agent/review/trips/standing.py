"""What the ledger says of the questions that a file names: open, answered by whom, taken back. Knows no file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent import prompt
from agent.review.queue import PERSON
from agent.store import Store
from agent.store.rows import plain
from agent.store.spoken import GUESS, SIDES
from agent.types import Answer, Call, Task


@dataclass
class Standing:
    """A look at the ledger, kept up with what is placed. `calls`: the questions of today's labels, by key."""

    recipe: str
    calls: dict[str, Call]
    _store: Store
    _closed: dict[str, str] = field(default_factory=dict)
    _said: dict[str, dict[str, Answer]] = field(default_factory=lambda: defaultdict(dict))
    _waiting: dict[str, Call] = field(default_factory=dict)
    _extras: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, set[str]] = field(default_factory=dict)
    _spoken: dict[str, list[tuple[str, Call, bool]]] = field(default_factory=lambda: defaultdict(list))
    _noted: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    upto: int = 0
    """Number of the last answer that was looked at."""

    @classmethod
    def of(cls, store: Store, task: Task, keys: Sequence[str]) -> Standing:
        """As the ledger stands now."""
        recipe = prompt.person_recipe(task)
        second, extra = prompt.second_recipe(recipe), prompt.extra_recipe(recipe)
        calls = {key: call for key, call in store.calls(list(keys)).items() if call.recipe in (recipe, second)}
        self = cls(recipe, calls, store, upto=store.review.newest())
        events = store.events_since(0, [recipe, second, extra])
        self._closed = {call.key: status for _, status, call, _ in events}
        for _, status, call, answer in [*events, *store.events_since(0, [prompt.settled_recipe(recipe)])]:
            if status == "ok":
                self._spoken[call.item].append((plain(answer.who), call, answer.unsure))
        for who, item, what in store.review.noted(0)[1]:
            self._noted[what][who].add(item)
        for _, status, call, answer in events:
            if status == "ok" and self._closed[call.key] == "ok":
                self._said[call.item][answer.who] = answer
        for call in [*(call for _, _, call, _ in events if call.recipe == extra), *store.asked(extra)]:
            self._extras[call.item] = max(self._extras.get(call.item, 0), call.sample + 1)
        self._waiting = {c.item: c for c in store.open_calls(annotator=PERSON) if c.recipe == second}
        return self

    def said(self, call: Call, who: str) -> Answer | None:
        """What this person has said of the item before; None where the question is open: it was put anew, or to a
        second person."""
        if call.key not in self._closed:
            return None
        return self._said[call.item].get(plain(who))

    def closed(self, call: Call, who: str) -> str:
        """Why this person cannot answer this question; "" where they can."""
        if self._closed.get(call.key) == "withdrawn":
            return "the question was taken back after the file was written: export again; it was not taken"
        if call.key not in self._closed and self._heard(call, who):
            return (
                f"{who} has answered this item before, or seen what others said of it: somebody else is to answer; "
                "it was not taken"
            )
        if old := self.said(call, who):
            told = "cannot tell" if old.unsure else old.text
            return f"{who} answered {told!r} before, and that stands; this row was not taken"
        return ""

    def _heard(self, call: Call, who: str) -> bool:
        """Whether this person has spoken of the item, or seen what others said of it; what they took back, or could not
        tell, of this very question aside."""
        for by, other, unsure in self._spoken[call.item]:
            loose = unsure or self._closed.get(other.key) == "withdrawn"
            if by == plain(who) and not (loose and other.recipe == call.recipe):
                return True
        return call.item in self._noted[SIDES][plain(who)]

    def place(self, call: Call, who: str, answer: Answer) -> Call:
        """The question that this answer goes to: this one, the second person's, or a new one for an opinion more."""
        waiting = self._waiting.get(call.item)
        if call.key not in self._closed:
            chosen = call
        elif call.recipe == self.recipe and waiting is not None and self._free(waiting, who):
            chosen = waiting
        else:
            extra, sample = prompt.extra_recipe(self.recipe), self._extras.get(call.item, 0)
            self._extras[call.item] = sample + 1
            key = prompt.key(extra, call.item, sample)
            chosen = replace(call, key=key, recipe=extra, sample=sample, usd=0.0)
        self._closed[chosen.key] = "ok"
        self._spoken[call.item].append((plain(who), chosen, answer.unsure))
        self._said[call.item][plain(who)] = answer
        return chosen

    def _free(self, call: Call, who: str) -> bool:
        return call.key not in self._closed and not self._heard(call, who)

    def guessed(self, call: Call, who: str) -> bool:
        """Whether a card has shown this person what machines say of the item."""
        return call.item in self._noted[GUESS][plain(who)]

    def is_extra(self, call: Call) -> bool:
        """Whether this question is for an opinion beside the answer that stands."""
        return call.recipe == prompt.extra_recipe(self.recipe)

    def seen(self, who: str) -> set[str]:
        """Items whose page this person opened."""
        if who not in self._seen:
            self._seen[who] = self._store.review.shown_to(who)
        return self._seen[who]
