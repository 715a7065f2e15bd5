"""Rows that only the review needs: who may come in, guidelines by version, changes of labels, what a question is worth.

Knows the tables; nothing of pages, of tokens (only their hashes come here) or of what a guideline says.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import func, insert, select
from sqlalchemy.engine import Connection

from agent.store import about, beside, cards, guides, moves, schema, settling, spoken, tables
from agent.store.about import News, Step
from agent.store.guides import Guide, New, Proposal
from agent.store.rows import plain
from agent.types import Answer, Call

T = TypeVar("T")
GONE = "gone"
"""The role of who may not come in any more."""
ENDED = "ended "
"""What stands before a session's hash in the row that ends it."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who may review. role: "owner", "annotator", "adjudicator" or "gone"."""

    name: str
    role: str
    token_sha256: str
    at: float


@dataclass(frozen=True, slots=True)
class Relabel:
    """A change of the labels. verb: rename, merge, split or add; old, new: people's recipes before and after."""

    verb: str
    body: dict[str, Any]
    old: str
    new: str
    at: float


class Review:
    """The review's own rows; `Store.review`. Whatever writes returns after its commit."""

    def __init__(
        self, do: Callable[[Callable[[Connection], Any]], Any], read: Callable[[Callable[[Connection], Any]], Any]
    ) -> None:
        self._do = do
        self._read = read
        self.settling = settling.Settling(do, read)

    # Who may come in ----------------------------------------------------------------------------------------------

    def people(self) -> dict[str, Person]:
        """Everybody ever named, by name in the order they came, as they stand now (role "gone" included)."""
        return self._ask(_people)

    def set_person(
        self, name: str, role: str, token_sha256: str, may: Callable[[Mapping[str, Person]], bool] | None = None
    ) -> bool:
        """Name somebody, or change their role or token: the newest row holds. A new token ends their sessions.

        `may`: whether it may be, seeing who there is at that moment; False, and nothing is written, where it may not.
        """
        row = {"name": plain(name), "role": role, "token_sha256": token_sha256, "at": time.time()}

        def name_them(connection: Connection) -> bool:
            if may is not None and not may(_people(connection)):
                return False
            return bool(connection.execute(insert(tables.people), row).rowcount)

        return self._done(name_them)

    def open_session(self, sha256: str, person: Person) -> None:
        """A browser that has shown `person`'s token; `sha256`: of its secret."""
        row = {"sha256": sha256, "name": person.name, "token_sha256": person.token_sha256, "at": time.time()}
        self._do(lambda connection: connection.execute(insert(tables.sessions), row).rowcount)

    def close_session(self, sha256: str) -> None:
        """Signs a browser out for good: a row of its own says so, as nothing is taken from the table."""
        row = {"sha256": f"{ENDED}{sha256}", "name": "", "token_sha256": "", "at": time.time()}
        query = select(tables.sessions.c.seq).where(tables.sessions.c.sha256 == row["sha256"])

        def close(connection: Connection) -> int:
            there = connection.execute(query).first()
            return 0 if there else int(connection.execute(insert(tables.sessions), row).rowcount)

        self._do(close)

    def session(self, sha256: str, most: float) -> Person | None:
        """Whose session this is; None where there is none, it ended, is older than `most` s, or the token changed."""
        table, people = tables.sessions, tables.people
        since = time.time() - most
        query = select(table.c.name, table.c.token_sha256).where(table.c.sha256 == sha256, table.c.at > since)
        ended = select(table.c.seq).where(table.c.sha256 == f"{ENDED}{sha256}")
        last = select(people.c.name, people.c.role, people.c.token_sha256, people.c.at).order_by(people.c.seq.desc())

        def look(connection: Connection) -> Person | None:
            row = connection.execute(query).first()
            held = row and connection.execute(last.where(people.c.name == row[0]).limit(1)).first()
            if row is None or held is None or held[1] == GONE or held[2] != row[1]:
                return None
            if connection.execute(ended).first():
                return None
            return Person(*held)

        found: Person | None = self._read(look)
        return found

    # Guidelines and labels ----------------------------------------------------------------------------------------

    def guides(self, since: int = 1) -> list[Guide]:
        """Versions of the guidelines from number `since` on, first one first."""
        return self._ask(lambda connection: guides.versions(connection, since))

    def newest_guide(self) -> Guide | None:
        """The guidelines' last version; None before any."""
        return self._ask(guides.newest)

    def add_guide(self, new: New, who: str) -> int | None:
        """Adds a version and returns its number, or that of the newest where it says the same; None, and nothing,
        where the newest is not the version that this one was made from."""
        return self._done(lambda connection: guides.add(connection, new, who))

    def propose(self, sign: str, item: str, body: Mapping[str, Any], who: str) -> bool:
        """Notes an example for the owner's word; False where this person's same one waits already."""
        return self._done(lambda connection: guides.propose(connection, sign, item, body, who))

    def judge(self, sign: str, who: str, new: New | None) -> str:
        """Accepts, with the version that holds it, or declines (None) what was proposed under this sign: "saved";
        "gone": nothing of it waits; "moved": other guidelines are in force by now."""
        return self._done(lambda connection: guides.judge(connection, sign, who, new))

    def proposals(self, recipes: Sequence[str]) -> list[Proposal]:
        """What waits for the owner's word; nothing of items that people are being asked about under `recipes`."""
        return self._ask(lambda connection: guides.waiting(connection, recipes))

    def proposals_of(self, who: str, most: int) -> list[Proposal]:
        """A person's own last proposals, newest first, whatever became of them."""
        return self._ask(lambda connection: guides.of(connection, who, most))

    def relabels(self) -> list[Relabel]:
        """Every change of the labels, first one first."""
        table = tables.relabels
        query = select(table.c.verb, table.c.body, table.c.old, table.c.new, table.c.at).order_by(table.c.seq)
        rows = self._read(lambda connection: connection.execute(query).all())
        return [Relabel(verb, json.loads(body), old, new, at) for verb, body, old, new, at in rows]

    def upto(self) -> moves.Upto:
        """Numbers of the last call and the last answer: what a change of the labels was worked out from."""
        found: moves.Upto = self._read(moves.upto)
        return found

    def moved(self, recipe: str) -> Relabel | None:
        """The change after which people are not asked under this recipe any more; None: they are, or never were."""
        last = next((one for one in reversed(self.relabels()) if recipe in (one.old, one.new)), None)
        return last if last is not None and last.old == recipe else None

    def outdated(self) -> set[str]:
        """Machines' recipes of labels that were changed since: what was answered under them was carried to others."""
        out: set[str] = set()
        for one in self.relabels():
            carried = one.body.get("recipes", {})
            out = (out | set(carried)) - set(carried.values())
        return out

    def beside(self, recipe: str) -> list[tuple[int, Call, Answer]]:
        """Machines' answers about items that people were asked about under `recipe`, but for those of the audit."""
        found: list[tuple[int, Call, Answer]] = self._read(lambda connection: beside.beside(connection, recipe))
        return found

    def relabel(self, move: moves.Move) -> bool:
        """Writes a change of the labels with all that is carried, in one transaction; False, and nothing, where calls
        or answers came since `move.upto`."""
        return bool(self._do(lambda connection: moves.write(connection, move)))

    # What a question is worth -------------------------------------------------------------------------------------

    def add_worths(self, turn: int, rows: Sequence[tuple[str, float, str]]) -> None:
        """(item, wrong labels that a person's answer is expected to mend, leader of its likes), as of this turn."""
        if rows:
            told = [(turn, item, float(value), leader) for item, value, leader in rows]
            columns = ("turn", "item", "value", "leader")
            self._do(lambda connection: schema.insert_quickly(connection, tables.worths, columns, told))

    def worths(self, since: int = 0) -> tuple[int, dict[str, tuple[float, str]]]:
        """The newest (value, leader) by item of the rows after number `since`, and the number of the last row."""
        table = tables.worths
        query = select(table.c.seq, table.c.item, table.c.value, table.c.leader).where(table.c.seq > since)
        rows = self._read(lambda connection: connection.execute(query.order_by(table.c.seq)).all())
        return (rows[-1][0] if rows else since), {item: (value, leader) for _, item, value, leader in rows}

    def newest(self) -> int:
        """The number of the ledger's last answer: what has changed since is what comes after it."""
        return int(self._read(lambda c: c.execute(select(func.coalesce(func.max(tables.answers.c.seq), 0))).scalar()))

    # For the dashboard --------------------------------------------------------------------------------------------

    def marks(self) -> tuple[int, ...]:
        """The last numbers of calls, answers, decisions, outcomes and certificates: while they stay nothing changed."""
        return self._ask(about.marks)

    def clocked(self, question: int, answer: int, recipes: Sequence[str]) -> News:
        """What these recipes' questions and closings came to after these numbers, as of one moment; not what was
        said."""
        return self._ask(lambda connection: about.news(connection, question, answer, recipes))

    def of_item(self, item: str) -> list[tuple[Call, Answer | None]]:
        """Every question about an item that was not withdrawn, oldest first, with its good answer; None: none (yet)."""
        return self._ask(lambda connection: about.of_item(connection, item))

    def history(self, item: str) -> list[Step]:
        """Every decision about an item, first one first."""
        return self._ask(lambda connection: about.history(connection, item))

    def waits(self, item: str, recipes: Sequence[str]) -> bool:
        """Whether an open question to people under these recipes is about this item."""
        return self._ask(lambda connection: about.waits(connection, item, recipes))

    def ending(self, words: str) -> list[str]:
        """Items of which a decision's reason ends in these words."""
        return self._ask(lambda connection: about.ending(connection, words))

    def show(self, who: str, item: str) -> None:
        """Notes that this person opens an item's page: what machines say of it stands there."""
        row = {"who": plain(who), "item": item, "at": time.time()}
        self._do(lambda connection: connection.execute(schema.insert_new(connection, tables.seen), row).rowcount)

    def shown_to(self, who: str) -> set[str]:
        """The items whose page this person has opened: they are not asked about them blind."""
        return self._ask(lambda connection: about.shown_to(connection, plain(who)))

    def _ask(self, fn: Callable[[Connection], T]) -> T:
        found: T = self._read(fn)
        return found

    # Cards --------------------------------------------------------------------------------------------------------

    def news(
        self, since: cards.Since, recipes: Sequence[str]
    ) -> tuple[cards.Since, list[cards.Put], list[cards.Closing]]:
        """Questions to people under these recipes and what closed some of them, after `since`; and up to where."""
        return self._ask(lambda connection: cards.news(connection, since, recipes))

    def decided(self, since: int, recipe: str, put: int = 0) -> tuple[int, dict[str, tuple[str, float]]]:
        """Item -> (value as JSON, confidence): decisions after number `since` about items that calls after number `put`
        ask people about; and the number of the last decision."""
        return self._ask(lambda connection: cards.decided(connection, since, recipe, put))

    def looked(self, since: int) -> tuple[int, list[tuple[str, str]]]:
        """(who, item) of the items' pages that were opened after number `since`; and the number of the last."""
        return self._ask(lambda connection: cards.looked(connection, since))

    def mine(self, who: str) -> list[tuple[str, float]]:
        """(key, seconds left) of the open questions that `who` holds, the one in hand first."""
        return self._ask(lambda connection: cards.mine(connection, plain(who)))

    def noted(self, since: int) -> tuple[int, list[tuple[str, str, str]]]:
        """(who, item, what) of what was shown beside items after number `since`; and the number of the last."""
        return self._ask(lambda connection: spoken.noted(connection, since))

    def note(self, who: str, item: str, what: str) -> None:
        """Notes that this was shown to somebody beside an item: `spoken.GUESS` or `spoken.SIDES`."""
        self._done(lambda connection: spoken.note(connection, plain(who), [item], what))

    def enter(self, since: int, rows: Sequence[tuple[str, Answer]]) -> list[bool]:
        """Records answers to open questions, in one transaction; which of them. None where one of these people was
        heard after answer number `since`."""
        return self._done(lambda connection: spoken.enter(connection, since, rows))

    def hold(
        self, who: str, keys: Sequence[str], count: int, seconds: float, show: Mapping[str, str] = MappingProxyType({})
    ) -> cards.Held:
        """Leases open questions that are nobody's, in this order, until `who` holds `count`; who holds what then.

        `show`: key -> item where the card will show the machines' label; it is noted with the lease.
        """
        return self._done(lambda connection: cards.hold(connection, plain(who), keys, count, seconds, show=show))

    def say(
        self, said: cards.Said, keys: Sequence[str], seconds: float, show: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[str, list[str], cards.Held]:
        """Records an answer, ends its lease and leases as many questions as it freed, in one transaction.

        Returns (saved | again | late | gone, the mates that were saved with it, who holds what then).
        """
        told = dataclasses.replace(said, who=plain(said.who))

        def press(connection: Connection) -> tuple[str, list[str], cards.Held]:
            status, mates = cards.say(connection, told)
            done = [told.key, *mates]
            return status, mates, cards.hold(connection, told.who, keys, None, seconds, done=done, show=show)

        return self._done(press)

    def take_back(self, who: str, pairs: Sequence[tuple[str, Sequence[Call]]], seconds: float) -> list[Call]:
        """Withdraws answers and asks each anew under the first of its calls that is free, the first of them in hand.

        None where the first was withdrawn before.
        """

        def back(connection: Connection) -> list[Call]:
            again = cards.take_back(connection, plain(who), pairs)
            if again:
                cards.hold(connection, plain(who), [], 0, seconds, front=again[0].key)
            return again

        return self._done(back)

    def let_go(self, who: str, keys: Sequence[str]) -> int:
        """Ends `who`'s leases of these questions; how many there were."""
        return self._done(lambda connection: cards.let_go(connection, plain(who), keys))

    def _done(self, function: Callable[[Connection], T]) -> T:
        result: T = self._do(function)
        return result


def _people(connection: Connection) -> dict[str, Person]:
    table = tables.people
    query = select(table.c.name, table.c.role, table.c.token_sha256, table.c.at).order_by(table.c.seq)
    found: dict[str, Person] = {}
    for row in connection.execute(query):
        found[row[0]] = Person(*row)
    return found
