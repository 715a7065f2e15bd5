"""The review queue's rows: what was put to people, what closed it, who holds which card. Knows keys; no order, no page.

Whatever changes something here runs in one writing transaction, and there is only one of those at a time: what a
function finds open and free stays so until it has written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select
from sqlalchemy.engine import Connection

from agent.store import spoken
from agent.store.money import CHUNK, chunks
from agent.store.rows import CALL_COLUMNS, answer_row, call_of, call_row
from agent.store.schema import CLOSED, PERSON, clock
from agent.store.tables import answers, calls, decisions, leases, seen
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
    unsure: bool = False


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
    closed = [Closing(*row[:5], _flags(row[5]), spoken.UNSURE in row[5]) for row in connection.execute(told)]
    return Since(put[-1].seq if put else since.calls, int(last)), put, closed


def _flags(body: str) -> tuple[str, ...]:
    return tuple(json.loads(body).get("flags", ())) if '"flags":[' in body else ()


def _closed(key: Any) -> Any:
    return exists().where(answers.c.key == key, answers.c.status.in_(CLOSED))


# Built once: to build a query takes longer than to run it.
_MINE = (
    select(leases.c.key, leases.c.until)
    .where(leases.c.who == bindparam("who"), leases.c.until > bindparam("now"), ~_closed(leases.c.key))
    .order_by(leases.c.until)
)
_LIVE = select(leases.c.key, leases.c.who).where(leases.c.until > bindparam("now")).order_by(leases.c.until)
_OPEN = select(calls.c.key).where(calls.c.key.in_(bindparam("keys", expanding=True)), ~_closed(calls.c.key))
_DROP = delete(leases).where(
    or_(
        and_(leases.c.who == bindparam("me"), leases.c.key.in_(bindparam("keys", expanding=True))),
        leases.c.until <= bindparam("now"),
    )
)


def mine(connection: Connection, who: str) -> list[tuple[str, float]]:
    """(key, seconds left) of the open questions that `who` holds, the one in hand first."""
    now = clock(connection)
    return [(key, until - now) for key, until in connection.execute(_MINE, {"who": who, "now": now})]


class Held(NamedTuple):
    """Who holds what: this person's questions in order, and who holds those of others."""

    mine: list[str]
    others: dict[str, str]


def hold(
    connection: Connection,
    who: str,
    keys: Sequence[str],
    count: int | None,
    seconds: float,
    front: str | None = None,
    done: Collection[str] = (),
    show: Mapping[str, str] = MappingProxyType({}),
) -> Held:
    """Leases open questions to `who` for so long, until they hold `count`: `front` first, what they hold, then `keys`.

    Nobody else's are taken. `done`: leases of theirs that end. `count` None: as many as they held, one at least. Leases
    that ran out are swept out. `show`: key -> item where the card will show the machines' label; that is noted.
    """
    now = clock(connection)
    held = [(key, owner) for key, owner in connection.execute(_LIVE, {"now": now})]
    others = {key: owner for key, owner in held if owner != who}
    before = [key for key, owner in held if owner == who]
    own = [key for key in before if key not in done]
    want = max(len(before), 1) if count is None else count
    first = list(dict.fromkeys([*([front] if front and front not in others else []), *own]))
    known = {*others, *first, *done}
    free = [key for key in dict.fromkeys(keys) if key not in known]
    spare = max(want - len(first), 0)
    part, free = (free[: spare + SPARE], free[spare + SPARE :]) if spare else ([], free)
    still = _open(connection, [*first, *part])
    chosen = [key for key in first if key in still]
    chosen += [key for key in part if key in still][: max(want - len(chosen), 0)]
    while len(chosen) < want and free:
        part, free = free[:CHUNK], free[CHUNK:]
        still = _open(connection, part)
        chosen += [key for key in part if key in still][: want - len(chosen)]
    connection.execute(_DROP, {"me": who, "keys": [*before, *chosen], "now": now})
    if chosen:
        rows = [{"key": key, "who": who, "until": now + seconds + STEP * i} for i, key in enumerate(chosen)]
        connection.execute(insert(leases), rows)
    spoken.note(connection, who, [show[key] for key in chosen if key in show], spoken.GUESS)
    return Held(chosen, others)


def _open(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that are open."""
    return {key for part in chunks(keys) for key in connection.execute(_OPEN, {"keys": part}).scalars()}


def let_go(connection: Connection, who: str, keys: Sequence[str]) -> int:
    """Ends `who`'s leases of these questions; how many there were."""
    return connection.execute(delete(leases).where(leases.c.who == who, leases.c.key.in_(keys))).rowcount


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of one person, with what may come of it. mates: questions that get the same answer, where they are
    open and nobody else's; extras: calls to keep it under, the first that is free, when another's answer stands.

    recipes: under which people speak of an item.
    """

    who: str
    key: str
    answer: Answer
    recipes: Sequence[str]
    name: spoken.Name
    mates: Sequence[tuple[str, Answer]] = ()
    extras: Sequence[Call] = ()


_STATUS = (
    select(calls.c.key, answers.c.status, answers.c.who)
    .join_from(calls, answers, and_(answers.c.key == calls.c.key, answers.c.status.in_(CLOSED)), isouter=True)
    .where(calls.c.key.in_(bindparam("keys", expanding=True)))
)


def _stands(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """Key -> what closed it (status -> who), of those that are in the ledger."""
    found: dict[str, dict[str, str]] = {}
    for key, status, who in connection.execute(_STATUS, {"keys": keys}):
        by = found.setdefault(key, {})
        if status is not None:
            by[status] = who
    return found


def say(connection: Connection, said: Said) -> tuple[str, list[str]]:
    """Records an answer. Returns (saved | again | late | gone, the mates that were saved with it)."""
    wanted = [said.key, *(key for key, _ in said.mates)]
    found = _stands(connection, wanted)
    it = found.get(said.key)
    if it is None or "withdrawn" in it or "failed" in it:
        return "gone", []
    if "ok" in it:
        return ("again" if it["ok"] == said.who else _extra(connection, said)), []
    asked = {row[0]: (row[1], row[2]) for row in connection.execute(_ASKED, {"keys": wanted})}
    items = [item for item, _ in asked.values()]
    shut, led = spoken.told(connection, said.who, items, said.recipes, said.name)
    if asked[said.key] in shut:
        return "gone", []
    busy: Collection[str] = ()
    if said.mates:
        live = connection.execute(_LIVE, {"now": clock(connection)})
        busy = {key for key, owner in live if owner != said.who}
    free = [(key, given) for key, given in said.mates if found.get(key) == {} and key not in busy]
    mates = [(key, given) for key, given in free if asked[key] not in shut]
    given = [(key, spoken.beside(one, asked[key][0] in led)) for key, one in [(said.key, said.answer), *mates]]
    connection.execute(insert(answers), [answer_row(key, one, "ok") for key, one in given])
    return "saved", [key for key, _ in mates]


_ASKED = select(calls.c.key, calls.c.item, calls.c.recipe).where(calls.c.key.in_(bindparam("keys", expanding=True)))


def _extra(connection: Connection, said: Said) -> str:
    """Keeps an answer as an extra opinion, once a person; "gone" where so many are kept that this one is not."""
    there = _stands(connection, [call.key for call in said.extras])
    if any(by.get("ok") == said.who and "withdrawn" not in by for by in there.values()):
        return "again"
    free = next((call for call in said.extras if call.key not in there), None)
    if free is None:
        return "gone"
    connection.execute(insert(calls), [call_row(free)])
    connection.execute(insert(answers), [answer_row(free.key, said.answer, "ok")])
    return "late"


def take_back(connection: Connection, who: str, pairs: Sequence[tuple[str, Sequence[Call]]]) -> list[Call]:
    """Withdraws answers of `who` and asks each anew, under the first of its calls that is not in the ledger.

    Returns the new calls in the order of `pairs`; none, and nothing is written, where the first was withdrawn before.
    """
    there = _stands(connection, [key for key, _ in pairs])
    if "withdrawn" in there[pairs[0][0]]:
        return []
    again: list[Call] = []
    for key, wanted in pairs:
        if "withdrawn" not in there[key]:
            taken = _stands(connection, [call.key for call in wanted])
            again += [call for call in wanted if call.key not in taken][:1]
            connection.execute(insert(answers), [answer_row(key, Answer("", who=who), "withdrawn")])
    connection.execute(insert(calls), [call_row(call) for call in again])
    return again


_DECIDED = (
    select(decisions.c.item, decisions.c.value, decisions.c.confidence)
    .where(decisions.c.seq > bindparam("seen"))
    .order_by(decisions.c.seq)
)


def looked(connection: Connection, since: int) -> tuple[int, list[tuple[str, str]]]:
    """(who, item) of the items' pages that were opened after number `since`; and the number of the last."""
    query = select(seen.c.seq, seen.c.who, seen.c.item).where(seen.c.seq > since).order_by(seen.c.seq)
    rows = connection.execute(query).all()
    return (rows[-1][0] if rows else since), [(who, item) for _, who, item in rows]


def decided(connection: Connection, since: int, recipe: str, put: int = 0) -> tuple[int, dict[str, tuple[str, float]]]:
    """Item -> (value as JSON, confidence) of the newest decisions after number `since` about items that were asked of
    people by calls after number `put`; and the number of the last decision."""
    last = connection.execute(select(func.coalesce(func.max(decisions.c.seq), 0))).scalar_one()
    if last <= since:
        return since, {}
    asked = select(calls.c.item).where(calls.c.recipe == recipe, calls.c.seq > put)
    rows = connection.execute(_DECIDED.where(decisions.c.item.in_(asked)), {"seen": since})
    return int(last), {item: (value, confidence) for item, value, confidence in rows}
