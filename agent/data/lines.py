"""JSONL, JSON arrays and plain text lines. Knows nothing of items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from agent.data.sheet import Numbered, Sheet
from agent.errors import DataError

LOOK = 1_000
"""How many rows tell which columns a file has; more are looked at only when a column asked for is not among them."""


def open_txt(stream: BinaryIO) -> Sheet:
    """One text a line, in a column called `text`. Empty lines are no rows; the row is the line number."""
    return Sheet(["text"], ["text"], lambda _: ((n, {"text": line}) for n, line in _numbered(stream)))


def open_jsonl(stream: BinaryIO, asked: set[str]) -> Sheet:
    """One JSON object a line; a line that is none is one bad row. `asked`: the columns hoped for."""

    def rows() -> Iterator[Numbered]:
        stream.seek(0)
        return ((n, as_object(line)) for n, line in _numbered(stream))

    return _objects(rows, asked)


def open_json(stream: BinaryIO, file: str, asked: set[str]) -> Sheet:
    """A JSON array of objects, or JSONL where the file begins otherwise. The row is the place in the array, from 1.

    Raises:
        DataError: the array is not sound JSON.
    """
    start = stream.read(4_096)
    stream.seek(0)
    if not start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return open_jsonl(stream, asked)
    try:
        array = json.loads(_decoded(stream.read()))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no sound JSON: {error}; mend it there, or use JSONL (one object a line)") from error
    return _objects(lambda: ((n, _checked(each)) for n, each in enumerate(array, 1)), asked)


def _decoded(raw: bytes) -> str:
    return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _numbered(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(stream, 1):
        line = raw.rstrip(b"\n")
        line = line.removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line:
            yield number, line.decode("utf-8", "surrogateescape")


def as_object(line: str) -> dict[str, Any] | str:
    """A line as a JSON object, or the words why it is none."""
    try:
        return _checked(json.loads(line))
    except json.JSONDecodeError as error:
        return f"no sound JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError):
        return "no sound JSON: nested too deep, or a number too long"


def _checked(value: Any) -> dict[str, Any] | str:
    return value if isinstance(value, dict) else 'not a JSON object; write {"text": …}'


def _objects(rows: Callable[[], Iterable[Numbered]], asked: set[str]) -> Sheet:
    columns: dict[str, None] = {}
    texts: dict[str, None] = {}
    for looked, (_, values) in enumerate(rows()):
        if looked >= LOOK and columns and asked <= columns.keys():
            break
        if not isinstance(values, str):
            columns |= dict.fromkeys(values)
            texts |= dict.fromkeys(name for name, value in values.items() if isinstance(value, str))
    return Sheet(list(columns) or None, list(texts), lambda _: iter(rows()))
