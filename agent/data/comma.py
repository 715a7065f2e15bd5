"""CSV and TSV, as found in the wild. Knows nothing of items.

A stray quote is the worst that happens to a CSV file: read plainly, it swallows all rows up to the next quote. Here the
row in which it stands is given up and reading goes on with the line after.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import TextIO

from agent.data.sheet import Numbered, Sheet, nothing
from agent.errors import DataError

LARGEST_FIELD = 16_000_000
READ_AGAIN = 1_000_000_000
"""Characters read twice in one file, at most, to save the lines after a broken record: a bound on time."""


class _Lines:
    """The lines of a file, which can be taken back as far as the second line of the record at hand."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._again: deque[str] = deque()
        self._record: list[str] = []
        self.start = 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._stream)
        self._record.append(line)
        return line

    @property
    def last(self) -> int:
        return self.start + max(len(self._record) - 1, 0)

    def new_record(self) -> None:
        self.start += len(self._record)
        self._record = []

    def take_back(self) -> int:
        """Gives all lines of the record but its first once more; how many characters that are."""
        again = self._record[1:]
        self._again.extendleft(reversed(again))
        del self._record[1:]
        return sum(map(len, again))


def open_csv(stream: TextIO, file: str, delimiter: str | None) -> Sheet:
    """The header and rows of a CSV stream (opened with `newline=""`). `delimiter` None: told from the header.

    A row's number is the line where its record starts. Empty lines are no rows.

    Raises:
        DataError: the header is broken.
    """
    csv.field_size_limit(LARGEST_FIELD)
    lines = _Lines(stream)
    records = _records(stream, lines, delimiter)
    number, header = next(records, (1, None))
    if header is None:
        return Sheet(None, [], nothing)
    if isinstance(header, str):
        raise DataError(f"{file}, line {number}: the header cannot be read: {header}")
    return Sheet(header, header, lambda columns: _rows(records, header, lines))


def _records(stream: TextIO, lines: _Lines, delimiter: str | None) -> Iterator[tuple[int, list[str] | str]]:
    reader = csv.reader(lines, delimiter=delimiter or _delimiter(stream), strict=True)
    left = READ_AGAIN
    while True:
        lines.new_record()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            first, last = lines.start, lines.last
            if left > 0 and last > first:
                left -= lines.take_back()
                last = first
            yield first, _broken(error, first, last)
            continue
        if fields:
            yield lines.start, fields


def _delimiter(stream: TextIO) -> str:
    header = next((line for line in iter(stream.readline, "") if line.strip()), "")
    stream.seek(0)
    return next((mark for mark in ",;\t" if mark in header), ",")


def _broken(error: csv.Error, first: int, last: int) -> str:
    span = f" (lines {first} to {last} were read as one row)" if last > first else ""
    if "field larger" in str(error):
        return f"a field has more than {LARGEST_FIELD:,} characters; is a quote never closed?{span}"
    if "unexpected end" in str(error):
        return f"a quote is opened here and never closed{span}"
    return f"a quote is opened here and not closed before the next delimiter; write it twice inside a text{span}"


def _rows(records: Iterator[tuple[int, list[str] | str]], header: list[str], lines: _Lines) -> Iterator[Numbered]:
    for row, fields in records:
        if isinstance(fields, str):
            yield row, fields
        elif len(fields) == len(header):
            yield row, dict(zip(header, fields, strict=True))
        else:
            span = f" (lines {row} to {lines.last})" if lines.last > row else ""
            has = f"{len(fields)} field{'s' if len(fields) != 1 else ''}"
            yield row, f"{has} where the header has {len(header)}; quote texts that hold the delimiter{span}"
