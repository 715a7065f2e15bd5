"""The items of a run, in Parquet shards beside the ledger. Knows nothing of where they came from or what came of them.

Position i, the 0-based order of intake, is the number of an item in every array. The pool keeps ids in memory and
reads texts block by block; it never holds all items as Python objects.
"""

from __future__ import annotations

import errno
import json
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property
from threading import Lock
from typing import Any

from agent.errors import Damaged, StoreFull
from agent.types import Item, Part, Value

BLOCK = 4_096
"""Items a block: the unit that is read and kept."""
KEEP_BYTES = 128 * 2**20
TEXT = "text/plain"


class Pool:
    """The items of a folder, in order of intake. Several threads may read it at once.

    `shards`: how many shards the ledger knows, or their names; files beyond are left from an intake that was cut short,
    and are ignored and written anew. None: all that are there.

    Raises:
        Damaged: a shard the ledger knows is missing or cannot be read.
    """

    def __init__(self, folder: str | os.PathLike[str], shards: int | Sequence[str] | None = None) -> None:
        self.folder = os.fspath(folder)
        self.ids: list[str] = []
        self._starts: list[int] = []
        self._blocks: list[tuple[int, int]] = []
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._gold: list[Value | None] = []
        self._one_reads = Lock()
        self.shards = 0
        known = shards if shards is None or isinstance(shards, int) else len(shards)
        while self.shards < known if known is not None else os.path.exists(self.path(self.shards)):
            self._open(self.shards)

    def grow(self, shards: Sequence[str]) -> bool:
        """Open the shards that the ledger knows by now; whether there were new ones.

        Raises:
            Damaged: one of them is missing or cannot be read.
        """
        before = self.shards
        with self._one_reads:
            while self.shards < len(shards):
                self._open(self.shards)
        return self.shards > before

    def path(self, shard: int) -> str:
        """The file of a shard."""
        return os.path.join(self.folder, f"part-{shard:05d}.parquet")

    def __len__(self) -> int:
        return len(self.ids)

    def position(self, id: str) -> int:
        """The number of an item. Raises `KeyError` when the pool has no such item."""
        if len(self._positions) < len(self.ids):  # it has grown
            self.__dict__.pop("_positions", None)
        return self._positions[id]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {id: i for i, id in enumerate(self.ids)}

    def item(self, i: int) -> Item:
        """Item number i."""
        return self.items([i])[0]

    def items(self, indices: Iterable[int]) -> list[Item]:
        """The items of these numbers, in this order. Each block is read at most once."""
        wanted = [int(i) for i in indices]
        rows = self._rows(wanted, ("id", "name", "text", "media", "data", "gold"))
        return [_item(row) for row in rows]

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts (`Item.text`) of items start to stop - 1."""
        rows = self._rows(range(start, min(stop, len(self))), ("text", "media", "data"))
        return [row["text"] if "text" in row else Item("", _parts(row)).text for row in rows]

    def gold(self) -> list[Value | None]:
        """The known label of every item, None where there is none; length len(self)."""
        if len(self._gold) < len(self):
            from pyarrow import parquet

            self._gold = []
            for shard in range(self.shards):
                column = parquet.read_table(self.path(shard), columns=["gold"])["gold"].to_pylist()
                known = {told: _value(told) for told in set(column)}  # few labels, many items: one object each
                self._gold += [known[told] for told in column]
        return list(self._gold)

    def origin(self, i: int) -> tuple[str, int]:
        """The file and row where item number i was read."""
        (row,) = self._rows([i], ("file", "row"))
        return row["file"], row["row"]

    def at_row(self, row: int) -> list[int]:
        """The items read from this row, one a file that has it."""
        from pyarrow import parquet

        rows: list[int] = []
        for shard in range(self.shards):
            rows += parquet.read_table(self.path(shard), columns=["row"])["row"].to_pylist()
        return [number for number, one in enumerate(rows) if one == row]

    def append(self, entries: Sequence[tuple[Item, str, int]]) -> tuple[int, int]:
        """Writes (item, file, row) triples as the next shard, safe on disk on return: (shard number, number of items).

        Raises:
            ValueError: no entries. StoreFull: no space left.
        """
        if not entries:
            raise ValueError("a shard holds at least one item")
        shard = self.shards
        try:
            os.makedirs(self.folder, exist_ok=True)
            _write(entries, self.path(shard))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(f"no space left for {self.path(shard)}; free some and run again") from error
            raise
        self._open(shard)
        return shard, len(entries)

    def _open(self, shard: int) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.path(shard)) as opened:
                ids = opened.read(columns=["id"])["id"].to_pylist()
                sizes = [opened.metadata.row_group(g).num_rows for g in range(opened.num_row_groups)]
        except (OSError, pa.ArrowException, KeyError) as error:
            raise Damaged(
                f"{self.path(shard)} is known to the ledger but cannot be read ({type(error).__name__}); "
                "put it back from a copy, or start a new run folder"
            ) from error
        start = len(self.ids)
        for group, size in enumerate(sizes):
            self._starts.append(start)
            self._blocks.append((shard, group))
            start += size
        self.ids += ids
        self.shards = shard + 1

    def _rows(self, wanted: Sequence[int], columns: tuple[str, ...]) -> list[dict[str, Any]]:
        """These columns (those there are) of the items wanted, in order."""
        by_block: dict[int, list[int]] = {}
        for place, i in enumerate(wanted):
            if not 0 <= i < len(self):
                raise IndexError(f"the pool has {len(self)} items, no number {i}")
            by_block.setdefault(bisect_right(self._starts, i) - 1, []).append(place)
        found: list[dict[str, Any]] = [{} for _ in wanted]
        for block, places in sorted(by_block.items()):
            with self._one_reads:
                table = self._block(block)
            table = table.select([c for c in columns if c in table.column_names])
            rows = table.take([wanted[place] - self._starts[block] for place in places]).to_pylist()
            for place, row in zip(places, rows, strict=True):
                found[place] = row
        return found

    def _block(self, block: int) -> Any:
        """A block's table, kept while all kept are under `KEEP_BYTES`; the one not used for longest goes first."""
        from pyarrow import parquet

        if block in self._kept:
            self._kept.move_to_end(block)
            return self._kept[block]
        shard, group = self._blocks[block]
        with parquet.ParquetFile(self.path(shard)) as opened:
            table = opened.read_row_group(group, use_threads=False)
        self._kept[block] = table
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > KEEP_BYTES:
            self._kept.popitem(last=False)
        return table


def _write(entries: Sequence[tuple[Item, str, int]], path: str) -> None:
    from pyarrow import parquet

    part = f"{path}.tmp"
    with open(part, "wb") as stream:
        repeated = ["gold", "file"]
        parquet.write_table(_table(entries), stream, BLOCK, compression="zstd", use_dictionary=repeated)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _table(entries: Sequence[tuple[Item, str, int]]) -> Any:
    import pyarrow as pa

    items = [item for item, _, _ in entries]
    columns = {
        "id": pa.array([item.id for item in items], pa.string()),
        "name": pa.array([item.name for item in items], pa.string()),
        "gold": pa.array([_told(item.gold) for item in items], pa.string()),
        "file": pa.array([file for _, file, _ in entries], pa.string()),
        "row": pa.array([row for _, _, row in entries], pa.int64()),
    }
    if all(len(item.parts) == 1 and item.parts[0].media == TEXT for item in items):
        columns["text"] = pa.array([item.parts[0].data for item in items], pa.large_string())
    else:
        columns["media"] = pa.array([[p.media for p in item.parts] for item in items], pa.list_(pa.string()))
        columns["data"] = pa.array([[p.data for p in item.parts] for item in items], pa.large_list(pa.large_string()))
    return pa.table(columns)


def _item(row: dict[str, Any]) -> Item:
    return Item(row["id"], _parts(row), _value(row["gold"]), row["name"])


def _parts(row: dict[str, Any]) -> tuple[Part, ...]:
    if "text" in row:
        return (Part(TEXT, row["text"]),)
    return tuple(Part(media, data) for media, data in zip(row["media"], row["data"], strict=True))


def _told(gold: Value | None) -> str | None:
    return None if gold is None else json.dumps(gold, ensure_ascii=False)


def _value(told: str | None) -> Value | None:
    if told is None:
        return None
    value = json.loads(told)
    return tuple(value) if isinstance(value, list) else str(value)
