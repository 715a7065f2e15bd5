"""From a source into the run: shards of the pool first, then ledger rows. Knows nothing of tasks or labels.

Idempotent: an item is its id, so taking in twice adds nothing, and an intake that was cut short between a shard and its
ledger rows is done again over the same file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from agent.data import Entry, Row, Source, fingerprint, read, short
from agent.errors import Damaged, DataError
from agent.pool import Pool
from agent.types import SetAside

SHARD_ITEMS = 50_000
SHARD_CHARS = 64_000_000
FIRST = 3
"""How many of the rows set aside are told."""
REMEMBERED = 1_000_000
"""Rows up to which it is told which items of the ledger a source does not hold any more."""


class Ledger(Protocol):
    """What intake asks of the store. Ids and own names come in the order of intake, shards as names of files."""

    def add_items(self, ids: Sequence[str], names: Sequence[str | None], shard: str) -> object: ...
    def item_ids(self) -> Sequence[str]: ...
    def names(self) -> Sequence[str | None]: ...
    def shards(self) -> Sequence[str]: ...
    def add_set_aside(self, rows: Sequence[SetAside], source: str) -> object: ...
    def set_aside(self, source: str | None = None) -> Sequence[SetAside]: ...
    def source_seen(self, fingerprint: str) -> bool: ...
    def add_source(self, fingerprint: str, path: str, rows: int, items: int) -> object: ...


@dataclass(frozen=True, slots=True)
class Intake:
    """What came of a source: rows = items + set_aside; `new` of the items were not in the ledger before.

    `unchanged`: the source was taken in before as it is and was not read again; the counts are then those of the
    whole ledger. `gone`: items of the ledger that are not in the source any more; they stay. `changed`: ids of the
    ledger that stand in the source with another text; the first text stays, and the row is among those set aside.
    Both are 0 for an unchanged source, and `gone` for one of more than a million rows. `first`: the first three rows
    set aside.
    """

    rows: int
    items: int
    new: int
    set_aside: int
    unchanged: bool = False
    gone: int = 0
    changed: int = 0
    first: tuple[SetAside, ...] = field(default=(), compare=False)


def take_in(source: Source, store: Ledger, folder: str | os.PathLike[str], shard_items: int = SHARD_ITEMS) -> Intake:
    """Reads a source into the pool at `folder` (where the shards lie) and the ledger.

    `shard_items`: a shard is written when at least so many items wait, or 64 million characters of them.

    Raises:
        DataError: as `data.read`, or not one row can be used (the set-asides are recorded first).
        Damaged: pool and ledger do not tell the same items.
        StoreFull: no space left.
    """
    mark = fingerprint(source)
    pool = Pool(folder, store.shards())
    if pool.ids != list(store.item_ids()):
        raise Damaged(f"the pool in {pool.folder} and the ledger hold different items; start a new run folder")
    if mark is not None and store.source_seen(mark):
        rows = store.set_aside(mark)
        return Intake(len(pool) + len(rows), len(pool), 0, len(rows), unchanged=True, first=tuple(rows[:FIRST]))
    done = _Intake(source, store, pool, shard_items, mark or "")
    for batch in read(source):
        done.add(batch)
    done.flush()
    if done.first and not done.items:
        raise DataError(
            f"none of the {done.rows} rows of {source.path} can be used. "
            f"The first: {done.first[0].file}, row {done.first[0].row}: {done.first[0].reason}"
        )
    if mark is not None:
        store.add_source(mark, source.path, done.rows, done.items)
    aside, first = done.rows - done.items, tuple(done.first)
    return Intake(done.rows, done.items, done.new, aside, gone=done.gone, changed=done.changed, first=first)


class _Intake:
    """An intake under way: what waits to become a shard, and the counts."""

    def __init__(self, source: Source, store: Ledger, pool: Pool, shard_items: int, mark: str) -> None:
        self._source, self._store, self._pool, self._shard_items = source, store, pool, shard_items
        self._mark = mark
        self._known = set(pool.ids)
        self._names = dict(zip(store.names(), pool.ids, strict=True))
        self._waiting: list[Entry] = []
        self._chars = 0
        self._unseen: set[str] | None = set(pool.ids)
        self.rows = self.items = self.new = self.changed = 0
        self.first: list[SetAside] = []

    def add(self, batch: Sequence[Row]) -> None:
        aside: list[SetAside] = []
        for row in map(self._checked, batch):
            self.rows += 1
            if isinstance(row, SetAside):
                aside.append(row)
                continue
            self.items += 1
            self._saw(row.item.id)
            if row.item.id not in self._known:
                self._known.add(row.item.id)
                self._waiting.append(row)
                self._chars += sum(len(part.data) for part in row.item.parts)
        if aside:
            self.first += aside[: FIRST - len(self.first)]
            self._store.add_set_aside(aside, self._mark)
        if len(self._waiting) >= self._shard_items or self._chars >= SHARD_CHARS:
            self.flush()

    @property
    def gone(self) -> int:
        """How many items of the ledger the source does not hold any more, as far as that was followed."""
        return len(self._unseen or ())

    def _saw(self, item: str) -> None:
        if self._unseen is not None:
            self._unseen.discard(item)
            if self.rows > REMEMBERED:
                self._unseen = None

    def flush(self) -> None:
        """What waits becomes a shard, and only then rows of the ledger."""
        if not self._waiting:
            return
        shard, count = self._pool.append([(e.item, e.file, e.row) for e in self._waiting])
        file = os.path.basename(self._pool.path(shard))
        self._store.add_items([e.item.id for e in self._waiting], [e.item.name for e in self._waiting], file)
        self.new += count
        self._waiting, self._chars = [], 0

    def _checked(self, row: Row) -> Row:
        if isinstance(row, SetAside):
            # The name as seen from the source: a folder that was moved must not make the same row another one.
            return replace(row, file=short(self._source, row.file))
        if row.item.name is None:
            return row
        first = self._names.get(row.item.name, row.item.id)
        if first == row.item.id:
            return row
        self.changed += 1
        self._saw(first)
        why = (
            f"the id {row.item.name[:60]!r} is in this run already with another text; "
            "give the row a new id, or start a new run folder"
        )
        return SetAside(short(self._source, row.file), row.row, why)
