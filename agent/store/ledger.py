"""The ledger: what was asked, what came back, what was decided. Knows rows and money; nothing of labels or models.

Rows are added, never changed. Whatever the house believes is computed from them, so to resume is to run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from agent.store import batches, check, claims, leases, money, reading, schema, tables
from agent.store.batches import Batch, Stage
from agent.store.gate import Gate
from agent.store.review import Review
from agent.store.rows import DECISION_COLUMNS, Decisions, Reserved, Spend, answer_row, decision_rows, plain, to_json
from agent.store.writer import Writer, each
from agent.types import Answer, Budget, Call, Decision, SetAside, Status

T = TypeVar("T")
Came = tuple[str, Answer, Status, str]
"""What an attempt brought: key, answer, status, what went wrong ("" where nothing did)."""


class Store:
    """A ledger that is open. Methods without `async` block; in a running event loop use `do` or the async ones.

    Every method that writes returns after its commit (durable: SQLite with synchronous=FULL). Raises StoreFull when
    there is no space, Pause when the database does not answer; what was acknowledged before is safe.
    """

    def __init__(self, writing: Engine, reading: Engine, gate: Gate) -> None:
        self._writing = writing
        self._reading = reading
        self._gate = gate
        self._money = money.Money()
        self._writer = Writer(writing, gate, self._money.forget)
        self.review = Review(self._do, self._read)

    @classmethod
    def open(cls, where: str | Path) -> Store:
        """Opens (or makes) the ledger at a path (SQLite) or a URL. Raises UserError for one of a newer version."""
        return cls(*schema.connect(where))

    def close(self) -> None:
        """Commits what has queued and lets go of the database."""
        self._writer.close()
        self._reading.dispose()
        self._writing.dispose()
        self._gate.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def do(self, function: Callable[[Connection], T]) -> T:
        """Runs `function` in the writing transaction, awaiting its commit. It may be run twice (first rolled back)."""
        result: T = await self._writer.ado(each, function)
        return result

    def _do(self, function: Callable[[Connection], T]) -> T:
        result: T = self._writer.do(each, function)
        return result

    def _read(self, function: Callable[[Connection], T]) -> T:
        try:
            with self._reading.begin() as connection:
                return function(connection)
        except DBAPIError as error:
            raise schema.explain(error) from error

    def _column(self, column: Any, order: Any) -> list[Any]:
        return self._read(lambda connection: list(connection.execute(select(column).order_by(order)).scalars()))

    # The pool -----------------------------------------------------------------------------------------------------

    def add_items(self, ids: Sequence[str], names: Sequence[str | None], shard: str) -> int:
        """Adds items that are new; an item's position is its rank in `item_ids`. Returns how many were new."""
        rows = [
            {"id": item, "name": None if name is None else plain(name), "shard": shard}
            for item, name in zip(ids, names, strict=True)
        ]
        return self._add(tables.items, rows)

    def item_ids(self) -> list[str]:
        """All ids in the order of intake."""
        return self._column(tables.items.c.id, tables.items.c.seq)

    def names(self) -> list[str | None]:
        """The user's own ids, in the order of intake; NUL and lone surrogates spelled out."""
        return self._column(tables.items.c.name, tables.items.c.seq)

    def shards(self) -> list[str]:
        """The files that hold the items, in the order of intake."""
        return list(dict.fromkeys(self._column(tables.items.c.shard, tables.items.c.seq)))

    def add_set_aside(self, rows: Sequence[SetAside], source: str = "") -> int:
        """Adds rows of a source that could not become items; returns how many were new. `source`: its fingerprint."""
        told = [{"source": source, "file": plain(r.file), "row": r.row, "reason": plain(r.reason)} for r in rows]
        return self._add(tables.set_aside, told)

    def set_aside(self, source: str | None = None) -> list[SetAside]:
        """Rows set aside of a source; None: of the last one taken in (all, before any was).

        A mended file's old rows do not count again.
        """
        return self._read(lambda connection: reading.set_aside(connection, source))

    def source_seen(self, fingerprint: str) -> bool:
        """Whether a source file of this fingerprint was taken in whole."""
        return fingerprint in self._column(tables.sources.c.fingerprint, tables.sources.c.fingerprint)

    def add_source(self, fingerprint: str, path: str, rows: int, items: int) -> bool:
        """Notes that a source was taken in; False when it was noted before."""
        row = {"fingerprint": fingerprint, "path": plain(path), "rows": rows, "items": items}
        return bool(self._add(tables.sources, [row]))

    def _add(self, table: Any, rows: list[dict[str, Any]]) -> int:
        """Adds rows that are not there yet; returns how many were new."""

        def add(connection: Connection) -> int:
            count = select(func.count()).select_from(table)  # not every driver counts the rows of many INSERTs
            before = int(connection.execute(count).scalar_one())
            connection.execute(schema.insert_new(connection, table), rows)
            return int(connection.execute(count).scalar_one()) - before

        return self._do(add) if rows else 0

    # Questions and answers ----------------------------------------------------------------------------------------

    def reserve(self, calls: Sequence[Call], budget: Budget | None) -> list[Call]:
        """Writes the intent to ask, in one transaction, for as many calls as the budget (None: no limit) bears.

        Goes through in order; returns the calls that may be sent now. Not among them: closed ones (answered, failed,
        withdrawn, or out in a batch), and all that take something of what is limited from the first that does not fit.
        Never will what the ledger has spent and reserved exceed the budget in dollars, tokens or calls, whoever writes
        to it. A call that sends no request (an engine in this process) is outside the limits on tokens and calls.
        """
        result: Reserved = self._writer.do(self._money.reserve, (calls, budget))
        return result.granted

    async def areserve(self, calls: Sequence[Call], budget: Budget | None) -> Reserved:
        """As `reserve`, for asyncio, and tells the closed from the refused."""
        result: Reserved = await self._writer.ado(self._money.reserve, (calls, budget))
        return result

    async def record(self, key: str, answer: Answer, status: Status = "ok", error: str = "") -> bool:
        """Adds what an attempt brought; what it says it took replaces what was reserved. Returns after the
        commit.

        False when the question has a good answer already or was withdrawn: what this one took is then kept as an
        error. Raises TutelageError for a key that was never reserved.
        """
        return bool(await self._writer.ado(money.record, answer_row(key, answer, status, error)))

    def record_now(self, key: str, answer: Answer, status: Status = "ok", error: str = "") -> bool:
        """As `record`, blocking."""
        return bool(self._writer.do(money.record, answer_row(key, answer, status, error)))

    def withdraw(self, key: str, who: str) -> bool:
        """Takes a question back, and its answer if it has one; False when that was done before."""
        row = answer_row(key, Answer("", who=who), "withdrawn")
        return self._do(lambda connection: money.withdraw(connection, key, row))

    def cut_short(self, annotators: Sequence[str]) -> int:
        """Once at the start of a process: closes attempts that were under way when the last one died.

        Each gets an error row at all that was reserved, for it may have been charged; then it can be asked again. Calls
        that are out in a batch are not touched. Returns how many. Not to be called while another process asks these
        annotators.
        """
        return self._do(lambda connection: self._money.cut_short(connection, annotators))

    # Batches ------------------------------------------------------------------------------------------------------

    def send_out(
        self, annotator: str, calls: Sequence[Call], budget: Budget | None, notes: dict[str, Any]
    ) -> tuple[str, Reserved]:
        """Reserves calls and promises them to a new batch, in one transaction; its name, "" where none was granted.

        A call that is out already counts as closed.
        """

        def both(connection: Connection) -> tuple[str, Reserved]:
            out = batches.away(connection)
            free = [call for call in calls if call.key not in out]
            result = self._money.reserve(connection, [(free, budget)])[0]
            result.closed.extend(call for call in calls if call.key in out)
            keys = [call.key for call in result.granted]
            return (batches.begin(connection, annotator, keys, notes) if keys else ""), result

        return self._do(both)

    def batches(self, only_out: bool = False) -> list[Batch]:
        """Every batch as it stands, oldest first; `only_out`: those whose answers are still to come."""
        return self._read(lambda connection: batches.all_of(connection, only_out))

    def note_batch(self, batch: Batch, stage: Stage, job: str = "", notes: dict[str, Any] | None = None) -> None:
        """The batch came to this stage; the database refuses that it comes to one twice."""
        self._do(lambda connection: batches.note(connection, batch, stage, job, notes))

    def end_batch(
        self, batch: Batch, stage: Stage, rows: Sequence[Came], lost: Sequence[str], notes: dict[str, Any]
    ) -> list[bool]:
        """Records what came back and closes the batch, in one transaction; whether each row was kept.

        `lost`: calls nothing is known of: each takes all that it holds, for it may have been charged.
        """

        def end(connection: Connection) -> list[bool]:
            batches.note(connection, batch, stage, "", notes)
            held = [
                answer_row(key, self._money.holds(connection, key), "error", "no answer in the batch") for key in lost
            ]
            return money.record(connection, [*(answer_row(*row) for row in rows), *held])

        return self._do(end)

    def open_calls(self, annotator: str | None = None, people: bool | None = None) -> list[Call]:
        """Calls without a good answer, not failed, not withdrawn, oldest first. `people`: only (not) to people."""
        return self._read(lambda connection: reading.open_calls(connection, annotator, people))

    def calls(self, keys: Sequence[str]) -> dict[str, Call]:
        """The calls of these keys, those that there are."""
        return self._read(lambda connection: reading.the_calls(connection, keys))

    def answers_since(self, seq: int, recipes: Sequence[str] | None = None) -> list[tuple[int, Call, Answer]]:
        """Good answers after number `seq` which are not withdrawn, oldest first, with their numbers."""
        return self._read(lambda connection: reading.answers_since(connection, seq, recipes))

    def answered(self) -> dict[tuple[str, str], int]:
        """Machines' good answers by (annotator, recipe)."""
        return self._read(reading.answered)

    def events_since(self, seq: int, recipes: Sequence[str]) -> list[tuple[int, str, Call, Answer]]:
        """All that closed a call after number `seq`, oldest first: (number, ok | failed | withdrawn, call, answer)."""
        return self._read(lambda connection: reading.events_since(connection, seq, recipes))

    def noted(self) -> list[tuple[Call, Answer]]:
        """Good answers that carry flags or a rationale, oldest first."""
        return self._read(reading.noted)

    def unanswered(self, recipes: Sequence[str]) -> dict[str, str]:
        """Item -> why nothing came of the last question about it, of those without an answer."""
        return self._read(lambda connection: reading.unanswered(connection, recipes))

    def asked(self, recipe: str) -> list[Call]:
        """Every call of a recipe that was not withdrawn, oldest first."""
        return self._read(lambda connection: reading.asked(connection, recipe))

    def escalate(self, calls: Sequence[Call], recipe: str, items: Sequence[str], turn: int) -> None:
        """Writes questions to people and opens audit cards, in one transaction: one tells nothing without the other."""
        rows = [{"recipe": recipe, "item": item, "turn": turn, "at": time.time()} for item in items]

        def both(connection: Connection) -> None:
            if rows:
                connection.execute(schema.insert_new(connection, tables.opened), rows)
            self._money.reserve(connection, [(calls, None)])

        self._do(both)

    def opened(self, recipe: str) -> dict[str, int]:
        """Audit items that were opened -> the turn in which they were."""
        return self._read(lambda connection: reading.opened(connection, recipe))

    def spend(self) -> Spend:
        """What was asked and what it cost, in all and by annotator."""
        return self._read(reading.spend)

    # Turns, decisions, certificates -------------------------------------------------------------------------------

    def begin_turn(self, n: int, seed: int, config_sha256: str, version: str) -> None:
        """Notes that turn `n` begins; a turn that was cut off may begin again."""
        row = {"n": n, "seed": seed, "config_sha256": config_sha256, "version": version, "at": time.time()}
        self._add(tables.turns, [row])

    def end_turn(self, n: int, body: dict[str, Any]) -> None:
        """Notes how turn `n` ended: anything that JSON can hold."""
        row = {"turn": n, "body": to_json(body), "at": time.time()}
        self._do(lambda connection: connection.execute(insert(tables.outcomes), row).rowcount)

    def last_turn(self) -> int:
        """The number of the last turn that was begun; 0 when there is none."""
        return self._read(lambda connection: int(connection.execute(select(func.max(tables.turns.c.n))).scalar() or 0))

    def seed(self) -> int | None:
        """The seed of the first turn, with which the audit was drawn; None before any."""
        return self._read(reading.seed)

    def outcomes(self) -> list[dict[str, Any]]:
        """What `end_turn` was told, oldest first, with keys `turn` and `at` (unix seconds) added."""
        return self._read(reading.outcomes)

    def decide(self, decisions: Sequence[Decision]) -> None:
        """Adds decisions in one transaction. Give only those that changed: the last of an item holds."""
        if rows := decision_rows(decisions):
            self._do(lambda connection: schema.insert_quickly(connection, tables.decisions, DECISION_COLUMNS, rows))

    def decisions(self, turn: int | None = None) -> Decisions:
        """The last decision of each item, of those made up to `turn`."""
        return self._read(lambda connection: reading.last_decisions(connection, turn))

    def add_certificate(self, labels_sha256: str, body: dict[str, Any], look: int | None = None) -> int:
        """Adds a certificate and returns its number; `look` None takes the next. UserError if it is taken."""
        return self._do(lambda connection: claims.add_certificate(connection, labels_sha256, body, look))

    def certificates(self) -> list[dict[str, Any]]:
        """All certificates, first one first: dicts with look, labels_sha256, body (dict), at (unix seconds)."""
        return self._read(claims.certificates)

    def add_commitment(self, look: int, sha256: str, body: dict[str, Any]) -> None:
        """Adds what a look promises, durable on return. UserError if the look is taken."""
        self._do(lambda connection: claims.add_commitment(connection, look, sha256, body))

    def commitments(self) -> list[dict[str, Any]]:
        """All commitments, first look first: dicts with look, sha256, body (dict), at (unix seconds)."""
        return self._read(claims.commitments)

    # Leases -------------------------------------------------------------------------------------------------------

    def lease(self, key: str, who: str, seconds: float) -> bool:
        """Gives `who` the question for that long (or longer, if it is theirs); False while somebody else has it."""
        return self._do(lambda connection: leases.take(connection, key, plain(who), seconds))

    def release(self, key: str, who: str) -> bool:
        """Ends a lease before its time; False when it was not theirs."""
        return self._do(lambda connection: leases.give_back(connection, key, plain(who)))

    def leases(self) -> dict[str, tuple[str, float]]:
        """Key -> (who, seconds left) of all that hold now."""
        return self._read(leases.held)

    # The whole ----------------------------------------------------------------------------------------------------

    def verify(self) -> list[str]:
        """What is wrong with the ledger, in plain words; empty when it is whole."""
        return self._read(lambda connection: list(check.problems(connection)))
