"""What people said of a file's rows, read from the ledger bit by bit. Knows what was taken back; tests nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from agent import config as settings
from agent.claim.finished.folder import Room
from agent.claim.finished.terms import item_id
from agent.data import Whole
from agent.errors import Unparsable
from agent.types import Answer, Call, Value


@dataclass(frozen=True)
class Word:
    """What came of a question. value None: nobody could tell. tries: answers to it that stand, this one included."""

    value: Value | None
    who: str
    tries: int = 1


class Words:
    """first, last: item -> the oldest and the newest answer that was not taken back. seen: number of the last answer
    read; none after number `upto` is."""

    def __init__(self, room: Room, upto: int | None = None) -> None:
        self.first: dict[str, Word] = {}
        self.last: dict[str, Word] = {}
        self.seen = 0
        self._room, self._upto = room, upto
        self._stand: dict[str, dict[str, Word]] = {}

    def read(self) -> bool:
        """Read on; whether something else is said now of an item that was read before."""
        changed = False
        for seq, status, call, answer in self._room.store.events_since(self.seen, [self._room.recipe]):
            if self._upto is not None and seq > self._upto:
                break
            self.seen = seq
            stand = self._stand.setdefault(call.item, {})
            changed |= call.item in self.last
            if status == "ok":
                stand[call.key] = Word(self._value(call, answer), answer.who)
            else:
                stand.pop(call.key, None)
            if stand:
                said = list(stand.values())
                self.first[call.item], self.last[call.item] = said[0], dataclasses.replace(said[-1], tries=len(said))
            else:
                self.first.pop(call.item, None)
                self.last.pop(call.item, None)
        return changed

    def _value(self, call: Call, answer: Answer) -> Value | None:
        if answer.unsure:
            return None
        room = self._room
        task, kind = settings.the_task(room.config), settings.kind(room.config)
        question = kind.question(task, room.pool.item(room.pool.position(call.item)), call.sample)
        try:
            read = kind.parse(task, question, answer)
        except Unparsable:
            return None
        return kind.value(task, {atom: max(d, key=d.__getitem__) for atom, d in read.items()}) if read else None


def by_row(whole: Whole, words: Mapping[str, Word]) -> dict[int, Word]:
    """Row -> word, of this file's rows."""
    own = item_id(whole, 0).rpartition("-")[0]
    parts = ((item.rpartition("-"), word) for item, word in words.items())
    return {int(number) - 1: word for (file, _, number), word in parts if file == own}


def differing(room: Room, whole: Whole, words: Mapping[int, Word]) -> dict[int, Value]:
    """Row -> what people said, where the file's label is another."""
    task, kind = settings.the_task(room.config), settings.kind(room.config)
    return {
        row: word.value
        for row, word in words.items()
        if word.value is not None and kind.loss(task, whole.names[whole.label[row]], word.value) > 0
    }
