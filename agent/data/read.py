"""Rows of any source as batches of entries and set-asides. Knows formats by name only, and nothing of the ledger."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import BinaryIO

from agent.data.arrow import open_datasets, open_parquet
from agent.data.clean import Cleaner, Entry, Row
from agent.data.comma import open_csv
from agent.data.lines import open_json, open_jsonl, open_txt
from agent.data.sheet import Sheet
from agent.data.source import TEXT_NAMES, Columns, Source, files, pick
from agent.errors import DataError

BATCH_ROWS = 5_000
BATCH_CHARS = 32_000_000


def read(source: Source) -> Iterator[list[Row]]:
    """Batches of rows in order: each an `Entry` (item, file, row) or a `SetAside` (file, row, reason).

    At most 5,000 rows a batch, fewer when texts are long. No row is lost: every record of the files is one of the two.

    Raises:
        DataError: nothing is there, a column is not there, a file is damaged as a whole, or there is not one row.
        MissingExtra: the source needs a package that is not installed.
    """
    cleaner = Cleaner(source)
    batch: list[Row] = []
    chars = rows = 0
    for path, form in files(source):
        for row in _file(source, cleaner, path, form):
            batch.append(row)
            rows += 1
            chars += sum(len(part.data) for part in row.item.parts) if isinstance(row, Entry) else 0
            if len(batch) >= BATCH_ROWS or chars >= BATCH_CHARS:
                yield batch
                batch, chars = [], 0
    if batch:
        yield batch
    if not rows:
        where = "standard input" if source.path == "-" else source.path
        where += f" (split {source.split!r})" if source.split else ""
        mend = "" if source.path == "-" else f", or correct {source.called('path')}"
        raise DataError(f"{where} holds no rows; put at least one item there{mend}")


def _file(source: Source, cleaner: Cleaner, path: str, form: str) -> Iterator[Row]:
    file = "standard input" if path == "-" else path
    if form == "datasets" and path != "-":
        # The split was chosen in opening; it is no column.
        yield from _rows(replace(source, split=None), cleaner, file, open_datasets(source, path))
    elif form == "parquet" and path != "-":
        yield from _rows(source, cleaner, file, open_parquet(path, file))
    else:
        with _opened(source, path, file) as stream, ExitStack() as stack:
            yield from _rows(source, cleaner, file, _sheet(source, stream, file, form, stack))


def _rows(source: Source, cleaner: Cleaner, file: str, sheet: Sheet) -> Iterator[Row]:
    wanted = Columns((), None, None, None)  # of a file in which nothing could be read
    if sheet.columns is not None:
        wanted = pick(source, file, sheet.columns, sheet.texts)
    for number, values in sheet.rows(wanted):
        if wanted.split is None or isinstance(values, str) or values.get(wanted.split) == source.split:
            yield cleaner.clean(file, number, values, wanted)


@contextmanager
def sheet_of(source: Source, stream: BinaryIO, file: str, form: str) -> Iterator[Sheet]:
    """A file that is not Parquet, opened."""
    with ExitStack() as stack:
        yield _sheet(source, _not_utf16(stream, file), file, form, stack)


def _sheet(source: Source, stream: BinaryIO, file: str, form: str, stack: ExitStack) -> Sheet:
    form = guess(source, stream) if form == "auto" else form
    asked = {name for name in (*source.text, source.id, source.gold) if name is not None}
    if form in ("csv", "tsv"):
        text = stack.enter_context(io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline=""))
        return open_csv(text, file, "\t" if form == "tsv" else None)
    if form == "json":
        return open_json(stream, file, asked)
    if form == "jsonl":
        return open_jsonl(stream, asked)
    if form == "txt":
        return open_txt(stream)
    raise DataError(f"{form} cannot be read from standard input; write it to a file and name that")


@contextmanager
def _opened(source: Source, path: str, file: str) -> Iterator[BinaryIO]:
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as stream:
            if path != "-" and os.path.isfile(path):
                yield _not_utf16(stream, file)
                return
            # To a file first: telling the format needs a second look, and a pipe gives only one.
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(stream, copy)
                copy.seek(0)
                yield _not_utf16(copy, file)
    except OSError as error:
        mend = f"correct {source.called('path')} or its rights"
        raise DataError(f"{file} cannot be read: {error.strerror or error}; {mend}") from error


def _not_utf16(stream: BinaryIO, file: str) -> BinaryIO:
    if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{file} is UTF-16; save it as UTF-8")
    stream.seek(0)
    return stream


def guess(source: Source, stream: BinaryIO) -> str:
    """The format of standard input: JSON by its first character, CSV by a header that names a column meant."""
    start = next((line for line in iter(stream.readline, b"") if line.strip()), b"")
    stream.seek(0)
    first = start.removeprefix(b"\xef\xbb\xbf").strip()
    if first[:1] in (b"{", b"["):
        return "jsonl" if first[:1] == b"{" else "json"
    header = first.decode("utf-8", "replace")
    mark = next((m for m in ",;\t" if m in header), ",")
    names = {name.casefold() for name in next(csv.reader([header], delimiter=mark), [])}
    asked = {name.casefold() for name in (*source.text, source.id, source.gold) if name is not None}
    return "csv" if names & (asked or set(TEXT_NAMES)) else "txt"
