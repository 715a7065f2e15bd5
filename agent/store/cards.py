"""The review queue's rows: what was put to people, what closed it, who holds which card. Knows keys; no order, no page.

Whatever changes something here runs in one writing transaction, and there is only one of those at a time: what a
function finds open and free stays so until it has written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select
from sqlalchemy.engine import Connection

from agent.store.money import chunks
from agent.store.rows import CALL_COLUMNS, answer_row, call_of, call_row
from agent.store.schema import CLOSED, PERSON, clock
from agent.store.tables import answers, calls, decisions, leases
from agent.types import Answer, Call

STEP = 0.001
"""Seconds between the ends of one person's leases, so that their order is the order of the cards."""
SPARE = 16
"""Questions looked up beyond those wanted: some of them may be closed by now."""

_CALL = [calls.c[name] for name in CALL_COLUMNS]


class Put(NamedTuple):
    """A question to people. seq: its number; at: when it was put, unix seconds."""

    seq: int
    at: float
    call: Call


class Closing(NamedTuple):
    """What closed a question to people. status: ok, failed or withdrawn; at: unix seconds."""

    seq: int
    key: str
    status: str
    who: str
    at: float
    flags: tuple[str, ...]


class Since(NamedTuple):
    """What is known: the numbers of the last call and the last answer."""

    calls: int = 0
    answers: int = 0


def news(connection: Connection, since: Since, recipes: Sequence[str]) -> tuple[Since, list[Put], list[Closing]]:
    """Questions to people under these recipes and what closed some, after `since`, oldest first; up to where."""
    last = connection.execute(select(func.coalesce(func.max(answers.c.seq), 0))).scalar_one()
    query = select(calls.c.seq, calls.c.at, *_CALL).where(
        calls.c.recipe.in_(recipes), calls.c.annotator == PERSON, calls.c.seq > since.calls
    )
    put = [Put(row[0], row[1], call_of(row[2:])) for row in connection.execute(query.order_by(calls.c.seq))]
    # The first time the few calls of the recipe lead; later the few new answers, which the databases would not guess.
    recipe = func.coalesce(calls.c.recipe, "") if since.answers else calls.c.recipe
    told = (
        select(answers.c.seq, answers.c.key, answers.c.status, answers.c.who, answers.c.at, answers.c.body)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.seq > since.answers, answers.c.status.in_(CLOSED), recipe.in_(recipes))
        .where(calls.c.annotator == PERSON)
        .order_by(answers.c.seq)
    )
    closed = [Closing(*row[:5], _flags(row[5])) for row in connection.execute(told)]
    return Since(put[-1].seq if put else since.calls, int(last)), put, closed


def _flags(body: str) -> tuple[str, ...]:
    return tuple(json.loads(body).get("flags", ())) if '"flags":[' in body else ()


def mine(connection: Connection, who: str) -> list[tuple[str, float]]:
    """(key, seconds left) of the open questions that `who` holds, the one in hand first."""
    now = clock(connection)
    query = select(leases.c.key, leases.c.until).where(
        leases.c.who == who, leases.c.until > now, ~_closed(leases.c.key)
    )
    return [(key, until - now) for key, until in connection.execute(query.order_by(leases.c.until))]


def _closed(key: Any) -> Any:
    return exists().where(answers.c.key == key, answers.c.status.in_(CLOSED))


def hold(
    connection: Connection, who: str, keys: Sequence[str], count: int, seconds: float, front: str | None = None
) -> list[str]:
    """Leases open questions to `who` for so long, until they hold `count`: `front` first, what they hold, then `keys`.

    Nobody else's are taken. Returns those they hold now, in order; leases that ran out are swept out.
    """
    now = clock(connection)
    live = connection.execute(select(leases.c.key, leases.c.who).where(leases.c.until > now).order_by(leases.c.until))
    held = [(key, owner) for key, owner in live]
    others = {key for key, owner in held if owner != who}
    own = [key for key, owner in held if owner == who]
    first = list(dict.fromkeys([*([front] if front else []), *own]))
    chosen = _open(connection, [key for key in first if key not in others])
    known = {*others, *first}
    free = [key for key in dict.fromkeys(keys) if key not in known]
    while len(chosen) < count and free:
        part, free = free[: count + SPARE], free[count + SPARE :]
        chosen += _open(connection, part)[: count - len(chosen)]
    gone = and_(leases.c.who == who, leases.c.key.in_([*own, *chosen]))
    connection.execute(delete(leases).where(or_(gone, leases.c.until <= now)))
    if chosen:
        rows = [{"key": key, "who": who, "until": now + seconds + STEP * i} for i, key in enumerate(chosen)]
        connection.execute(insert(leases), rows)
    return chosen


def _open(connection: Connection, keys: Sequence[str]) -> list[str]:
    """Those of `keys` that are open, in order."""
    found: set[str] = set()
    for part in chunks(keys):
        found.update(
            connection.execute(select(calls.c.key).where(calls.c.key.in_(part), ~_closed(calls.c.key))).scalars()
        )
    return [key for key in keys if key in found]


def let_go(connection: Connection, who: str, keys: Sequence[str] | None = None) -> int:
    """Ends `who`'s leases of `keys` (None: all of them); how many there were."""
    query = delete(leases).where(leases.c.who == who)
    return connection.execute(query if keys is None else query.where(leases.c.key.in_(keys))).rowcount


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of one person, with what may come of it. mates: questions that get the same answer, where they are
    open and nobody else's; extras: calls to keep it under, the first that is free, when another's answer stands."""

    who: str
    key: str
    answer: Answer
    mates: Sequence[tuple[str, Answer]] = ()
    extras: Sequence[Call] = ()


def say(connection: Connection, said: Said) -> tuple[str, list[str]]:
    """Records an answer. Returns (saved | again | late | gone, the mates that were saved with it)."""
    wanted = [said.key, *(key for key, _ in said.mates)]
    query = (
        select(calls.c.key, answers.c.status, answers.c.who)
        .join_from(calls, answers, and_(answers.c.key == calls.c.key, answers.c.status.in_(CLOSED)), isouter=True)
        .where(calls.c.key.in_(wanted))
    )
    found: dict[str, dict[str, str]] = {}
    for key, status, who in connection.execute(query):
        by = found.setdefault(key, {})
        if status is not None:
            by[status] = who
    stands = found.get(said.key)
    if stands is None or "withdrawn" in stands or "failed" in stands:
        return "gone", []
    if "ok" in stands:
        return ("again" if stands["ok"] == said.who else _extra(connection, said)), []
    now = clock(connection)
    busy: Collection[str] = ()
    if said.mates:
        held = select(leases.c.key).where(leases.c.key.in_(wanted), leases.c.until > now, leases.c.who != said.who)
        busy = set(connection.execute(held).scalars())
    mates = [(key, given) for key, given in said.mates if found.get(key) == {} and key not in busy]
    rows = [answer_row(key, given, "ok") for key, given in [(said.key, said.answer), *mates]]
    connection.execute(insert(answers), rows)
    return "saved", [key for key, _ in mates]


def _extra(connection: Connection, said: Said) -> str:
    """Keeps an answer as an extra opinion, once a person."""
    keys = [call.key for call in said.extras]
    query = (
        select(calls.c.key, answers.c.who)
        .join_from(calls, answers, and_(answers.c.key == calls.c.key, answers.c.status == "ok"), isouter=True)
        .where(calls.c.key.in_(keys))
    )
    there: dict[str, str | None] = dict(iter(connection.execute(query)))
    if said.who in there.values():
        return "again"
    free = next((call for call in said.extras if call.key not in there), None)
    if free is not None:
        connection.execute(insert(calls), [call_row(free)])
        connection.execute(insert(answers), [answer_row(free.key, said.answer, "ok")])
    return "late"


def take_back(connection: Connection, who: str, pairs: Sequence[tuple[str, Sequence[Call]]]) -> list[Call]:
    """Withdraws answers of `who` and asks each anew, under the first of its calls that is not in the ledger.

    Returns the new calls in the order of `pairs`; none, and nothing is written, where the first was withdrawn before.
    """
    keys = [key for key, _ in pairs]
    query = select(answers.c.key).where(answers.c.key.in_(keys), answers.c.status == "withdrawn")
    before = set(connection.execute(query).scalars())
    if keys[0] in before:
        return []
    again: list[Call] = []
    for key, wanted in pairs:
        if key in before:
            continue
        known = select(calls.c.key).where(calls.c.key.in_([call.key for call in wanted]))
        there = set(connection.execute(known).scalars())
        again += [call for call in wanted if call.key not in there][:1]
        connection.execute(insert(answers), [answer_row(key, Answer("", who=who), "withdrawn")])
    connection.execute(insert(calls), [call_row(call) for call in again])
    return again


_DECIDED = (
    select(decisions.c.item, decisions.c.value, decisions.c.confidence)
    .where(decisions.c.seq > bindparam("seen"))
    .order_by(decisions.c.seq)
)


def decided(connection: Connection, since: int, recipe: str, put: int = 0) -> tuple[int, dict[str, tuple[str, float]]]:
    """Item -> (value as JSON, confidence) of the newest decisions after number `since` about items that were asked of
    people by calls after number `put`; and the number of the last decision."""
    last = connection.execute(select(func.coalesce(func.max(decisions.c.seq), 0))).scalar_one()
    asked = select(calls.c.item).where(calls.c.recipe == recipe, calls.c.seq > put)
    rows = connection.execute(_DECIDED.where(decisions.c.item.in_(asked)), {"seen": since})
    return int(last), {item: (value, confidence) for item, value, confidence in rows}
