"""Is the ledger whole? Each problem in plain words. Knows the tables' rules; mends nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import exists, func, or_, select, text
from sqlalchemy.engine import Connection

from agent.store.schema import APPEND_ONLY
from agent.store.tables import answers, calls, decisions, items, retries


def problems(connection: Connection) -> Iterator[str]:
    """One sentence a problem; nothing when the ledger is whole."""
    if connection.dialect.name == "sqlite":
        for (line,) in connection.execute(text("PRAGMA integrity_check")):
            if line != "ok":
                yield f"SQLite finds the file damaged: {line}; restore a copy"
    yield from _missing_triggers(connection)
    yield from _rows(connection)
    yield from _bodies(connection)


def _missing_triggers(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    found = set(connection.execute(text(query)).scalars())
    for table in APPEND_ONLY:
        for verb in ("update", "delete"):
            if f"{table}_no_{verb}" not in found:
                yield f"table {table} lost its guard against {verb.upper()}: somebody may have changed history"


def _rows(connection: Connection) -> Iterator[str]:
    def count(query: object) -> int:
        return int(connection.execute(query).scalar_one())  # type: ignore[call-overload]

    lonely = count(select(func.count()).where(~exists().where(calls.c.key == answers.c.key)).select_from(answers))
    if lonely:
        yield f"{lonely} answers belong to no call"
    lonely = count(select(func.count()).where(~exists().where(calls.c.key == retries.c.key)).select_from(retries))
    if lonely:
        yield f"{lonely} retries belong to no call"
    for status in ("ok", "withdrawn"):
        twice = select(answers.c.key).where(answers.c.status == status).group_by(answers.c.key)
        number = count(select(func.count()).select_from(twice.having(func.count() > 1).subquery()))
        if number:
            yield f"{number} calls have more than one answer of status {status!r}"
    for table in (calls, answers):
        number = count(select(func.count()).select_from(table).where(~(table.c.usd >= 0)))
        if number:
            yield f"{number} rows of {table.name} have a negative price"
    for table, names in ((calls, ("tokens", "requests")), (answers, ("tokens_in", "tokens_out", "requests"))):
        wrong = or_(*(~(table.c[name] >= 0) for name in names))
        if number := count(select(func.count()).select_from(table).where(wrong)):
            yield f"{number} rows of {table.name} have negative tokens or requests"
    parts = select(func.sum(answers.c.usd).label("usd")).group_by(answers.c.status).subquery()
    by_status = connection.execute(select(func.coalesce(func.sum(parts.c.usd), 0.0))).scalar_one()
    whole = connection.execute(select(func.coalesce(func.sum(answers.c.usd), 0.0))).scalar_one()
    if abs(by_status - whole) > 1e-6 * max(1.0, abs(whole)):
        yield f"money does not add up: {whole} USD in all, {by_status} USD by status"
    stray = select(func.count()).select_from(decisions).where(~exists().where(items.c.id == decisions.c.item))
    if number := count(stray):
        yield f"{number} decisions are about items that are not in the pool"


def _bodies(connection: Connection) -> Iterator[str]:
    broken = 0
    for (body,) in connection.execute(select(answers.c.body)):
        try:
            broken += "text" not in json.loads(body)
        except (ValueError, TypeError):
            broken += 1
    if broken:
        yield f"{broken} answers cannot be read"
