"""What is known of each item, as arrays that grow with the ledger. Reads only what is new; decides nothing.

Row i is the pool's item i. Machine rungs leave log-probabilities or counted votes; people leave choices. Audit answers
are read into an array of their own (`audit`) which belief and teaching never touch unless the item was opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agent.errors import Unparsable
from agent.pool import Pool
from agent.store import Store
from agent.types import Answer, Bools, Call, Distribution, Floats, Ints, Kind, Layout, Task

NOT_ASKED, PILOT, ESCALATION, AUDIT = 0, 1, 2, 3
STREAMS = {"pilot": PILOT, "escalation": ESCALATION, "audit": AUDIT, "pick": ESCALATION}


@dataclass
class Heard:
    """What one machine rung said.

    `logs`: (n, width) summed log-probabilities of `soft` answers; `counts`: (n, width) choices of `hard` ones.
    """

    logs: Floats
    soft: Floats
    counts: Floats
    hard: Floats
    silent: Bools
    """Asked, but failed or unreadable: there is nothing more to expect."""

    @classmethod
    def nothing(cls, n: int, width: int) -> Heard:
        f = np.float32
        return cls(np.zeros((n, width), f), np.zeros(n, f), np.zeros((n, width), f), np.zeros(n, f), np.zeros(n, bool))

    @property
    def any(self) -> Bools:
        """(n,) spoke readably."""
        out: Bools = (self.soft > 0) | (self.hard > 0)
        return out

    @property
    def done(self) -> Bools:
        """(n,) spoke, or failed to."""
        return self.any | self.silent


@dataclass
class People:
    """What people said, one answer an item. `said`: one-hot rows; `unsure`: "cannot tell"; `stream`: why asked."""

    said: Floats
    answered: Bools
    unsure: Bools
    stream: Ints

    @classmethod
    def nothing(cls, n: int, width: int) -> People:
        no = np.zeros(n, bool)
        return cls(np.zeros((n, width), np.float32), no, no.copy(), np.zeros(n, np.int64))


@dataclass
class Board:
    """The ledger as arrays of n items. `recipes`: today's recipe -> machine rung; `person`: the person's recipe."""

    task: Task
    kind: Kind
    layout: Layout
    pool: Pool
    n: int
    rungs: Sequence[str]
    person: str
    machine: dict[str, Heard] = field(init=False)
    people: People = field(init=False)
    audit: People = field(init=False)
    opened: Bools = field(init=False)
    """Audit items that people were asked about anyway: their answers repair, and no longer measure."""
    seen: int = 0

    def __post_init__(self) -> None:
        self.opened = np.zeros(self.n, bool)
        self.restart()

    def restart(self) -> None:
        """Forget all that was read, to read it again."""
        self.machine = {name: Heard.nothing(self.n, self.layout.width) for name in self.rungs}
        self.people = People.nothing(self.n, self.layout.width)
        self.audit = People.nothing(self.n, self.layout.width)
        self.seen = 0

    def refresh(self, store: Store, recipes: Mapping[str, str]) -> None:
        """Read the answers that are new since the last time.

        `recipes`: recipe -> rung name, of the machine rungs. Answers under other recipes stay in the ledger unread.
        """
        for seq, status, call, answer in store.events_since(self.seen, [*recipes, self.person]):
            self.seen = seq
            where = self.pool.position(call.item)
            if where >= self.n:
                continue
            if status != "ok":
                self._close(where, call, recipes)
            elif call.recipe == self.person:
                self._hear_person(where, call, answer)
            else:
                self._hear(self.machine[recipes[call.recipe]], where, call, answer)

    def _read(self, where: int, call: Call, answer: Answer) -> Distribution | None:
        question = self.kind.question(self.task, self.pool.item(where), call.sample)
        try:
            return self.kind.parse(self.task, question, answer)
        except Unparsable:
            return None

    def _hear(self, heard: Heard, where: int, call: Call, answer: Answer) -> None:
        read = self._read(where, call, answer)
        if read is None:
            heard.silent[where] = True
            return
        row = self.layout.row(read)
        if answer.logprobs is None:
            heard.counts[where] += row
            heard.hard[where] += 1
        else:
            heard.logs[where] += np.log(np.maximum(row, 1e-6))
            heard.soft[where] += 1

    def _hear_person(self, where: int, call: Call, answer: Answer) -> None:
        people = self.audit if call.purpose == "audit" else self.people
        read = None if answer.unsure else self._read(where, call, answer)
        people.answered[where] = read is not None
        people.unsure[where] = read is None
        people.said[where] = 0 if read is None else self.layout.row(read)
        people.stream[where] = STREAMS[call.purpose]

    def _close(self, where: int, call: Call, recipes: Mapping[str, str]) -> None:
        """A call that failed for good is silence; a person's answer taken back is as if it had not been given."""
        if call.recipe != self.person:
            self.machine[recipes[call.recipe]].silent[where] = True
            return
        people = self.audit if call.purpose == "audit" else self.people
        people.answered[where] = people.unsure[where] = False
        people.said[where] = 0
        people.stream[where] = NOT_ASKED

    # What follows is all that belief, teaching and routing may see of people.

    @property
    def spoken(self) -> Bools:
        """(n,) a person gave a label that may be used: pilot, escalation, or an audit item opened by an escalation."""
        out: Bools = self.people.answered | (self.audit.answered & self.opened)
        return out

    @property
    def doubtful(self) -> Bools:
        """(n,) a person said "cannot tell" where it may be used."""
        out: Bools = ~self.spoken & (self.people.unsure | (self.audit.unsure & self.opened))
        return out

    def words(self) -> Floats:
        """(n, width) one-hot rows of the labels people gave, zero where they gave none."""
        opened = (self.opened & self.audit.answered & ~self.people.answered)[:, None]
        return np.where(opened, self.audit.said, self.people.said)

    @property
    def pilot(self) -> Bools:
        """(n,) answered by people and drawn at random: what calibration may rest on."""
        out: Bools = self.people.answered & (self.people.stream == PILOT)
        return out
