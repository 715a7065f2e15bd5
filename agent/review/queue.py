"""The review queue: the open questions to people, shared by all who answer in one process. Knows no screen, no person.

Every card is blind unless the project is assisted: it holds the item and the task, and neither a guess, nor a
probability, nor why it is asked. What is kept here is a copy of the ledger that is brought up to date by what was added
since; whether a card is still open, and whose it is, is decided in the transaction that records or leases.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agent import prompt
from agent.review import order
from agent.store import Store
from agent.store.cards import Closing, Put, Since
from agent.types import Call, Item, Kind, Task, Value

PERSON = "person"
LEASE = 600.0
"""Seconds one person keeps a card; activity extends it."""

FRESH = 5.0
"""Seconds for which the list of open questions is good; whether a card is still open is looked up each time."""

UNDO = 20
"""How many answers of a person can be taken back."""

MATES = 9
"""Near-duplicates that may be confirmed with a card, at most."""

KEPT = 256
"""Items kept in memory, for cards that will be shown soon."""

ELSEWHERE = ("carried", "settled", "sheet", "import")
"""Flags of answers that were not given at a desk: `undo` does not reach them."""

GROUP = "group"
"""Flag of an answer that was given with that of a near-duplicate."""


class Items(Protocol):
    """What is wanted of a pool."""

    def position(self, id: str) -> int: ...
    def item(self, i: int) -> Item: ...


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
    return [*book.front(), *(call for call in book.again() if call.item in book.said)]


class Book:
    """What is open and in what order, as of the last look at the ledger. One thread at a time."""

    def __init__(self, store: Store, recipe: str, seed: int, by: str) -> None:
        self.said: dict[str, str] = {}
        """Item -> who answered it first."""
        self.count: Counter[str] = Counter()
        """Who -> how many of their answers stand."""
        self.arranged = order.Arranged([], frozenset(), [])
        self._store = store
        self._recipe = recipe
        self._second = prompt.second_recipe(recipe)
        self._seed = seed
        self._by = by
        self._since = Since()
        self._asked: dict[str, Call] = {}
        """Every question by its key, closed ones too."""
        self._seq: dict[str, int] = {}
        """Item -> the number of its first question."""
        self._open: dict[str, dict[str, Call]] = {}
        """Item -> its open questions by key, most often one."""
        self._again: dict[str, Call] = {}
        self._who: dict[str, str] = {}
        """Key -> who answered it, of answers that stand."""
        self._withdrawn: set[str] = set()
        self._last: dict[str, deque[tuple[str, bool]]] = {}
        """Who -> keys of their last answers, and whether each was given with another one."""
        self._closed: dict[str, float] = {}
        """Item -> when its question was closed, of those closed since the order was made."""
        self._newest = 0.0
        self._head = 0
        self._worth: dict[str, tuple[float, str]] = {}
        self._worths = 0
        self._decided: dict[str, tuple[str, float]] = {}
        self._decisions = 0

    def refresh(self) -> bool:
        """Take in what was added to the ledger; whether the order was made anew."""
        before = self._since.calls
        self._since, put, closed = self._store.review.news(self._since, [self._recipe, self._second])
        fresh = [self.put(one) for one in put]
        for one in closed:
            self.close(one)
        last, worths = self._store.review.worths(self._worths)
        changed = any(fresh) or last > self._worths
        if changed:
            self._worth |= worths
            self._worths = last
            self._decide(before)
            self._arrange()
        return changed

    def put(self, one: Put) -> bool:
        """A question that was put; whether it wants a place in the order."""
        call = one.call
        if call.key in self._asked:
            return False
        self._asked[call.key] = call
        if call.recipe == self._second:
            self._again[call.key] = call
            return False
        known = call.item in self._seq
        self._seq.setdefault(call.item, one.seq)
        self._open.setdefault(call.item, {})[call.key] = call
        self._head = 0
        if call.sample == 0:
            self._newest = max(self._newest, one.at)
        return not known

    def close(self, one: Closing) -> None:
        """What closed a question; hearing of it twice changes nothing."""
        call = self._asked.get(one.key)
        if call is None or one.key in self._withdrawn:
            return
        if one.status == "ok" and one.key not in self._who:
            self._who[one.key] = one.who
            self.count[one.who] += 1
            if not any(flag.partition(":")[0] in ELSEWHERE for flag in one.flags):
                self._last.setdefault(one.who, deque(maxlen=UNDO * (MATES + 1))).append((one.key, GROUP in one.flags))
            if call.recipe == self._recipe:
                self.said.setdefault(call.item, one.who)
        elif one.status == "withdrawn":
            self._withdrawn.add(one.key)
            who = self._who.pop(one.key, None)
            if who is not None:
                self.count[who] -= 1
                self._forget(call)
        self._again.pop(one.key, None)
        still = self._open.get(call.item)
        if still is not None and still.pop(one.key, None) is not None and not still:
            del self._open[call.item]
            self._closed[call.item] = one.at

    def _forget(self, call: Call) -> None:
        """An answer was taken back: who said the first word about its item now?"""
        if call.recipe == self._recipe:
            words = [who for key, who in self._who.items() if self._asked[key].item == call.item
                     and self._asked[key].recipe == self._recipe]  # fmt: skip
            self.said.pop(call.item, None)
            if words:
                self.said[call.item] = words[0]

    def _decide(self, put: int) -> None:
        """Read what the machines think of what is asked: all of new questions, of the others what has changed."""
        if put:
            _, found = self._store.review.decided(0, self._recipe, put)
            self._decided |= found
        self._decisions, found = self._store.review.decided(self._decisions, self._recipe)
        self._decided |= found

    def _arrange(self) -> None:
        """The order of what was open when the newest question came, so that answers do not change it."""
        self._closed = {item: at for item, at in self._closed.items() if at > self._newest}
        entries = []
        for item in {**self._open, **self._closed}:
            calls = self._open.get(item) or {k: c for k, c in self._asked.items() if c.item == item}
            call = next(iter(calls.values()))
            worth, leader = self._worth_of(item)
            entries.append(order.Entry(item, call.purpose, call.turn, self._seq[item], worth, leader))
        self.arranged = order.arrange(entries, self._seed)
        self._head = 0

    def _worth_of(self, item: str) -> tuple[float, str]:
        if self._by != "value":
            return 0.0, ""
        if item in self._worth:
            return self._worth[item]
        return (1.0 - self._decided[item][1] if item in self._decided else 0.0), ""

    def left(self) -> int:
        """How many questions are open."""
        return sum(map(len, self._open.values())) + sum(call.item in self.said for call in self._again.values())

    def front(self) -> Iterator[Call]:
        """Open first questions in their order."""
        items = self.arranged.items
        while self._head < len(items) and items[self._head] not in self._open:
            self._head += 1
        for i in range(self._head, len(items)):
            yield from self._open.get(items[i], {}).values()

    def again(self) -> Iterator[Call]:
        """Open second questions."""
        return iter(self._again.values())

    def call(self, key: str) -> Call | None:
        """The question of this key, closed or not."""
        return self._asked.get(key)

    def last(self, who: str) -> list[tuple[str, bool]]:
        """(key, given with the one before) of a person's last answers, taken back ones too, oldest first."""
        return list(self._last.get(who, ()))

    def stands(self, key: str) -> bool:
        """Whether the question has an answer that was not taken back."""
        return key in self._who

    def guess(self, call: Call) -> str | None:
        """What may be shown as the machines' label, as JSON; None where the card stays blind."""
        if call.recipe != self._recipe or call.purpose != "escalation" or call.item in self.arranged.blind:
            return None
        found = self._decided.get(call.item)
        return None if found is None else found[0]


class Queue:
    """The open questions of a run. Thread-safe; never waits for the ledger's writer while it holds its lock.

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
        self.skipped: dict[str, list[str]] = {}
        """Who -> keys they have laid at the end, as long as this process runs."""
        self._pool = pool
        self.book = Book(store, self.recipe, seed, order)
        self._read = float("-inf")
        self._items: OrderedDict[str, Item | None] = OrderedDict()

    def refresh(self, at_most_every: float = FRESH) -> None:
        """Take in what other processes added to the ledger, unless that was done so few seconds ago."""
        with self.lock:
            if time.monotonic() - self._read >= at_most_every:
                self.book.refresh()
                self._read = time.monotonic()

    def left(self) -> int:
        """How many questions are open, those on other people's desks included."""
        self.refresh(0)
        with self.lock:
            return self.book.left()

    def candidates(self, who: str, most: int) -> list[str]:
        """The next `most` open questions that this person may be asked: in order, second ones last, skipped ones
        at the very end."""
        with self.lock:
            skipped = self.skipped.get(who, [])
            late = set(skipped)
            found: list[str] = []
            for call in self.front(who):
                if len(found) >= most:
                    return found
                if call.key not in late and self.item(call.item) is not None:
                    found.append(call.key)
            return [*found, *skipped]

    def front(self, who: str) -> Iterator[Call]:
        """Open questions in order, those that this person may not answer left out. Under the lock."""
        yield from self.book.front()
        yield from (call for call in self.book.again() if self.may(who, call))

    def may(self, who: str, call: Call) -> bool:
        """Whether this person may be asked: a second question is for somebody else than who answered the first."""
        return call.recipe == self.recipe or self.book.said.get(call.item, who) != who

    def item(self, id: str) -> Item | None:
        """An item without its known label; None where a newer run took it in than our view of the pool."""
        with self.lock:
            if id not in self._items:
                try:
                    self._items[id] = replace(self._pool.item(self._pool.position(id)), gold=None)
                except KeyError:
                    return None
                if len(self._items) > KEPT:
                    self._items.popitem(last=False)
            self._items.move_to_end(id)
            return self._items[id]

    def guess(self, call: Call) -> Value | None:
        """The machines' label where it may be shown."""
        if not self.assisted:
            return None
        with self.lock:
            told = self.book.guess(call)
        value = None if told is None else json.loads(told)
        return tuple(value) if isinstance(value, list) else value

    def group(self, call: Call) -> Sequence[Mate]:
        """Near-duplicates that may be confirmed with a card."""
        return ()
