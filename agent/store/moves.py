"""What a change of the labels writes, in one transaction. Knows rows; nothing of what labels mean."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table, delete, func, insert, select
from sqlalchemy.engine import Connection

from agent.store import tables
from agent.store.rows import DECISION_COLUMNS, answer_row, call_row, decision_rows, plain, to_json
from agent.store.schema import clock, insert_new, insert_quickly
from agent.types import Answer, Call, Decision, Status

Upto = tuple[int, int]
"""Numbers of the last call and the last answer."""

TWO = (tables.calls, tables.answers)


@dataclass
class Move:
    """Rows of one change. `old`, `new`: people's recipes; `calls` with what closed them, where something did, in the
    order in which it came (key, answer, status, error); `upto`: what they were worked out from; `withdrawn`: calls
    taken back; `opened`: (recipe, item, turn); `leases`: (key, who, seconds left); `outcomes`: bodies; `turn`: its
    number, with seed, settings' hash, version.
    """

    verb: str
    body: Mapping[str, Any]
    old: str
    new: str
    upto: Upto
    turn: tuple[int, int, str, str]
    calls: list[Call] = field(default_factory=list)
    answers: list[tuple[str, Answer, Status, str]] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    opened: list[tuple[str, str, int]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    leases: list[tuple[str, str, float]] = field(default_factory=list)
    outcomes: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether all of it stands in the ledger already."""
        return not (self.calls or self.answers or self.withdrawn)


def upto(connection: Connection) -> Upto:
    """Numbers of the last call and the last answer."""
    last = [connection.execute(select(func.coalesce(func.max(t.c.seq), 0))).scalar_one() for t in TWO]
    return int(last[0]), int(last[1])


def write(connection: Connection, move: Move) -> bool:
    """Writes all of it; False, and nothing, where calls or answers came since they were read."""
    if upto(connection) != move.upto:
        return False
    n, seed, sha, version = move.turn
    now = time.time()
    turn = {"n": n, "seed": seed, "config_sha256": sha, "version": version, "at": now}
    connection.execute(insert(tables.turns), turn)
    _add(connection, tables.calls, [call_row(call) for call in move.calls])
    rows = [answer_row(*row) for row in move.answers]
    rows += [answer_row(key, Answer("", flags=(str(move.body["flag"]),)), "withdrawn") for key in move.withdrawn]
    _add(connection, tables.answers, rows)
    if move.opened:
        columns = ("recipe", "item", "turn")
        opened = [dict(zip(columns, row, strict=True)) | {"at": now} for row in move.opened]
        connection.execute(insert_new(connection, tables.opened), opened)
    if decided := decision_rows(move.decisions):
        insert_quickly(connection, tables.decisions, DECISION_COLUMNS, decided)
    _lease(connection, move)
    for body in move.outcomes:
        connection.execute(insert(tables.outcomes), {"turn": n, "body": to_json(dict(body)), "at": now})
    note = {"verb": plain(move.verb), "body": to_json({**move.body, "turn": n}), "old": move.old, "new": move.new}
    connection.execute(insert(tables.relabels), {**note, "at": now})
    return True


def _add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        columns = tuple(rows[0])
        insert_quickly(connection, table, columns, [tuple(row[name] for name in columns) for row in rows])


def _lease(connection: Connection, move: Move) -> None:
    """What is in hand stays so under its new key; nobody holds a question under the old labels."""
    until = clock(connection)
    old = select(tables.calls.c.key).where(tables.calls.c.recipe == move.old)
    connection.execute(delete(tables.leases).where(tables.leases.c.key.in_(old)))
    for key, who, left in move.leases:
        connection.execute(delete(tables.leases).where(tables.leases.c.key == key))
        connection.execute(tables.leases.insert().values(key=key, who=who, until=until + left))
