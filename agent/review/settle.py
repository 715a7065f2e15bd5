"""Where people differ: a queue of its own, in which a third person gives the last word. Knows no page, no machine.

Open is what two or more people answered blind and not alike, or where one of them could not tell. Whoever settles sees
their answers in an order drawn by seed, without names, with what they noted; never what a machine says.

Outside the audit the last word becomes the item's label. The truth of an audit stays the first blind answer: there the
word is only told beside the bound on people's mistakes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent import opinions, prompt
from agent.errors import Unparsable, UserError
from agent.opinions import Word
from agent.review.queue import LEASE, Items, written
from agent.store import Store
from agent.store.settling import Ruling, Settled
from agent.store.spoken import SIDES
from agent.types import Answer, Call, Item, Kind, Task, Value

SAMPLES = 64
"""Times that one item may be settled or asked anew, at most."""
DESK = "\x1fsettles"
"""After a name: whose lease it is, apart from the cards that this person holds; no name has such a character."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one of them said. value: None: could not tell; notes: why they flagged the item."""

    value: Value | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dispute:
    """One item to be settled. mark: of the answers shown, so that a word counts for what was seen; left: how many are
    open to this person, this one among them."""

    key: str
    mark: str
    item: Item
    sides: tuple[Side, ...]
    left: int


class Differences:
    """The open differences of a run. Keeps nothing that the ledger does not give back."""

    def __init__(self, store: Store, pool: Items, task: Task, kind: Kind, seed: int) -> None:
        self._store, self._pool, self._task, self._kind, self._seed = store, pool, task, kind, seed
        self.recipe = prompt.person_recipe(task)
        self._settled = prompt.settled_recipe(self.recipe)
        self._differ: dict[tuple[str, ...], bool] = {}
        """Keys of answers -> whether they differ: answers never change."""
        self._skipped: dict[str, list[str]] = {}
        self._seen, self._words, self._twice = -1, list[Word](), dict[str, list[Word]]()
        self._open: dict[str, list[Word]] = {}

    def open(self) -> dict[str, list[Word]]:
        """Item -> the blind answers that differ and have no last word, in the order in which they are settled."""
        newest = self._store.review.newest()
        if newest != self._seen:
            self._words = opinions.words(self._store, self.recipe)
            self._twice = opinions.doubled(self._words, self.recipe)
            self._open, self._seen = self._unsettled(self._twice), newest
        return self._open

    def _unsettled(self, twice: dict[str, list[Word]]) -> dict[str, list[Word]]:
        ruled = {call.item: seq for seq, call, _ in self._store.answers_since(0, [self._settled])}
        extra = prompt.extra_recipe(self.recipe)
        found = {}
        for item, said in twice.items():
            # A late answer opens nothing that was settled; one that was given anew does.
            newest = max((word.seq for word in said if word.call.recipe != extra), default=said[-1].seq)
            if ruled.get(item, -1) < newest and self._apart(item, said):
                found[item] = said
        return dict(sorted(found.items(), key=lambda pair: self._rank("order", pair[0])))

    def next(self, who: str) -> Dispute | None:
        """The next difference for this person, leased to them; None where none is open that they may settle."""
        mine = self._for(self.open(), who)
        late = self._skipped.get(who, [])
        place = {item: late.index(self._key(item)) + 1 if self._key(item) in late else 0 for item in mine}
        for item, said in sorted(mine.items(), key=lambda pair: place[pair[0]]):
            if self._store.lease(self._key(item), who + DESK, LEASE):
                self._store.review.note(who, item, SIDES)  # whoever sees what others said is not asked about it
                return self._dispute(item, said, len(mine))
        return None

    def skip(self, who: str, key: str) -> None:
        """Lay one at the end for this person, as long as this process runs; others may have it."""
        kept = self._skipped.setdefault(who, [])
        kept[:] = [one for one in kept if one != key] + [key]
        self._store.release(key, who + DESK)

    def left(self, who: str) -> tuple[int, int]:
        """(differences that this person may settle, those that only somebody else may)."""
        every = self.open()
        mine = len(self._for(every, who))
        return mine, len(every) - mine

    def settle(
        self, who: str, key: str, mark: str, value: Value | None, seconds: float, flags: Sequence[str] = (),
        guide: int = 0,
    ) -> Settled:  # fmt: skip
        """Give the last word on the difference of this key; `value` None: nobody can tell.

        Returns: as `Settling.settle`; "gone" also where the answers are not those of `mark` any more.
        Raises:
            UserError: `value` is no label of the task.
        """
        if value is not None:
            try:
                self._kind.atoms(self._task, value)
            except Unparsable as error:
                raise UserError(f"this answer is {error}; take one of the labels shown") from error
        self.open()
        item = next((item for item in self._twice if self._key(item) == key), None)
        if item is None or self._mark(self._twice[item]) != mark:
            return "gone"
        said = self._twice[item]
        text = "" if value is None else written(value)
        given = Answer(text, unsure=value is None, who=who, seconds=seconds, flags=tuple(flags), guide=guide)
        first = next((word.call for word in said if word.call.recipe == self.recipe), said[0].call)
        ruling = Ruling(
            who=who,
            item=item,
            answer=given,
            shown=[word.call.key for word in said],
            recipes=(self.recipe, prompt.second_recipe(self.recipe), prompt.extra_recipe(self.recipe)),
            recipe=self._settled,
            calls=self._calls(first, self._settled),
            copies=self._calls(first, self.recipe),
        )
        done = self._store.review.settling.settle(ruling)
        self._store.release(key, who + DESK)
        return done

    def undo(self, who: str) -> bool:
        """Take this person's last word back, so that the difference is open again; False where there is none."""
        own = self._own(who)
        return bool(own) and self._store.review.settling.take_back(who, own[-1])

    def settled(self, who: str) -> int:
        """How many last words of this person stand."""
        return len(self._own(who))

    def _own(self, who: str) -> list[str]:
        return [call.key for _, call, answer in self._store.answers_since(0, [self._settled]) if answer.who == who]

    def _for(self, found: dict[str, list[Word]], who: str) -> dict[str, list[Word]]:
        """Those that this person has not answered, nor seen with what machines say of them."""
        seen = self._store.review.shown_to(who)
        own = {
            word.call.item
            for word in self._words
            if word.answer.who == who and not opinions.marked(word.answer, "settled")
        }
        return {item: said for item, said in found.items() if item not in seen | own and self._has(item)}

    def _has(self, item: str) -> bool:
        try:
            self._pool.position(item)
        except KeyError:
            return False  # taken in by a run that is newer than our view of the pool
        return True

    def _apart(self, item: str, said: Sequence[Word]) -> bool:
        answers = [word.answer for word in said]
        if any(answer.unsure for answer in answers):
            return True
        if len({answer.text for answer in answers}) == 1 or not self._has(item):
            return False
        keys = tuple(word.call.key for word in said)
        if keys not in self._differ:
            values = [self._value(item, answer) for answer in answers]
            first = values[0]
            self._differ[keys] = first is None or any(
                value is None or self._kind.loss(self._task, first, value) > 0 for value in values[1:]
            )
        return self._differ[keys]

    def _value(self, item: str, answer: Answer) -> Value | None:
        return opinions.label(self._kind, self._task, self._pool.item(self._pool.position(item)), answer)

    def _dispute(self, item: str, said: Sequence[Word], left: int) -> Dispute:
        shown = sorted(said, key=lambda word: self._rank("side", word.call.key))
        sides = tuple(Side(self._value(item, word.answer), _notes(word.answer)) for word in shown)
        text = replace(self._pool.item(self._pool.position(item)), gold=None)
        return Dispute(self._key(item), self._mark(said), text, sides, left)

    def _key(self, item: str) -> str:
        return prompt.key(self._settled, item, 0)

    def _mark(self, said: Sequence[Word]) -> str:
        return hashlib.sha256("\0".join(sorted(word.call.key for word in said)).encode()).hexdigest()

    def _calls(self, call: Call, recipe: str) -> list[Call]:
        """The same question under this recipe, by samples."""
        numbers = range(SAMPLES)
        return [replace(call, key=prompt.key(recipe, call.item, n), recipe=recipe, sample=n, usd=0.0) for n in numbers]

    def _rank(self, use: str, name: str) -> bytes:
        told = f"settle {use}\0{self._seed}\0{name}"
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).digest()


def _notes(answer: Answer) -> tuple[str, ...]:
    found = (flag.partition(":") for flag in answer.flags)
    return tuple(told.strip() for name, _, told in found if name == "flagged")
