"""What has been spent and what is promised: reservations, answers, and calls cut short. Runs in the writing thread.

A reservation is open from its row (in `calls`, or in `retries` when a call is asked again) until the next answer
row of its key, of whatever status; that row says what the attempt cost. Committed money = all answers' usd + the
usd of all open reservations, and a reservation is granted only while that stays within the budget. Sums are kept
in memory and only rows added since are read, by this process or another; after a rollback they are read anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import exists, func, insert, literal, select
from sqlalchemy.engine import Connection

from agent.errors import TutelageError
from agent.store.rows import Reserved, answer_row, call_row
from agent.store.schema import CLOSED, PERSON, answers, calls, insert_new, retries
from agent.types import Answer, Budget, Call

CHUNK = 500
"""Keys in one IN (...)."""

DUST = 1e-9
"""Dollars by which sums of floats may be off."""

Wish = tuple[Sequence[Call], Budget | None]
"""Calls one wants to reserve, and the budget they must fit in."""


def chunks(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]


class Money:
    """The running sums. Only the writing thread may call its methods, inside a transaction."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """After a rollback: what was seen may never have been."""
        self._known = False
        self._spent = 0.0
        self._open: dict[str, tuple[float, int]] = {}
        self._reserved = 0.0
        self._seen = {"calls": 0, "retries": 0, "answers": 0}

    def reserve(self, connection: Connection, wishes: Sequence[Wish]) -> list[Reserved]:
        """Grants calls in order while the budget bears them; a handler for `Writer`.

        Calls that cost nothing are always granted.
        """
        self._catch_up(connection)
        states = _states(connection, [call.key for wanted, _ in wishes for call in wanted])
        new: list[dict[str, Any]] = []
        again: list[dict[str, Any]] = []
        results = [self._grant(wanted, budget, states, new, again) for wanted, budget in wishes]
        if new:
            connection.execute(insert(calls), new)
        if again:
            connection.execute(insert(retries), again)
        return results

    def _grant(
        self,
        wanted: Sequence[Call],
        budget: Budget | None,
        states: dict[str, str],
        new: list[dict[str, Any]],
        again: list[dict[str, Any]],
    ) -> Reserved:
        """Decides on one wish; adds to `states` and to the rows that are to be written."""
        result = Reserved([], [], [])
        after = self._seen["answers"]
        for call in wanted:
            state = states.get(call.key)
            if state == "closed":
                result.closed.append(call)
                continue
            held = self._open.get(call.key, (0.0, 0))[0]
            extra = max(0.0, call.usd - held)
            limit = None if budget is None else budget.usd
            fits = limit is None or self._spent + self._reserved + extra <= limit + DUST
            if call.usd > 0 and (result.refused or not fits):
                result.refused.append(call)
                continue
            result.granted.append(call)
            states[call.key] = "open"
            if state is None:
                new.append(call_row(call))
            elif call.annotator != PERSON and (extra > 0 or call.key not in self._open):
                again.append({"key": call.key, "usd": call.usd, "after": after, "at": time.time()})
            if call.annotator != PERSON:
                self._hold(call.key, max(call.usd, held), after)
        return result

    def cut_short(self, connection: Connection, annotators: Sequence[str]) -> int:
        """Closes every open reservation of these annotators with an error row at its full price."""
        self._catch_up(connection)
        keys = [key for part in chunks(list(self._open)) for key in _of_annotators(connection, part, annotators)]
        rows = [
            answer_row(key, Answer("", usd=self._open[key][0]), "error", "cut short: it may have been charged")
            for key in keys
        ]
        if rows:
            connection.execute(insert(answers), rows)
        return len(rows)

    def _hold(self, key: str, usd: float, after: int) -> None:
        self._reserved += usd - self._open.get(key, (0.0, 0))[0]
        self._open[key] = (usd, after)

    def _let_go(self, key: str, number: int) -> None:
        usd, after = self._open.get(key, (0.0, number))
        if number > after:
            del self._open[key]
            self._reserved = self._reserved - usd if self._open else 0.0

    def _catch_up(self, connection: Connection) -> None:
        """Reads the rows that were added since the last time (the first time: sums by SQL)."""
        if not self._known:
            self._first(connection)
            return
        seen = self._seen
        rows = connection.execute(
            select(calls.c.seq, calls.c.key, calls.c.usd, calls.c.annotator).where(calls.c.seq > seen["calls"])
        ).all()
        for seq, key, usd, annotator in rows:
            seen["calls"] = seq
            if annotator != PERSON and key not in self._open:
                self._hold(key, usd, 0)
        columns = (retries.c.seq, retries.c.key, retries.c.usd, retries.c.after)
        for seq, key, usd, after in connection.execute(select(*columns).where(retries.c.seq > seen["retries"])).all():
            seen["retries"] = seq
            self._hold(key, usd, after)
        given = (answers.c.seq, answers.c.key, answers.c.usd)
        for seq, key, usd in connection.execute(select(*given).where(answers.c.seq > seen["answers"])).all():
            seen["answers"] = seq
            self._spent += usd
            self._let_go(key, seq)

    def _first(self, connection: Connection) -> None:
        self.forget()
        for table in (calls, retries, answers):
            self._seen[table.name] = connection.execute(select(func.coalesce(func.max(table.c.seq), 0))).scalar_one()
        self._spent = float(connection.execute(select(func.coalesce(func.sum(answers.c.usd), 0.0))).scalar_one())
        for key, usd, after in connection.execute(open_reservations()).all():
            self._hold(key, usd, after)
        self._known = True


def open_reservations() -> Any:
    """Key, usd, after of all open reservations, oldest first."""
    later = exists().where(answers.c.key == retries.c.key, answers.c.seq > retries.c.after)
    first = select(calls.c.key, calls.c.usd, literal(0)).where(
        calls.c.annotator != PERSON, ~exists().where(answers.c.key == calls.c.key)
    )
    return first.union_all(select(retries.c.key, retries.c.usd, retries.c.after).where(~later))


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
    """Adds answer rows; a handler for `Writer`. False for a good answer to a question that has one or is withdrawn."""
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
        if not taken:
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
