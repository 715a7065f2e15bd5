"""What has been spent and what is promised: reservations, answers, and calls cut short. Runs in the writing thread.

A reservation is open from its row (in `calls`, or in `retries` when a call is asked again) until the next answer
row of its key, of whatever status; that row says what the attempt took. Committed = what all answers took + what all
open reservations hold, in dollars, tokens and requests alike, and a reservation is granted only while each of them
stays within the budget. Sums are kept in memory and only rows added since are read, by this process or another; after
a rollback they are read anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, cast, exists, func, insert, literal, select
from sqlalchemy.engine import Connection

from agent.errors import TutelageError
from agent.store.batches import away
from agent.store.rows import Reserved, answer_row, call_row, to_json
from agent.store.schema import CLOSED, PERSON, insert_new
from agent.store.tables import Number, answers, batches, calls, retries
from agent.types import Answer, Budget, Call

CHUNK = 500
"""Keys in one IN (...)."""

DUST = 1e-9
"""Dollars by which sums of floats may be off."""

LATE = "too late: the question was answered or taken back before"
"""Why what was paid for an answer that nobody waits for any more stands in the ledger as an error."""

CUT = "cut short: it may have been charged"
"""Why stands in the ledger as an error what was put by for a call that a process left open when it was ended."""

Wish = tuple[Sequence[Call], Budget | None]
"""Calls one wants to reserve, and the budget they must fit in."""


_CALLS = select(calls.c.seq, calls.c.key, calls.c.usd, calls.c.tokens, calls.c.requests, calls.c.annotator).where(
    calls.c.seq > bindparam("seen")
)
_RETRIES = select(
    retries.c.seq, retries.c.key, retries.c.usd, retries.c.tokens, retries.c.requests, retries.c.after
).where(retries.c.seq > bindparam("seen"))
_ANSWERS = select(
    answers.c.seq, answers.c.key, answers.c.usd, answers.c.tokens_in + answers.c.tokens_out, answers.c.requests
).where(answers.c.seq > bindparam("seen"))


class Held(NamedTuple):
    """What is put by for a call: dollars, tokens, requests; `after`: the last answer's number when it was."""

    usd: float
    tokens: int
    requests: int
    after: int

    def most(self, call: Call, tokens: int, after: int) -> Held:
        """This, raised to what the call may take."""
        return Held(max(self.usd, call.usd), max(self.tokens, tokens), max(self.requests, call.requests), after)

    def taken(self) -> Answer:
        """An answer that took all of it."""
        return Answer("", usd=self.usd, tokens_in=self.tokens, requests=self.requests)


NOTHING = Held(0.0, 0, 0, 0)


def chunks(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]


class Money:
    """The running sums. Only the writing thread may call its methods, inside a transaction."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """After a rollback: what was seen may never have been."""
        self._known = False
        self._usd, self._tokens, self._requests = 0.0, 0, 0  # spent and reserved together
        self._open: dict[str, Held] = {}
        self._away: dict[str, str] = {}
        self._seen = {"calls": 0, "retries": 0, "answers": 0, "batches": 0}

    def reserve(self, connection: Connection, wishes: Sequence[Wish]) -> list[Reserved]:
        """Grants calls in order while the budget bears them; a handler for `Writer`.

        Calls that take nothing of what is limited are always granted. Those that are out in a file count as closed.
        """
        self._catch_up(connection)
        self._look_out(connection)
        states = _states(connection, [call.key for wanted, _ in wishes for call in wanted])
        new: list[dict[str, Any]] = []
        again: list[dict[str, Any]] = []
        results = [self._grant(wanted, budget or Budget(), states, new, again) for wanted, budget in wishes]
        if new:
            connection.execute(insert(calls), new)
        if again:
            connection.execute(insert(retries), again)
        return results

    def _grant(
        self,
        wanted: Sequence[Call],
        budget: Budget,
        states: dict[str, str],
        new: list[dict[str, Any]],
        again: list[dict[str, Any]],
    ) -> Reserved:
        """Decides on one wish; adds to `states` and to the rows that are to be written."""
        granted: list[Call] = []
        closed: list[Call] = []
        refused: list[Call] = []
        short, left, needs, after = "", 0.0, 0.0, self._seen["answers"]
        for call in wanted:
            state = states.get(call.key)
            if state == "closed" or call.key in self._away:
                closed.append(call)
                continue
            if short and _costs(call, budget):
                refused.append(call)
                continue
            before = self._open.get(call.key)
            tokens = call.tokens if call.requests else 0
            held = Held(call.usd, tokens, call.requests, after) if before is None else before.most(call, tokens, after)
            lacking = self._lacking(call, held, before or NOTHING, budget)
            if lacking:
                short, left, needs = lacking
                refused.append(call)
                continue
            granted.append(call)
            states[call.key] = "open"
            if state is None:
                new.append(call_row(call))
            elif call.annotator != PERSON and (before is None or held[:3] != before[:3]):
                row = {"key": call.key, "usd": held.usd, "tokens": held.tokens, "requests": held.requests}
                again.append(row | {"after": after, "at": time.time()})
            if call.annotator != PERSON:
                self._hold(call.key, held)
        return Reserved(granted, closed, refused, short, left, needs)

    def _lacking(self, call: Call, held: Held, before: Held, budget: Budget) -> tuple[str, float, float] | None:
        """What there is too little of for this call to be held so, how much is left of it and how much the call may
        take; None where it fits."""
        if budget.usd is not None and call.usd > 0 and self._usd + held.usd - before.usd > budget.usd + DUST:
            return "usd", max(budget.usd - self._usd + before.usd, 0.0), held.usd
        if not call.requests:
            return None
        if budget.tokens is not None and call.tokens and self._tokens + held.tokens - before.tokens > budget.tokens:
            return "tokens", max(budget.tokens - self._tokens + before.tokens, 0), held.tokens
        if budget.calls is not None and self._requests + held.requests - before.requests > budget.calls:
            return "calls", max(budget.calls - self._requests + before.requests, 0), held.requests
        return None

    def cut_short(self, connection: Connection, annotators: Sequence[str]) -> int:
        """Closes every open reservation of these annotators with an error row at all it holds; not those of calls that
        are out in a file, which nobody here asks."""
        self._catch_up(connection)
        self._look_out(connection)
        keys = [key for part in chunks(list(self._open)) for key in _of_annotators(connection, part, annotators)]
        rows = [answer_row(key, self._open[key].taken(), "error", CUT) for key in keys if key not in self._away]
        if rows:
            connection.execute(insert(answers), rows)
        return len(rows)

    def holds(self, connection: Connection, key: str) -> Answer:
        """All that the open reservation of a call holds, as what an attempt took; nothing where there is none."""
        self._catch_up(connection)
        return self._open.get(key, NOTHING).taken()

    def _hold(self, key: str, held: Held) -> None:
        before = self._open.get(key, NOTHING)
        self._usd += held.usd - before.usd
        self._tokens += held.tokens - before.tokens
        self._requests += held.requests - before.requests
        self._open[key] = held

    def _catch_up(self, connection: Connection) -> None:
        """Reads the rows that were added since the last time (the first time: sums by SQL)."""
        if not self._known:
            self._first(connection)
            return
        seen = self._seen
        for seq, key, usd, tokens, requests, annotator in connection.execute(_CALLS, {"seen": seen["calls"]}):
            seen["calls"] = seq
            if annotator != PERSON and key not in self._open:
                self._hold(key, Held(usd, tokens if requests else 0, requests, 0))
        for seq, key, usd, tokens, requests, after in connection.execute(_RETRIES, {"seen": seen["retries"]}):
            seen["retries"] = seq
            self._hold(key, Held(usd, tokens, requests, after))
        for seq, key, usd, tokens, requests in connection.execute(_ANSWERS, {"seen": seen["answers"]}):
            seen["answers"] = seq
            self._usd += usd
            if requests:
                self._tokens += tokens
                self._requests += requests
            held = self._open.get(key)
            if held is not None and seq > held.after:
                del self._open[key]
                self._usd -= held.usd
                self._tokens -= held.tokens
                self._requests -= held.requests

    def _look_out(self, connection: Connection) -> None:
        """Which calls are out in files; read again only when a batch came to another stage."""
        last = int(connection.execute(select(func.coalesce(func.max(batches.c.seq), 0))).scalar_one())
        if last != self._seen["batches"]:
            self._seen["batches"], self._away = last, away(connection)

    def _first(self, connection: Connection) -> None:
        self.forget()
        for table in (calls, retries, answers):
            self._seen[table.name] = connection.execute(select(func.coalesce(func.max(table.c.seq), 0))).scalar_one()
        self._usd, self._tokens, self._requests = connection.execute(select(*taken())).one()
        for key, held in open_reservations(connection).items():
            self._hold(key, held)
        self._known = True


def _costs(call: Call, budget: Budget) -> bool:
    """Whether a call takes anything of what is limited."""
    if budget.usd is not None and call.usd > 0:
        return True
    return call.requests > 0 and (budget.calls is not None or (budget.tokens is not None and call.tokens > 0))


def taken() -> list[Any]:
    """Columns over `answers`: dollars, and the tokens and requests that went over the wire."""
    wired = case((answers.c.requests > 0, answers.c.tokens_in + answers.c.tokens_out), else_=0)
    return [
        func.coalesce(func.sum(answers.c.usd), 0.0),
        cast(func.coalesce(func.sum(wired), 0), Number),
        cast(func.coalesce(func.sum(answers.c.requests), 0), Number),
    ]


def open_reservations(connection: Connection) -> dict[str, Held]:
    """Key -> what is held for it, of all open reservations."""
    later = exists().where(answers.c.key == retries.c.key, answers.c.seq > retries.c.after)
    first = select(calls.c.key, calls.c.usd, calls.c.tokens, calls.c.requests, literal(0)).where(
        calls.c.annotator != PERSON, ~exists().where(answers.c.key == calls.c.key)
    )
    columns = (retries.c.key, retries.c.usd, retries.c.tokens, retries.c.requests, retries.c.after)
    found: dict[str, Held] = {}
    for key, usd, tokens, requests, after in connection.execute(first.union_all(select(*columns).where(~later))):
        held = Held(usd, tokens if requests else 0, requests, after)
        # Where a reservation was raised, the row with more holds; rows are never lowered.
        found[key] = max(found.get(key, held), held)
    return found


def _states(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """Key -> "open" or "closed" of those that are in the ledger."""
    closed = exists().where(answers.c.key == calls.c.key, answers.c.status.in_(CLOSED))
    states: dict[str, str] = {}
    for part in chunks(keys):
        for key, is_closed in connection.execute(select(calls.c.key, closed).where(calls.c.key.in_(part))):
            states[key] = "closed" if is_closed else "open"
    return states


def _of_annotators(connection: Connection, keys: Sequence[str], annotators: Sequence[str]) -> list[str]:
    query = select(calls.c.key).where(calls.c.key.in_(keys), calls.c.annotator.in_(annotators))
    return list(connection.execute(query.order_by(calls.c.seq)).scalars())


def record(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[Any]:
    """Adds answer rows; a handler for `Writer`. False for a good answer to a question that has one or is withdrawn:
    what such a late one took is kept as an error, for it was paid for."""
    known, closed = set(), set()
    for part in chunks([row["key"] for row in rows]):
        query = (
            select(calls.c.key, answers.c.status)
            .join_from(calls, answers, (answers.c.key == calls.c.key), isouter=True)
            .where(calls.c.key.in_(part))
        )
        for key, status in connection.execute(query):
            known.add(key)
            if status in ("ok", "withdrawn"):
                closed.add(key)
    results: list[Any] = []
    kept: list[dict[str, Any]] = []
    for row in rows:
        key, status = row["key"], row["status"]
        if key not in known:
            results.append(TutelageError(f"an answer to call {key[:16]}, which was never reserved"))
            continue
        taken = status in ("ok", "failed") and key in closed
        results.append(not taken)
        if taken and (row["usd"] or row["requests"]):
            body = to_json(json.loads(row["body"]) | {"error": LATE})
            kept.append(row | {"status": "error", "body": body})
        elif not taken:
            kept.append(row)
            if status == "ok":
                closed.add(key)
    if kept:
        connection.execute(insert(answers), kept)
    return results


def withdraw(connection: Connection, key: str, row: dict[str, Any]) -> bool:
    """Adds the row that takes a question (and its answer) back; False when it was taken back before."""
    if key not in _states(connection, [key]):
        raise TutelageError(f"call {key[:16]} cannot be withdrawn: it is not in the ledger")
    return bool(connection.execute(insert_new(connection, answers), row).rowcount)
