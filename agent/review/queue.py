"""The review queue: the open calls to people, as cards. Knows no screen; keeps nothing but what this sitting needs.

Every card is blind: it holds the item and the task, and neither a guess, nor a probability, nor why it is asked. The
pilot comes first; audit and escalation are mixed by seed, so that nobody can tell which answers measure.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agent import certify, prompt
from agent.errors import Unparsable, UserError
from agent.store import Store
from agent.types import Answer, Call, Item, Kind, Task, Value

PERSON = "person"
LEASE = 600.0
"""Seconds one person keeps a card; activity extends it."""

FRESH = 5.0
"""Seconds for which the list of open questions is good; whether a card is still open is looked up each time."""

UNDO = 20
"""How many answers of a sitting can be taken back."""


class Items(Protocol):
    """What is wanted of a pool."""

    def position(self, id: str) -> int: ...
    def item(self, i: int) -> Item: ...


@dataclass(frozen=True, slots=True)
class Card:
    """One question to a person. `number` of `total` in this sitting; `key` names the call, and tells nothing else."""

    key: str
    item: Item
    task: Task
    number: int
    total: int


def pending(store: Store, seed: int = 0, recipe: str | None = None) -> list[Call]:
    """Open calls to people in the order in which they are asked: pilot, then the rest mixed by `seed`.

    Pilot and escalation keep their order of reservation, the audit that of the draw by `seed`: the any-time test hears
    its answers up to the first that is missing. Answers to some do not change the order of the others of their stream.
    What belongs to no turn (-1) is the audit of a finished file, whose answers count in the order of the draw: so does
    that. `recipe`: only calls of this one. What a second person is to answer comes last, once the first has answered.
    """
    found = store.open_calls(annotator=PERSON)
    calls = [call for call in found if recipe in (None, call.recipe)]
    first = [call for call in calls if call.purpose == "pilot" or call.turn < 0]
    others = [call for call in calls if call.purpose != "pilot" and call.turn >= 0]
    chosen = iter([call for call in others if call.purpose != "audit"])
    audit = [call for call in others if call.purpose == "audit"]
    drawn = iter([audit[i] for i in certify.draw([call.item for call in audit], seed)])
    places = sorted(others, key=lambda call: _rank(seed, call.item))
    mixed = [next(drawn if call.purpose == "audit" else chosen) for call in places]
    return first + mixed + (_seconds(store, found, recipe) if recipe is not None else [])


def _seconds(store: Store, calls: Sequence[Call], recipe: str) -> list[Call]:
    again = [call for call in calls if call.recipe == prompt.second_recipe(recipe)]
    told = first_word(store, recipe) if again else {}
    return [call for call in again if call.item in told]


def first_word(store: Store, recipe: str) -> dict[str, str]:
    """Item -> who answered it."""
    return {call.item: answer.who for _, call, answer in store.answers_since(0, [recipe])}


def _rank(seed: int, item: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{item}".encode()).digest()


def written(value: Value) -> str:
    """A person's answer as the ledger keeps it, and as every kind reads it back: a name, or a JSON list of names."""
    return value if isinstance(value, str) else json.dumps(list(value), ensure_ascii=False)


def number(count: int, what: str) -> str:
    """A count and its noun: "1 open question", "2 open questions"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


class Desk:
    """One person's sitting: which card is next, what was answered here and can be taken back, what was skipped.

    Every answer is committed when the method returns. A second desk, here or elsewhere, gets other cards.
    """

    def __init__(self, store: Store, pool: Items, task: Task, kind: Kind, who: str, seed: int = 0) -> None:
        self.task = task
        self.who = who
        self.answered = 0
        self._store = store
        self._pool = pool
        self._kind = kind
        self._seed = seed
        self._recipe = prompt.person_recipe(task)
        self._skipped: list[str] = []
        self._done: deque[str] = deque(maxlen=UNDO)
        self._front: str | None = None
        self._calls: dict[str, Call] = {}
        self._read = float("-inf")

    def left(self) -> int:
        """How many questions are open, those on other people's desks included."""
        return len(self._queue(fresh=True))

    def next_card(self) -> Card | None:
        """The next card, leased to this person; None when nothing is open, or all that is open is on other desks."""
        key = self._lease(self._queue()) or self._lease(self._queue(fresh=True))
        self._front = key  # a card in hand is the next card until it is answered or laid away
        if key is None:
            return None
        item = replace(self._pool.item(self._pool.position(self._calls[key].item)), gold=None)
        return Card(key, item, self.task, self.answered + 1, self.answered + len(self._calls))

    def answer(self, card: Card, value: Value | None, seconds: float = 0.0, flags: Sequence[str] = ()) -> bool:
        """Commit an answer; `value` None: cannot tell. `seconds`: the time it took.

        Returns: False when somebody else answered this card meanwhile, or it was withdrawn; nothing is added then.
        Raises:
            UserError: `value` is no label of the task.
        """
        if value is not None:
            try:
                self._kind.atoms(self.task, value)
            except Unparsable as error:
                raise UserError(f"this answer is {error}; take one of the labels shown") from error
        text = "" if value is None else written(value)
        given = Answer(text, unsure=value is None, who=self.who, seconds=seconds, flags=tuple(flags))
        added = self._store.record_now(card.key, given)
        self._store.release(card.key, self.who)
        self._front = None
        self._calls.pop(card.key, None)
        if added:
            self.answered += 1
            self._done.append(card.key)
        return added

    def undo(self) -> Card | None:
        """Take this sitting's last answer back and ask it again; None when there is none (at most the last 20).

        The answer stays in the ledger, marked as withdrawn; the same question is asked under a new key.
        """
        if not self._done:
            return None
        key = self._done.pop()
        again = self._store.calls([key])[key]
        granted: list[Call] = []
        while not granted:  # reserved before the old answer goes: cut off in between, no question is lost
            number = again.sample + 1
            again = replace(again, key=prompt.key(again.recipe, again.item, number), sample=number, usd=0.0)
            granted = self._store.reserve([again], None)
        self._store.withdraw(key, self.who)
        self.answered -= 1
        self._front = again.key
        self._queue(fresh=True)
        return self.next_card()

    def skip(self, card: Card) -> None:
        """Lay a card at the end for this sitting; others may have it."""
        self._skipped = [key for key in self._skipped if key != card.key] + [card.key]
        self._front = None
        self._store.release(card.key, self.who)

    def keep(self, card: Card) -> bool:
        """Extend the lease of a card that is being looked at; False when somebody else has it now."""
        return self._store.lease(card.key, self.who, LEASE)

    def leave(self, card: Card | None) -> None:
        """Give the card at hand back, unanswered."""
        if card is not None:
            self._front = None if self._front == card.key else self._front
            self._store.release(card.key, self.who)

    def _lease(self, calls: Mapping[str, Call]) -> str | None:
        """The first card that is open and nobody else's: the one in hand, then the queue's, then the skipped ones."""
        self._skipped = [key for key in self._skipped if key in calls]
        late = set(self._skipped)
        order = [key for key in calls if key not in late] + self._skipped
        front = self._front
        if front is not None and front in calls:
            order = [front, *(key for key in order if key != front)]
        return self._store.lease_next(self.who, order, LEASE)

    def _queue(self, fresh: bool = False) -> Mapping[str, Call]:
        """Open questions by key, in their order, as they were at most `FRESH` seconds ago."""
        if fresh or time.monotonic() - self._read > FRESH:
            found = pending(self._store, self._seed, self._recipe)
            mine = [call.item for call in found if call.recipe != self._recipe] and self._mine()
            self._calls = {
                call.key: call
                for call in found
                if self._has(call.item) and (call.recipe == self._recipe or call.item not in mine)
            }
            self._read = time.monotonic()
        return self._calls

    def _mine(self) -> set[str]:
        """Items this person has answered: somebody else must answer them the second time."""
        return {item for item, who in first_word(self._store, self._recipe).items() if who == self.who}

    def _has(self, item: str) -> bool:
        try:
            self._pool.position(item)
        except KeyError:
            return False  # taken in by a run that is newer than our view of the pool
        return True
