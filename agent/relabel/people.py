"""People's questions and answers under other labels: which are carried, which are put again. Asks nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agent import prompt
from agent.relabel.change import Change, word
from agent.store import Store
from agent.store.moves import Move
from agent.store.settling import FLAG
from agent.types import Answer, Call, Item, Kind, Task

WITH_QUESTIONS = (str, prompt.second_recipe)
"""Recipes under which a touched question is put again; an extra opinion, or what was settled, is not."""

RECIPES = (*WITH_QUESTIONS, prompt.extra_recipe, prompt.settled_recipe)

Find = Callable[[str], Item]
Given = tuple[int, Answer]
"""An answer and its number."""


@dataclass
class Counts:
    """Of people's questions: answers carried, put again by stream, open ones that go along, late words let go."""

    carried: int = 0
    again: dict[str, int] = field(default_factory=dict)
    open: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class Under:
    """All that stands under one recipe: calls that were not taken back, their answers, and what was taken back."""

    calls: list[Call]
    given: dict[str, Given]
    gone: dict[str, Call]

    @classmethod
    def read(cls, store: Store, recipe: str) -> Under:
        given: dict[str, Given] = {}
        gone: dict[str, Call] = {}
        for seq, status, call, answer in store.events_since(0, [recipe]):
            if status == "ok":
                given[call.key] = seq, answer
            elif status == "withdrawn":
                gone[call.key] = call
        return cls(store.asked(recipe), {k: v for k, v in given.items() if k not in gone}, gone)


def people(store: Store, change: Change, kind: Kind, before: Task, after: Task, find: Find, move: Move) -> Counts:
    """Adds the rows to `move` and says how many there are. What stands under the new labels already is not added."""
    counts, answers, now = Counts(), list[tuple[int, str, Answer]](), dict[str, str]()
    for kin in RECIPES:
        old, new = kin(prompt.person_recipe(before)), kin(prompt.person_recipe(after))
        one = _Room(change, kind, before, find, Under.read(store, old), Under.read(store, new), new, move, counts, now)
        answers += one.fill(kin in WITH_QUESTIONS)
    # Of several words on an item the last one holds, so they come in the order in which they were given.
    move.answers += [(key, _led(answer, now), "ok", "") for _, key, answer in sorted(answers, key=lambda row: row[0])]
    base, fresh = prompt.person_recipe(before), prompt.person_recipe(after)
    already = store.opened(fresh)
    move.opened += [(fresh, item, turn) for item, turn in store.opened(base).items() if item not in already]
    return counts


@dataclass
class _Room:
    """One recipe's rows on their way to another. now: old key -> new key, of all rooms."""

    change: Change
    kind: Kind
    before: Task
    find: Find
    old: Under
    new: Under
    recipe: str
    move: Move
    counts: Counts
    now: dict[str, str]

    def fill(self, again: bool) -> list[tuple[int, str, Answer]]:
        """Adds calls; the answers that go with them, with the numbers of the old ones. `again`: put touched ones."""
        out: list[tuple[int, str, Answer]] = []
        there, live = {call.key: call for call in self.new.calls}, {call.item for call in self.new.calls}
        answers, put = self._sorted()
        for call in self.old.calls:
            if call.item in put and call.key != put[call.item]:
                continue  # one question about it is enough
            key = self.now[call.key] = prompt.key(self.recipe, call.item, call.sample)
            given = answers.get(call.key)
            touched = call.key in self.old.given and given is None
            if touched and not (again and call.item in put):
                self.counts.dropped += 1
            elif key in there:
                out += self._meet(call, key, given)
            elif key not in self.new.gone or call.item not in live:
                out += self._bring(call, given, touched, call.sample if key not in self.new.gone else self._free(call))
        gone = {prompt.key(self.recipe, call.item, call.sample) for call in self.old.gone.values()}
        self.move.withdrawn += [key for key in there if key in gone]
        return out

    def _sorted(self) -> tuple[dict[str, Given], dict[str, str]]:
        """Answers under the new labels by the old key; item -> the one question that is put again."""
        answers: dict[str, Given] = {}
        last: dict[str, tuple[int, bool]] = {}
        first: dict[str, Call] = {}
        for call in self.old.calls:
            if call.key not in self.old.given:
                continue
            seq, answer = self.old.given[call.key]
            now = word(self.change, self.kind, self.before, self.find(call.item), call, answer)
            if now is not None:
                answers[call.key] = seq, now
            else:
                first.setdefault(call.item, call)
            last[call.item] = max(last.get(call.item, (-1, False)), (seq, now is None))
        put = {item: first[item].key for item, (_, touched) in last.items() if touched}
        return answers, put

    def _meet(self, call: Call, key: str, given: Given | None) -> list[tuple[int, str, Answer]]:
        """The question was put under these labels before: the later word stands."""
        if given is None:
            return []
        seq, answer = given
        stands = self.new.given.get(key)
        if stands is None:
            self.counts.carried += 1
            return [(seq, key, answer)]
        if seq < stands[0] or _same(stands[1], answer):
            return []
        self.move.withdrawn.append(key)
        return self._bring(call, given, False, self._free(call))

    def _bring(self, call: Call, given: Given | None, touched: bool, sample: int) -> list[tuple[int, str, Answer]]:
        key = self.now[call.key] = prompt.key(self.recipe, call.item, sample)
        self.move.calls.append(replace(call, key=key, recipe=self.recipe, sample=sample, usd=0.0))
        if given is not None:
            self.counts.carried += 1
            return [(given[0], key, given[1])]
        if touched:
            self.counts.again[call.purpose] = self.counts.again.get(call.purpose, 0) + 1
        else:
            self.counts.open += 1
        return []

    def _free(self, call: Call) -> int:
        """A sample number that no question about the item has, under either labels."""
        samples = [c.sample for c in (*self.old.calls, *self.new.calls, *self.move.calls) if c.item == call.item]
        number = max(samples, default=-1) + 1
        while prompt.key(self.recipe, call.item, number) in self.new.gone:
            number += 1
        return number


def _led(answer: Answer, now: Mapping[str, str]) -> Answer:
    """The label that a settled difference left behind names the settled answer, by its key of now: whoever takes that
    one back takes the label back."""
    led = f"{FLAG}: "
    flags = [
        led + now.get(flag[len(led) :], flag[len(led) :]) if flag.startswith(led) else flag for flag in answer.flags
    ]
    return replace(answer, flags=tuple(flags))


def _same(one: Answer, other: Answer) -> bool:
    return one.unsure == other.unsure and _plain(one.text) == _plain(other.text)


def _plain(text: str) -> object:
    """A written answer without the order in which several names stand."""
    if not text.startswith("["):
        return text
    try:
        return sorted(json.loads(text))
    except (ValueError, TypeError):
        return text
