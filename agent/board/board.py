"""What is known of each item, as arrays that grow with the ledger. Reads only what is new; decides nothing.

Row i is the pool's item i. Machine rungs leave log-probabilities or counted votes; people leave choices. Audit answers
are read into an array of their own (`audit`) which belief and teaching never touch unless the item was opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from agent import kinds, shortlist
from agent.board.heard import Heard, People, Took
from agent.errors import Unparsable
from agent.pool import Pool
from agent.store import Store
from agent.store.about import ASSISTED
from agent.store.reading import CARRIED
from agent.types import Answer, Bools, Call, Distribution, Floats, Ints, Kind, Layout, Task

NOT_ASKED, PILOT, ESCALATION, AUDIT = 0, 1, 2, 3
CHUNKED = "chunked="
"""How the flag of an answer about a part of a text begins."""

STREAMS = {"pilot": PILOT, "escalation": ESCALATION, "audit": AUDIT, "pick": ESCALATION}


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
    took: dict[str, Took] = field(init=False)
    people: People = field(init=False)
    audit: People = field(init=False)
    opened: Bools = field(init=False)
    """Audit items that people were asked about anyway: their answers repair, and no longer measure."""
    standing: dict[tuple[int, bool], dict[int, tuple[int, Floats | None]]] = field(default_factory=dict)
    """(item, audited?) -> what people said of it by the number of the question, the last last: (stream, word)."""
    seen: int = 0
    word: dict[str, int] = field(default_factory=dict)
    """Rung -> answers that make its word on an item; what comes beyond is another vote."""
    first: Ints | None = None
    """(n,) the first item of each one's near-duplicates, itself where it is alone; None: all are alone. What a machine
    says of one counts for all of them that it was not asked about."""
    lender: dict[str, Ints] = field(init=False)
    """Rung -> (n,) the item whose answers stand for this one, -1 where they are its own, or there are none."""

    def __post_init__(self) -> None:
        self.opened = np.zeros(self.n, bool)
        self.restart()

    def restart(self) -> None:
        """Forget all that was read, to read it again."""
        self.machine = {name: Heard.nothing(self.n, self.layout.width, len(self.layout.atoms)) for name in self.rungs}
        self.took = {name: Took() for name in self.rungs}
        self.lender = {name: np.full(self.n, -1, np.int64) for name in self.rungs} if self.first is not None else {}
        self.people = People.nothing(self.n, self.layout.width)
        self.audit = People.nothing(self.n, self.layout.width)
        self.standing = {}
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
                name = recipes[call.recipe]
                if not (answer.flags and answer.flags[0].startswith(CARRIED)):  # what it took stands elsewhere
                    self.took[name].add(answer)
                read = self._read(where, call, answer)
                for item in self._alike(name, where):
                    if self.machine[name].votes[item] == self.word.get(name, -1):
                        self.machine[name].remember(item)
                    self._hear(self.machine[name], item, read, answer)

    def _alike(self, name: str, where: int) -> list[int]:
        """The items that what a machine says of this one counts for: itself, and its near-duplicates unless the machine
        was asked about them, or another of them came first."""
        if self.first is None or self.members.get(int(self.first[where])) is None:
            return [where]
        lender, done = self.lender[name], self.machine[name].done
        others = [i for i in self.members[int(self.first[where])] if lender[i] == where or not done[i]]
        lender[[i for i in others if i != where]] = where
        return [where, *(i for i in others if i != where)]

    @cached_property
    def members(self) -> dict[int, list[int]]:
        """First item -> all items of its group, of those groups that hold several."""
        if self.first is None:
            return {}
        out: dict[int, list[int]] = {}
        for item in np.flatnonzero(self.first != np.arange(self.n)).tolist():
            out.setdefault(int(self.first[item]), [int(self.first[item])]).append(item)
        return out

    @property
    def copies(self) -> Bools:
        """(n,) near-duplicates of an earlier item: nobody need be asked about them."""
        if self.first is None:
            return np.zeros(self.n, bool)
        out: Bools = self.first != np.arange(self.n)
        return out

    @property
    def speaker(self) -> Ints:
        """(n,) the first of each item's near-duplicates that a person labeled; the item itself where none was."""
        own = np.arange(self.n)
        if self.first is None:
            return own
        spoken = np.flatnonzero(self.spoken)[::-1]
        speaks = np.full(self.n, -1, np.int64)
        speaks[self.first[spoken]] = spoken
        return np.where(self.spoken | (speaks[self.first] < 0), own, speaks[self.first])

    def _read(self, where: int, call: Call, answer: Answer) -> Distribution | None:
        item = self.pool.item(where)
        known = answer.options
        question = kinds.shown(item, known) if known else self.kind.question(self.task, item, call.sample)
        try:
            return self.kind.parse(self.task, question, answer)
        except Unparsable:
            return None

    def _hear(self, heard: Heard, where: int, read: Distribution | None, answer: Answer) -> None:
        if read is None:
            heard.silent[where] = True
            return
        row = self.layout.row(read)
        heard.cut[where] |= "truncated" in answer.flags
        if answer.options and self._none(heard, where, row, answer.options):
            heard.none[where] = True
            return
        if not answer.options and heard.whole is not None:
            heard.whole[where] = True
        if any(flag.startswith(CHUNKED) for flag in answer.flags):
            heard.parts = np.zeros(self.n, bool) if heard.parts is None else heard.parts
            heard.parts[where] = True
        else:
            heard.note(where, np.array([row[s].argmax() for s in self.layout.slices]))
        if answer.logprobs is None:
            heard.counts[where] += row
            heard.hard[where] += 1
        else:
            heard.logs[where] += np.log(np.maximum(row, 1e-6))
            heard.soft[where] += 1

    def _none(self, heard: Heard, where: int, row: Floats, options: Sequence[str]) -> bool:
        """Does an answer about a shortlist say that the label is not on it?"""
        known = set(options)
        shown = [column for column, name in enumerate(self.layout.choices[0]) if name in known]
        heard.show(where, shown)
        return bool(1.0 - row[shown].sum() > row[shown].max())

    def recall(self, name: str) -> tuple[int, int]:
        """On how many pilot items the label people gave was on the machine's shortlist: (hits, items)."""
        seen = self.machine[name].seen
        if seen is None:
            return 0, 0
        rows = self.pilot & seen.any(axis=1)
        return shortlist.hits(self.people.said[rows], seen[rows])

    def _hear_person(self, where: int, call: Call, answer: Answer) -> None:
        # Given beside a machine's label it is a label and measures nothing, whatever it was asked for.
        beside = any(flag.startswith(ASSISTED) for flag in answer.flags)
        deaf = answer.unsure or (beside and call.purpose == "audit")
        read = None if deaf else self._read(where, call, answer)
        stream = ESCALATION if beside else STREAMS[call.purpose]
        self._stand(where, call, (stream, None if read is None else self.layout.row(read)))

    def _stand(self, where: int, call: Call, word: tuple[int, Floats | None] | None) -> None:
        """Let the last word on an item stand that says something and was not taken back (None: it was, now)."""
        audit = call.purpose == "audit"
        people, words = self.audit if audit else self.people, self.standing.setdefault((where, audit), {})
        words.pop(call.sample, None)
        if word is not None:
            words[call.sample] = word
        nothing = next(reversed(words.values()), (NOT_ASKED, None))
        stream, row = next((one for one in reversed(words.values()) if one[1] is not None), nothing)
        people.answered[where], people.unsure[where] = row is not None, row is None and bool(words)
        people.said[where] = 0 if row is None else row
        people.stream[where] = stream

    def _close(self, where: int, call: Call, recipes: Mapping[str, str]) -> None:
        """A call that failed for good is silence; a person's answer taken back is as if it had not been given."""
        if call.recipe != self.person:
            name = recipes[call.recipe]
            self.machine[name].silent[self._alike(name, where)] = True
            return
        self._stand(where, call, None)

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
