"""The ledger's tables and how a database is opened. Knows SQL dialects; knows nothing of what the rows are used for.

Every table but `leases` is append-only; triggers refuse UPDATE and DELETE, so not even a stray tool changes history.
Sequence numbers grow in the order of commits (SQLite: one writer at a time; PostgreSQL: an advisory lock held by
the writing transaction), so "everything after number n" misses nothing.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Table, create_engine, event, select, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from agent.errors import DataError, MissingExtra, Pause, StoreFull, UserError
from agent.store.gate import Gate, LostLedger
from agent.store.tables import meta, metadata

VERSION = 4
"""Version of these tables. A ledger of an older version gets what it lacks; one of a newer version is refused."""

ADDED = {2: (("calls", "tokens"), ("calls", "requests"), ("retries", "tokens"), ("retries", "requests"),
             ("answers", "requests")),
         4: (("answers", "guide"),)}  # fmt: skip
"""Version -> the whole numbers (0 in older rows) that came with it: table and column. Version 3: a table only."""

BUSY_SECONDS = 60
"""How long one process waits for another one's transaction."""

PERSON = "person"
"""The annotator whose open calls are the review queue."""

MEND = "restore it from a copy, or start a new run folder (run.dir); what was paid for is in the old file, so keep it"


CLOSED = ("ok", "failed", "withdrawn")
"""Statuses after which a call is not open any more."""

APPEND_ONLY = tuple(table.name for table in metadata.sorted_tables if table.name != "leases")


def insert_new(connection: Connection, table: Table) -> Any:
    """INSERT that passes over rows which are there already; the dialects spell it the same, each in its own class."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def insert_quickly(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Any]) -> None:
    """By the driver itself: SQLAlchemy's own way takes twice the time for 100,000 rows."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join([mark] * len(columns))
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", list(rows))


SQLITE_CLOCK = text("SELECT (julianday('now') - 2440587.5) * 86400.0")
SERVER_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())")


def clock(connection: Connection) -> float:
    """The database's clock, unix seconds: machines that share a ledger may disagree, their database does not."""
    sql = SQLITE_CLOCK if connection.dialect.name == "sqlite" else SERVER_CLOCK
    return float(connection.execute(sql).scalar_one())


def _url(where: str | Path) -> URL:
    """A path or a URL as a URL SQLAlchemy understands; the folder of a new SQLite file is made."""
    if "://" not in str(where):
        url = URL.create("sqlite", database=str(where))
    else:
        try:
            url = make_url(str(where))
        except ArgumentError:
            raise UserError(
                "run.store is neither a path nor a database URL; write a file name or postgresql://user@host/name"
            ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserError(f"run.store: {url.drivername!r} is not supported; use a file (SQLite) or postgresql://")
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise UserError("run.store: a ledger must outlive the process; give the name of a file")
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    return url


def connect(where: str | Path) -> tuple[Engine, Engine, Gate]:
    """Engines for writing (one connection, whole transactions) and for reading, the tables made where absent.

    Raises UserError (URL, newer version), DataError (permissions), MissingExtra (psycopg), Damaged (not a database),
    StoreFull.
    """
    url = _url(where)
    _not_emptied(url)
    gate = _gate(url)
    writing, reading = _engine(url, writes=True), _engine(url, writes=False)
    try:
        with gate.held(), _begin_patiently(writing) as connection:
            _make_tables(connection)
            connection.commit()
    except Exception as error:
        writing.dispose()
        gate.close()
        if isinstance(error, DBAPIError):
            raise explain(error, url.database or "") from error
        raise
    return writing, reading, gate


def _not_emptied(url: URL) -> None:
    """An empty file beside a pool that was taken in is a ledger that was lost, not one to be made."""
    if url.get_backend_name() != "sqlite" or url.database is None:
        return
    file = Path(url.database)
    if file.exists() and not file.stat().st_size and any((file.parent / "pool").glob("part-*.parquet")):
        raise LostLedger(f"the ledger {file} is empty, though the pool beside it is not: {MEND}")


def _gate(url: URL) -> Gate:
    try:
        return Gate(url.database if url.get_backend_name() == "sqlite" else None)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreFull("no space left for the ledger: free space and run again") from error
        raise DataError(f"the ledger cannot be written: check run.dir (or run.store): {error.strerror}") from error


def _begin_patiently(engine: Engine) -> Connection:
    """The first connection switches the file to WAL, which does not wait its turn in SQLite; so we do."""
    for attempt in range(50):
        try:
            connection = engine.connect()
            connection.begin()
            return connection
        except OperationalError as error:
            if "locked" not in str(error) or attempt == 49:
                raise
            time.sleep(0.1)
    raise AssertionError


def _engine(url: URL, writes: bool) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url, connect_args={"timeout": BUSY_SECONDS}, pool_size=1 if writes else 4, hide_parameters=True
        )
    else:
        try:
            # A reader sees one moment of the ledger, however many questions it puts (SQLite's WAL gives that anyway).
            level = "READ COMMITTED" if writes else "REPEATABLE READ"
            engine = create_engine(url, pool_size=1 if writes else 4, isolation_level=level, hide_parameters=True)
        except ModuleNotFoundError:
            raise MissingExtra("psycopg", "postgres", "a ledger on PostgreSQL") from None

    @event.listens_for(engine, "connect")
    def _prepare(raw: Any, _record: Any) -> None:
        if engine.dialect.name != "sqlite":
            return
        raw.isolation_level = None  # the driver starts no transactions of its own; `_start` does
        cursor = raw.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        if not writes:
            cursor.execute("PRAGMA wal_autocheckpoint = 0")
            cursor.execute("PRAGMA query_only = 1")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _start(connection: Connection) -> None:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
        elif writes:
            # One writing transaction at a time, so that numbers are given out in the order of commits.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7485100)")

    return engine


def _make_tables(connection: Connection) -> None:
    meta.create(connection, checkfirst=True)
    connection.execute(insert_new(connection, meta), {"name": "schema", "value": str(VERSION)})
    found = int(connection.execute(select(meta.c.value).where(meta.c.name == "schema")).scalar_one())
    if found < VERSION:
        _bring_up(connection, found)
    metadata.create_all(connection)
    _make_triggers(connection)
    if found > VERSION:
        raise UserError(
            f"this ledger was written by a newer tutelage (tables of version {found}, this program knows {VERSION}); "
            "upgrade: pip install --upgrade tutelage"
        )


def _bring_up(connection: Connection, found: int) -> None:
    """Give an older ledger the columns it lacks and the new number, so that an older program refuses it.

    The guard of `meta` is put up again by `_make_triggers` in the same transaction.
    """
    for table, column in (pair for version, pairs in ADDED.items() if version > found for pair in pairs):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} BIGINT NOT NULL DEFAULT 0")
    on = "" if connection.dialect.name == "sqlite" else " ON meta"
    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS meta_no_update{on}")
    connection.execute(meta.update().where(meta.c.name == "schema"), {"value": str(VERSION)})


def _make_triggers(connection: Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION tutelage_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
        )
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            name = f"{table}_no_{verb.lower()}"
            if sqlite:
                sql = (
                    f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {verb} ON {table} "
                    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
                )
            else:
                sql = (
                    f"CREATE OR REPLACE TRIGGER {name} BEFORE {verb} ON {table} "
                    "FOR EACH ROW EXECUTE FUNCTION tutelage_append_only()"
                )
            connection.exec_driver_sql(sql)


def explain(error: DBAPIError, file: str = "") -> Exception:
    """A database error as one of ours, with its mend; one that is none of the known comes back as it is.

    `file`: the ledger's, where it is known.
    """
    said = str(error.orig).lower()
    if "disk is full" in said or "no space left" in said or getattr(error.orig, "sqlstate", None) == "53100":
        return StoreFull("no space left for the ledger; nothing acknowledged is lost: free space and run again")
    if "disk i/o error" in said:
        return StoreFull("the ledger's disk cannot be written; check its space and its health, then run again")
    if "locked" in said:
        return Pause(f"another process has held the ledger for {BUSY_SECONDS} s; end it, then run again")
    if "readonly" in said or "unable to open" in said:
        return DataError("the ledger cannot be written: check run.dir (or run.store) and its permissions")
    if "not a database" in said or "malformed" in said:
        return LostLedger(f"the ledger{' ' * bool(file)}{file} is damaged or no database at all: {MEND}")
    server = type(error.orig).__module__.startswith("psycopg")  # SQLite's OperationalError also means a mistake in SQL
    if error.connection_invalidated or (server and isinstance(error, OperationalError)):
        return Pause(f"the ledger's database does not answer ({type(error.orig).__name__}); mend it, then run again")
    return error
