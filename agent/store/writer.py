"""One thread that owns the writing connection: group commit. Knows nothing of tables.

Whatever has queued is done in one transaction, and those who wait are released after its commit: a hundred answers
cost one fsync. Work comes as (handler, payload); neighbours with the same handler are handed over together:
`handler(connection, payloads) -> results`, one a payload, an exception among them being raised at its own caller.
If a transaction fails for another reason than the disk, each piece of work is done again in one of its own, so
nobody pays for a neighbour's mistake; so handlers must bear being run twice, the first time rolled back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from agent.errors import Pause, TutelageError
from agent.store.gate import Gate
from agent.store.schema import explain

Handler = Callable[[Connection, Sequence[Any]], Sequence[Any]]

MOST_AT_ONCE = 2000
"""Pieces of work in one transaction: bounds how long the first of them waits."""


@dataclass(eq=False, slots=True)
class _Work:
    handler: Handler
    payload: Any
    future: Any
    """A concurrent Future, or an asyncio one when `loop` is given."""
    loop: asyncio.AbstractEventLoop | None = None


def each(connection: Connection, functions: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    """The handler of work that does not batch: every payload is a function of the connection."""
    return [function(connection) for function in functions]


class Writer:
    """The writing thread. `undone` is called in it after every rollback, for caches that may have seen too much."""

    def __init__(self, engine: Engine, gate: Gate, undone: Callable[[], None]) -> None:
        self._engine = engine
        self._gate = gate
        self._undone = undone
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tutelage-ledger", daemon=True)
        self._thread.start()

    def do(self, handler: Handler, payload: Any) -> Any:
        """Does it and returns its result after the commit; blocks the thread (never call it from a running loop)."""
        future: Future[Any] = Future()
        self._put(_Work(handler, payload, future))
        return future.result()

    async def ado(self, handler: Handler, payload: Any) -> Any:
        """The same for asyncio. A cancelled caller's work is done all the same."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._put(_Work(handler, payload, future, loop))
        return await future

    def close(self) -> None:
        """Does what has queued, then ends. Safe to call twice."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _put(self, work: _Work) -> None:
        with self._closing:
            if self._closed:
                raise TutelageError("the ledger is closed")
            self._queue.put(work)

    def _work(self) -> None:
        more = True
        while more:
            batch, more = self._take()
            if batch:
                _release(list(zip(batch, self._together(batch), strict=True)))

    def _take(self) -> tuple[list[_Work], bool]:
        """Waits for work, then takes all there is. The flag is False once the queue is closed."""
        work = self._queue.get()
        batch: list[_Work] = []
        while work is not None:
            batch.append(work)
            if len(batch) == MOST_AT_ONCE:
                return batch, True
            try:
                work = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _together(self, batch: Sequence[_Work]) -> list[Any]:
        """The results of a batch in its order, exceptions as values; one transaction when all goes well."""
        try:
            return self._commit(batch)
        except DBAPIError as error:
            ours = explain(error)
            if isinstance(ours, TutelageError):  # the disk, the lock, the server: it would be the same for each
                return [ours] * len(batch)
        except Pause as error:
            return [error] * len(batch)
        except Exception as error:  # noqa: BLE001  (it is raised again at its caller)
            if len(batch) == 1:
                return [error]
        return self._apart(batch)

    def _apart(self, batch: Sequence[_Work]) -> list[Any]:
        results: list[Any] = []
        for work in batch:
            try:
                results += self._commit([work])
            except Exception as error:  # noqa: BLE001  (it is raised again at its caller)
                results.append(explain(error) if isinstance(error, DBAPIError) else error)
        return results

    def _commit(self, batch: Sequence[_Work]) -> list[Any]:
        results: list[Any] = []
        try:
            with self._gate.held(), self._engine.begin() as connection:
                for handler, works in groupby(batch, key=lambda work: work.handler):
                    results += handler(connection, [work.payload for work in works])
        except BaseException:
            self._undone()
            raise
        return results


def _release(done: Sequence[tuple[_Work, Any]]) -> None:
    """Wakes every waiting thread, and every event loop once."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Any, Any]]] = {}
    for work, result in done:
        if work.loop is None:
            _settle(work.future, result)
        else:
            loops.setdefault(work.loop, []).append((work.future, result))
    for loop, pairs in loops.items():
        try:
            loop.call_soon_threadsafe(_settle_all, pairs)
        except RuntimeError:  # the loop has ended and nobody waits any more; the rows are in the ledger
            continue


def _settle_all(pairs: Sequence[tuple[Any, Any]]) -> None:
    for future, result in pairs:
        _settle(future, result)


def _settle(future: Any, result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
