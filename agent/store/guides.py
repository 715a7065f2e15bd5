"""The guidelines' versions, and examples that wait to get into one. Knows rows; nothing of what a guideline says.

What is read and then written stays as it was read: `expected` is looked up in the transaction that writes, and there is
only one of those at a time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, insert, or_, select
from sqlalchemy.engine import Connection

from agent.store.rows import plain, to_json
from agent.store.schema import CLOSED, PERSON
from agent.store.tables import answers, calls, guides, proposals

PROPOSED, ACCEPTED, DECLINED = "proposed", "accepted", "declined"


@dataclass(frozen=True, slots=True)
class Guide:
    """A version of the guidelines. body: what JSON holds of it (text, examples, labels)."""

    version: int
    sha256: str
    body: dict[str, Any]
    who: str
    at: float


@dataclass(frozen=True, slots=True)
class New:
    """A version to be: `body` with its hash, made from version `expected` (0: from none)."""

    sha256: str
    body: Mapping[str, Any]
    expected: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """An example that somebody proposed. sign: names it; item: its pool item; body: what JSON holds of it; state:
    "proposed" while it waits for a word, else that word, "accepted" or "declined"."""

    sign: str
    item: str
    body: dict[str, Any]
    who: str
    state: str


def versions(connection: Connection, since: int) -> list[Guide]:
    """Versions from number `since` on, first one first."""
    rows = connection.execute(_guides().where(guides.c.version >= since).order_by(guides.c.version))
    return [_guide(row) for row in rows]


def newest(connection: Connection) -> Guide | None:
    row = connection.execute(_guides().order_by(guides.c.version.desc()).limit(1)).first()
    return None if row is None else _guide(row)


def add(connection: Connection, new: New, who: str) -> int | None:
    """Adds a version and returns its number, from 1 on; None, and nothing, where the newest is not the one expected.
    Where that one has this hash there is nothing to add."""
    query = select(guides.c.version, guides.c.sha256).order_by(guides.c.version.desc()).limit(1)
    last = connection.execute(query).first()
    if (0 if last is None else int(last[0])) != new.expected:
        return None
    if last is not None and last[1] == new.sha256:
        return new.expected
    row = {"version": new.expected + 1, "sha256": new.sha256, "body": to_json(dict(new.body)), "who": plain(who)}
    connection.execute(insert(guides), {**row, "at": time.time()})
    return new.expected + 1


def propose(connection: Connection, sign: str, item: str, body: Mapping[str, Any], who: str) -> bool:
    """Notes an example for the owner's word; False where this person's same one waits already."""
    own = (proposals.c.sign == sign, proposals.c.who == plain(who), proposals.c.state == PROPOSED)
    if connection.execute(select(proposals.c.seq).where(*own, ~_judged())).first() is not None:
        return False
    _note(connection, sign, item, PROPOSED, to_json(dict(body)), who)
    return True


def judge(connection: Connection, sign: str, who: str, new: New | None) -> str:
    """The owner's word on all that bears this sign: accepted, with the version `new` that holds it, or declined.

    Returns: "saved"; "gone": nothing of this sign waits; "moved": the guidelines are not the expected ones any more.
    """
    query = select(proposals.c.item).where(proposals.c.sign == sign, proposals.c.state == PROPOSED, ~_judged())
    row = connection.execute(query.limit(1)).first()
    if row is None:
        return "gone"
    if new is not None and add(connection, new, who) is None:
        return "moved"
    _note(connection, sign, row[0], DECLINED if new is None else ACCEPTED, "{}", who)
    return "saved"


def waiting(connection: Connection, recipes: Sequence[str]) -> list[Proposal]:
    """What waits for the owner's word, oldest first, but for items that people are asked about under `recipes`."""
    asked = exists().where(
        calls.c.item == proposals.c.item,
        calls.c.annotator == PERSON,
        calls.c.recipe.in_(recipes),
        ~exists().where(answers.c.key == calls.c.key, answers.c.status.in_(CLOSED)),
    )
    query = _proposals().where(~_judged(), or_(proposals.c.item == "", ~asked)).order_by(proposals.c.seq)
    return [_proposal(row) for row in connection.execute(query)]


def of(connection: Connection, who: str, most: int) -> list[Proposal]:
    """This person's own last ones, newest first, whatever became of them."""
    query = _proposals().where(proposals.c.who == plain(who)).order_by(proposals.c.seq.desc())
    return [_proposal(row) for row in connection.execute(query.limit(most))]


def _guides() -> Any:
    return select(guides.c.version, guides.c.sha256, guides.c.body, guides.c.who, guides.c.at)


def _guide(row: Any) -> Guide:
    return Guide(row[0], row[1], json.loads(row[2]), row[3], row[4])


def _proposals() -> Any:
    later = proposals.alias("word")
    word = (
        select(later.c.state)
        .where(later.c.sign == proposals.c.sign, later.c.seq > proposals.c.seq, later.c.state != PROPOSED)
        .order_by(later.c.seq)
        .limit(1)
        .correlate(proposals)
        .scalar_subquery()
    )
    columns = (proposals.c.sign, proposals.c.item, proposals.c.body, proposals.c.who)
    return select(*columns, word).where(proposals.c.state == PROPOSED)


def _proposal(row: Any) -> Proposal:
    return Proposal(row[0], row[1], json.loads(row[2]), row[3], row[4] or PROPOSED)


def _judged() -> Any:
    later = proposals.alias("later")
    return exists().where(
        later.c.sign == proposals.c.sign, later.c.seq > proposals.c.seq, later.c.state != PROPOSED
    )  # fmt: skip


def _note(connection: Connection, sign: str, item: str, state: str, body: str, who: str) -> None:
    row = {"sign": sign, "item": item, "state": state, "body": body, "who": plain(who), "at": time.time()}
    connection.execute(insert(proposals), row)
