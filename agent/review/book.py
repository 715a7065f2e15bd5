"""The queue's copy of the ledger: what is open, who said what, and in what order questions come. Knows no threads.

It is brought up to date by what was added to the ledger since. The order is a function of the ledger and the seed: it
is made from all that was open when the newest question was put, so that answers take cards out of it and move none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from agent import opinions, prompt
from agent.opinions import ELSEWHERE, LAST, UNDO
from agent.review import order
from agent.store import Store
from agent.store.cards import Closing, Put, Since
from agent.store.review import GONE
from agent.store.spoken import GUESS, SIDES
from agent.types import Call

Doubts = dict[str, tuple[str, float]]
"""Item -> (the machines' label as JSON, their confidence)."""


@dataclass(frozen=True, slots=True)
class News:
    """What a look at the ledger brought."""

    since: Since
    put: list[Put]
    closed: list[Closing]
    worths: dict[str, tuple[float, str]]
    worth: int
    decided: Doubts
    decision: int
    looked: list[tuple[str, str]]
    look: int
    noted: list[tuple[str, str, str]]
    note: int
    names: frozenset[str]


class Book:
    """What people are asked under a recipe, as of the last look. by: "value" or "fifo"; has: is the item known here?"""

    def __init__(
        self, store: Store, recipe: str, seed: int, by: str, has: Callable[[str], bool] = lambda item: True
    ) -> None:
        self.said: dict[str, str] = {}
        """Item -> who answered it first."""
        self.count: Counter[str] = Counter()
        """Who -> how many of their answers stand."""
        self._store = store
        self._recipe = recipe
        self._second = prompt.second_recipe(recipe)
        self.recipes = (recipe, self._second, prompt.extra_recipe(recipe), prompt.settled_recipe(recipe))
        """Under which people speak of an item: first, second, late, settling."""
        self._seed = seed
        self._by = by
        self._has = has
        self._since = Since()
        self._worth = self._decision = self._look = self._note = 0
        self._asked: dict[str, Call] = {}
        """Every question by its key, closed ones too."""
        self._beside: dict[str, Call] = {}
        """Late answers' and settlements' calls by key; nobody is asked them."""
        self._spoken: dict[str, dict[str, tuple[str, str, bool]]] = {}
        """Item -> key -> (who answered it, its recipe, could they not tell), what was taken back included."""
        self._first: dict[str, tuple[int, Call]] = {}
        """Item -> the first question of the purpose it is asked for now, and the number of that."""
        self._open: dict[str, list[Call]] = {}
        """Item -> its open questions, most often one."""
        self._number = 0
        """How many first questions are open."""
        self._again: dict[str, Call] = {}
        """Open second questions by key."""
        self._who: dict[str, str] = {}
        """Key -> who answered it, of answers that stand."""
        self._withdrawn: set[str] = set()
        self._twice: set[str] = set()
        """Items that are, or were, put to a second person."""
        self._seen: dict[str, set[str]] = {}
        """Who -> items whose page they have opened, where the machines' label stands."""
        self._guessed: dict[str, set[str]] = {}
        """Who -> items whose card showed, or will show, them the machines' label."""
        self._sides: dict[str, set[str]] = {}
        """Who -> items of which they have seen what others said."""
        self._names: frozenset[str] = frozenset()
        self._last: dict[str, dict[str, tuple[float, bool]]] = {}
        """Who -> their last answers by key: number, and whether it was given with the one before."""
        self._closed: dict[str, float] = {}
        """Item -> when its question was closed, of those that have a place in the order still."""
        self._newest = 0.0
        self._worths: dict[str, tuple[float, str]] = {}
        self._decided: Doubts = {}
        self._order: list[str] = []
        self._placed: set[str] = set()
        self._loose: dict[str, None] = {}
        """Open items that have no place in the order yet."""
        self._moved = False
        """An item is asked for another purpose than when the order was made."""
        self._head = 0

    # What the ledger says -----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Take in what was added to the ledger, and make the order anew where that changes it."""
        if self.take(self.read()):
            self.settle(order.arrange(self.entries(), self._seed))

    def read(self) -> News:
        """What was added since the last look; changes nothing here."""
        ledger = self._store.review
        since, put, closed = ledger.news(self._since, self.recipes)
        worth, worths = ledger.worths(self._worth)
        decision, decided = ledger.decided(self._decision, self._recipe)
        if self._since.calls and since.calls > self._since.calls:  # what was decided before of what is asked since
            decided = ledger.decided(0, self._recipe, self._since.calls)[1] | decided
        look, looked = ledger.looked(self._look)
        note, noted = ledger.noted(self._note)
        names = frozenset(person.name for person in ledger.people().values() if person.role != GONE)
        return News(since, put, closed, worths, worth, decided, decision, looked, look, noted, note, names)

    def take(self, news: News) -> bool:
        """Take it in; whether the order is to be made anew."""
        self._since, self._worth, self._decision = news.since, news.worth, news.decision
        self._look, self._note, self._names = news.look, news.note, news.names
        for who, item in news.looked:
            self._seen.setdefault(who, set()).add(item)
        for who, item, what in news.noted:
            self.shown(who, [item], what)
        for one in news.put:
            self.put(one)
        for closing in news.closed:
            self.close(closing)
        self._worths |= news.worths
        self._decided |= news.decided
        weighed = news.worths.keys() | news.decided.keys() if self._by == "value" else ()
        told = any(item in self._open or item in self._closed for item in weighed)
        return bool(told or self._moved or self._loose)

    def put(self, one: Put) -> None:
        """A question that was put; hearing of it twice changes nothing."""
        call = one.call
        if call.recipe in self.recipes[2:]:
            self._beside[call.key] = call
            return
        if call.key in self._asked or not self._has(call.item):
            return
        self._asked[call.key] = call
        if call.recipe == self._second:
            self._again[call.key] = call
            self._twice.add(call.item)
            return
        if call.item not in self._first or self._first[call.item][1].purpose != call.purpose:
            self._first[call.item] = one.seq, call
            self._moved = True
        self._open.setdefault(call.item, []).append(call)
        self._number += 1
        if call.item not in self._placed:
            self._loose[call.item] = None
        self._head = 0
        if call.sample == 0:
            self._newest = max(self._newest, one.at)

    def close(self, one: Closing) -> None:
        """What closed a question; hearing of it twice changes nothing."""
        call = self._asked.get(one.key)
        asked = call or self._beside.get(one.key)
        if asked is not None and one.status == "ok":
            self._spoken.setdefault(asked.item, {})[one.key] = one.who, asked.recipe, one.unsure
        if asked is not None and call is None and one.status == "withdrawn":
            self._withdrawn.add(one.key)
        if call is not None and one.status == "ok":
            self._note_last(one)
        if call is None or one.key in self._withdrawn:
            return
        if one.status == "ok" and one.key not in self._who:
            self._who[one.key] = one.who
            self.count[one.who] += 1
            if call.recipe == self._recipe:
                self.said.setdefault(call.item, one.who)
        elif one.status == "withdrawn":
            self._withdrawn.add(one.key)
            if one.key in self._who:
                self.count[self._who.pop(one.key)] -= 1
                self._hear_again(call)
        self._again.pop(one.key, None)
        waiting = self._open.get(call.item, [])
        left = [other for other in waiting if other.key != one.key]
        self._number -= len(waiting) - len(left)
        if left:
            self._open[call.item] = left
        elif waiting:
            del self._open[call.item]
            self._loose.pop(call.item, None)
            self._closed[call.item] = one.at

    def _note_last(self, one: Closing) -> None:
        """One of a person's last answers, for `last`; its number is not known before it is read from the ledger."""
        if any(flag.partition(":")[0] in ELSEWHERE for flag in one.flags):
            return
        last = self._last.setdefault(one.who, {})
        last[one.key] = one.seq or math.inf, opinions.GROUP in one.flags
        if len(last) > 4 * LAST:
            self._last[one.who] = dict(sorted(last.items(), key=lambda pair: pair[1][0])[-LAST:])

    def _hear_again(self, call: Call) -> None:
        """An answer was taken back: whose is the first word about its item now?"""
        if call.recipe == self._recipe and self.said.pop(call.item, None) is not None:
            for key in (prompt.key(self._recipe, call.item, sample) for sample in range(call.sample + 2)):
                if key in self._who:
                    self.said.setdefault(call.item, self._who[key])

    # The order ----------------------------------------------------------------------------------------------------

    def entries(self) -> list[order.Entry]:
        """What wants a place: all that is open, and what was closed since the newest question was put."""
        self._moved = False
        self._closed = {item: at for item, at in self._closed.items() if at > self._newest}
        found = []
        for item in self._open | self._closed:
            seq, call = self._first[item]
            found.append(order.Entry(item, call.purpose, call.turn, seq, *self._value(item)))
        return found

    def _value(self, item: str) -> tuple[float, str]:
        """What an answer is worth and whose like the item is: as the loop wrote, else by the machines' doubt."""
        if self._by != "value":
            return 0.0, ""
        if item in self._worths:
            return self._worths[item]
        return (1.0 - self._decided[item][1] if item in self._decided else 0.0), ""

    def settle(self, arranged: order.Arranged) -> None:
        """The order from now on."""
        self._order = arranged.items
        self._placed = set(arranged.items)
        self._loose = {item: None for item in self._loose if item not in self._placed}
        self._head = 0

    def front(self) -> Iterator[Call]:
        """Open first questions in their order; those put since it was made (taken back, most often) come first."""
        items = self._order
        yield from (call for item in list(self._loose) for call in self._open[item])
        while self._head < len(items) and items[self._head] not in self._open:
            self._head += 1
        for i in range(self._head, len(items)):
            yield from self._open.get(items[i], ())

    def again(self) -> Iterator[Call]:
        """Open second questions whose first was answered."""
        return (call for call in self._again.values() if call.item in self.said)

    # Looking things up --------------------------------------------------------------------------------------------

    def left(self) -> int:
        """How many questions are open."""
        return self._number + sum(1 for _ in self.again())

    def call(self, key: str) -> Call | None:
        """The question of this key, closed or not."""
        return self._asked.get(key)

    def mate(self, item: str) -> Call | None:
        """The item's open question, where it may be confirmed with another's: it repairs, and is one person's."""
        found = next(iter(self._open.get(item, ())), None)
        return found if found and found.purpose == "escalation" and item not in self._twice else None

    def repairs(self) -> list[str]:
        """Items that are asked about to repair, in their order of reservation."""
        return [item for item, calls in self._open.items() if calls[0].purpose == "escalation"]

    def last(self, who: str) -> list[str]:
        """Keys of a person's last answer that stands, of the last `UNDO`: itself first, then what was given with it."""
        groups: list[list[str]] = []
        noted = sorted(self._last.get(who, {}).items(), key=lambda pair: pair[1][0])[-LAST:]
        for key, (_, joined) in noted:
            if joined and groups:
                groups[-1].append(key)
            else:
                groups.append([key])
        standing = [group for group in groups[-UNDO:] if group[0] in self._who]
        if standing and self._spoilt(who, self._asked[standing[-1][0]]):
            return []
        return [key for key in standing[-1] if key in self._who] if standing else []

    def _spoilt(self, who: str, call: Call) -> bool:
        """A blind answer that measures, whose item's page this person has opened since, cannot be given again."""
        return call.purpose != "escalation" and self.looked(who, call.item)

    def may(self, who: str, call: Call) -> bool:
        """Whether this person may be asked: nobody who has spoken of the item already, but that who took their answer
        back, or could not tell, may answer that question put anew; and nobody who has seen what others said of it. Who
        has seen what machines say of it is asked only to repair, where nobody else is left."""
        if self._heard(who, call) or call.item in self._sides.get(who, ()):
            return False
        if not self.looked(who, call.item):
            return True
        return not (call.recipe == self._second or call.purpose != "escalation" or self._others(who, call.item))

    def _heard(self, who: str, call: Call) -> bool:
        """Whether this person has spoken of the item; what they took back, or could not tell, of this very question
        aside."""
        return any(
            by == who and (recipe != call.recipe or not (unsure or key in self._withdrawn))
            for key, (by, recipe, unsure) in self._spoken.get(call.item, {}).items()
        )

    def _others(self, who: str, item: str) -> bool:
        return any(not self.looked(name, item) for name in self._names - {who})

    def looked(self, who: str, item: str) -> bool:
        """Whether this person has opened the item's page, where the machines' label stands."""
        return item in self._seen.get(who, ())

    def shown(self, who: str, items: Iterable[str], what: str = GUESS) -> None:
        """Beside these items this was, or will be, shown to somebody; the ledger says so."""
        if what in (GUESS, SIDES):
            (self._guessed if what == GUESS else self._sides).setdefault(who, set()).update(items)

    def guessed(self, who: str, item: str) -> bool:
        """Whether it stands in the ledger that this person's card showed the machines' label."""
        return item in self._guessed.get(who, ())

    def guess(self, call: Call) -> str | None:
        """What may be shown as the machines' label, as JSON; None where the card stays blind: what measures, what two
        people answer, and some of the others."""
        if call.recipe != self._recipe or call.purpose != "escalation" or order.blind(call.item, self._seed):
            return None
        found = None if call.item in self._twice else self._decided.get(call.item)
        return None if found is None else found[0]
