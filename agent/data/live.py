"""Rows of a pipe as they come: a batch is what is there, so the first line is answered before the last is written.

Knows JSONL, CSV and plain lines. What a file tells by a second look (its columns), the first row tells here.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, TextIO, cast

from agent.data.clean import Cleaner, Row
from agent.data.comma import open_csv
from agent.data.lines import as_object, open_json
from agent.data.read import BATCH_ROWS, guess
from agent.data.sheet import Numbered
from agent.data.source import Columns, Source, pick
from agent.errors import DataError

FILE = "standard input"
CHUNK = 1 << 16


def live(source: Source, stream: BinaryIO) -> Iterator[list[Row]]:
    """Batches of rows of a pipe, each made of what had come when it was asked for, at most 5,000 rows.

    Memory stays as it is however much comes, if `source.unique` is false. A JSON array is read whole.

    Raises:
        DataError: a column is not there, the header is broken, it is UTF-16, or there is not one row.
    """
    lines = _Lines(stream)
    cleaner = Cleaner(source)
    batch: list[Row] = []
    rows = 0
    for wanted, (number, values) in _rows(source, lines):
        batch.append(cleaner.clean(FILE, number, values, wanted))
        rows += 1
        if not lines.waiting or len(batch) >= BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
    if not rows:
        raise DataError(f"{FILE} holds no rows; put at least one item there")


class _Lines:
    """Lines of a stream that is read as it comes. `waiting`: whether a whole one is there already."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._there: deque[bytes] = deque()
        self._rest: list[bytes] = []
        self._ended = False

    @property
    def waiting(self) -> bool:
        return bool(self._there)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> bytes:
        while not self._there:
            if self._ended:
                raise StopIteration
            self._take()
        return self._there.popleft()

    def back(self, line: bytes) -> None:
        self._there.appendleft(line)

    def whole(self) -> bytes:
        """All that is left."""
        return b"".join(self)

    def _take(self) -> None:
        read = getattr(self._stream, "read1", self._stream.read)
        chunk: bytes = read(CHUNK)
        if not chunk:
            self._ended = True
            self._there.extend(part for part in [b"".join(self._rest)] if part)
            return
        self._rest.append(chunk)
        if b"\n" in chunk:
            *lines, rest = b"".join(self._rest).split(b"\n")
            self._there.extend(line + b"\n" for line in lines)
            self._rest = [rest] if rest else []


def _rows(source: Source, lines: _Lines) -> Iterator[tuple[Columns, Numbered]]:
    first = next((line for line in lines if line.strip() or line[:2] in (b"\xff\xfe", b"\xfe\xff")), b"")
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{FILE} is UTF-16; save it as UTF-8")
    if not first:
        return
    first = first.removeprefix(b"\xef\xbb\xbf")
    lines.back(first)
    form = guess(source, io.BytesIO(first)) if source.format == "auto" else source.format
    if form in ("csv", "tsv"):
        text = (line.decode("utf-8", "surrogateescape") for line in lines)
        mark = "\t" if form == "tsv" else next((m for m in ",;\t" if m in first.decode("utf-8", "replace")), ",")
        sheet = open_csv(cast(TextIO, text), FILE, mark)
        wanted = pick(source, FILE, sheet.columns or [], sheet.texts)
        yield from ((wanted, row) for row in sheet.rows(wanted))
    elif form == "json":
        asked = {name for name in (*source.text, source.id, *source.keep) if name is not None}
        sheet = open_json(io.BytesIO(lines.whole()), FILE, asked)
        wanted = pick(source, FILE, sheet.columns or [], sheet.texts)
        yield from ((wanted, row) for row in sheet.rows(wanted))
    elif form == "jsonl":
        yield from _objects(source, lines)
    elif form == "txt":
        wanted = pick(source, FILE, ["text"], ["text"])
        yield from ((wanted, (number, {"text": text})) for number, text in _texts(lines))
    else:
        raise DataError(f"{form} cannot be read from {FILE}; write it to a file and name that")


def _texts(lines: _Lines) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(lines, 1):
        if line := raw.rstrip(b"\n").removesuffix(b"\r"):
            yield number, line.decode("utf-8", "surrogateescape")


def _objects(source: Source, lines: _Lines) -> Iterator[tuple[Columns, Numbered]]:
    """One object a line. Columns that are named are believed to be there; the text's is told by the first object."""
    wanted: Columns | None = None
    named = [name for name in (*source.text, source.id, *source.keep) if name is not None]
    for number, line in _texts(lines):
        values = as_object(line)
        if wanted is None and isinstance(values, dict):
            columns = list(dict.fromkeys([*values, *named]))
            wanted = pick(source, FILE, columns, [name for name, value in values.items() if isinstance(value, str)])
        yield wanted or Columns((), None, None, None), (number, values)
