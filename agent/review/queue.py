"""The review queue: the open questions to people, shared by all who answer in one process. Knows no screen, no person.

Every card is blind unless the project is assisted: it holds the item and the task, and neither a guess, nor a
probability, nor why it is asked. What is kept here is a copy of the ledger that is brought up to date by what was added
since; whether a card is still open, and whose it is, is decided in the transaction that records or leases.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from types import MappingProxyType
from typing import Protocol

from agent import prompt
from agent.opinions import MATES
from agent.review.alike import Alike
from agent.review.book import Book
from agent.review.order import arrange
from agent.store import Store
from agent.store.cards import Held
from agent.types import Call, Item, Kind, Task, Value

PERSON = "person"
LEASE = 600.0
"""Seconds one person keeps a card; activity extends it."""

FRESH = 5.0
"""Seconds for which the list of open questions is good; whether a card is still open is looked up each time."""

KEPT = 1_024
"""Items kept in memory, for cards that will be shown soon, at most."""
KEPT_CHARACTERS = 1 << 25


class Items(Protocol):
    """What is wanted of a pool."""

    def position(self, id: str) -> int: ...
    def item(self, i: int) -> Item: ...
    def items(self, indices: Iterable[int]) -> list[Item]: ...
    def grow(self, shards: Sequence[str]) -> bool: ...


@dataclass(frozen=True, slots=True)
class Mate:
    """A near-duplicate of a card's item that may be confirmed with it."""

    key: str
    item: Item


@dataclass(frozen=True, slots=True)
class Card:
    """One question to a person. `number` of `total` that this person has answered and could; `key` names the call, and
    tells nothing else. `guess`: the machines' label, only in assisted mode; `group`: near-duplicates to confirm."""

    key: str
    item: Item
    task: Task
    number: int
    total: int
    guess: Value | None = None
    group: tuple[Mate, ...] = ()


def written(value: Value) -> str:
    """A person's answer as the ledger keeps it, and as every kind reads it back: a name, or a JSON list of names."""
    return value if isinstance(value, str) else json.dumps(list(value), ensure_ascii=False)


def number(count: int, what: str) -> str:
    """A count and its noun: "1 open question", "2 open questions"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def pending(store: Store, seed: int, recipe: str, by: str = "value") -> list[Call]:
    """The open questions under `recipe` in the order in which they are asked; see `order.arrange`.

    What a second person is to answer comes last, once the first has answered.
    """
    book = Book(store, recipe, seed, by)
    book.refresh()
    return [*book.front(), *book.again()]


class Queue:
    """The open questions of a run. Thread-safe; never waits for the ledger while it holds its lock.

    order: "value" asks first what mends most, "fifo" in the order of reservation. assisted: questions that repair show
    the machines' label, some of them excepted.
    """

    def __init__(
        self,
        store: Store,
        pool: Items,
        task: Task,
        kind: Kind,
        seed: int,
        order: str = "value",
        assisted: bool = False,
    ) -> None:
        self.store = store
        self.task = task
        self.kind = kind
        self.assisted = assisted
        self.recipe = prompt.person_recipe(task)
        self.lock = threading.RLock()
        """Held while `book`, `skipped` or `busy` is looked at or changed."""
        self.book = Book(store, self.recipe, seed, order, self._has)
        self.skipped: dict[str, list[str]] = {}
        """Who -> keys they have laid at the end, as long as this process runs."""
        self.busy: dict[str, str] = {}
        """Key -> who held it when last looked: a hint."""
        self._pool = pool
        self._seed = seed
        self._alike = Alike(pool)
        self._one = threading.Lock()
        self._read = float("-inf")
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._characters = 0

    def refresh(self, at_most_every: float = FRESH) -> bool:
        """Take in what other processes added to the ledger, unless that was done so few seconds ago; whether it was.

        While one thread does it the others go on with what they have, but for `at_most_every` 0.
        """
        if time.monotonic() - self._read < at_most_every:
            return False
        if not self._one.acquire(blocking=not at_most_every or math.isinf(self._read)):
            return False
        try:
            if at_most_every and time.monotonic() - self._read < at_most_every:
                return False  # it was done while one waited
            news = self.book.read()
            with self.lock:
                entries = self.book.entries() if self.book.take(news) else None
                repairs = [] if entries is None else self.book.repairs()
            if entries is not None:
                arranged = arrange(entries, self._seed)
                with self.lock:
                    self.book.settle(arranged)
                self._alike.learn(repairs)
            self._read = time.monotonic()
        finally:
            self._one.release()
        return True

    def _has(self, item: str) -> bool:
        """Whether the pool has it; where a newer run took it in the pool is opened further."""
        for _ in range(2):
            try:
                self._pool.position(item)
            except KeyError:
                self._pool.grow(self.store.shards())
            else:
                return True
        return False

    def left(self) -> int:
        """How many questions are open, those on other people's desks included."""
        self.refresh(0)
        with self.lock:
            return self.book.left()

    def candidates(self, who: str, most: int | None) -> list[str]:
        """Open questions that this person may be asked, in order: second ones last, skipped ones at the very end.

        The next `most` of those that nobody was seen to hold; None: all.
        """
        with self.lock:
            skipped = self.skipped.get(who, [])
            passed = {*skipped, *(self.busy if most is not None else ())}
            free = (call for call in chain(self.book.front(), self.book.again()) if call.key not in passed)
            late = (call for call in map(self.book.call, skipped) if call is not None and self.book.may(who, call))
            found = [*islice((call.key for call in free if self.book.may(who, call)), most)]
            return [*found, *(call.key for call in late)]

    def item(self, id: str) -> Item:
        """An item without its known label. Not to be called under the lock: it may be read from disk."""
        with self.lock:
            found = self._items.get(id)
            if found is not None:
                self._items.move_to_end(id)
                return found
        found = replace(self._pool.item(self._pool.position(id)), gold=None)
        with self.lock:
            if id not in self._items:
                self._items[id] = found
                self._characters += len(found.text)
            while len(self._items) > KEPT or (self._characters > KEPT_CHARACTERS and len(self._items) > 1):
                self._characters -= len(self._items.popitem(last=False)[1].text)
        return found

    def guess(self, call: Call) -> Value | None:
        """The machines' label where it may be shown."""
        with self.lock:
            told = self.book.guess(call) if self.assisted else None
        value = None if told is None else json.loads(told)
        return tuple(value) if isinstance(value, list) else value

    def showing(self, who: str, keys: Iterable[str]) -> dict[str, str]:
        """Key -> item of these questions, and of those that `who` holds, whose card is to show the machines' label
        though it does not stand in the ledger yet that it did: a card shows it only where that stands."""
        if not self.assisted:
            return {}
        with self.lock:
            own = [key for key, owner in self.busy.items() if owner == who]
            calls = [call for call in map(self.book.call, [*keys, *own]) if call is not None]
            told = (call for call in calls if not self.book.guessed(who, call.item) and self.book.guess(call))
            return {call.key: call.item for call in told}

    def mates(self, call: Call, who: str) -> list[str]:
        """Keys of near-duplicates that `who` may confirm with a card: open, nobody else's, asked to repair as it is."""
        if call.recipe != self.recipe or call.purpose != "escalation":
            return []
        with self.lock:
            others = (self.book.mate(item) for item in self._alike.of(call.item) if item != call.item)
            free = (one.key for one in others if one is not None and self.book.may(who, one))
            return list(islice((key for key in free if self.busy.get(key, who) == who), MATES))

    def saw(self, who: str, held: Held, show: Mapping[str, str] = MappingProxyType({})) -> None:
        """Who holds what, as a transaction of `who` found and left it; `show`: what it noted of those they hold."""
        with self.lock:
            self.book.shown(who, [show[key] for key in held.mine if key in show])
            self.busy = held.others | dict.fromkeys(held.mine, who)

    def left_off(self, keys: Iterable[str]) -> None:
        """These are nobody's now."""
        with self.lock:
            for key in keys:
                self.busy.pop(key, None)

    def settle(self) -> None:
        """Wait for what is worked out beside: which items are near-duplicates."""
        self._alike.wait()
