"""A raw row to an item, or to the reason why not. Knows nothing of files: it is told where a row stands.

Text is kept as it is: nothing is stripped, normalised or repaired. Reasons never quote the text itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.data.source import Columns, Source, short
from agent.types import Item, Part, SetAside, Value

MAX_NAME = 500
REPEATED = "was already used"
"""In the reason of every row that repeats an id."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item and where it was read: `row` is the line where the record starts, or the 1-based row of a table.

    kept: the values of the columns that come along (`Source.keep`).
    """

    item: Item
    file: str
    row: int
    kept: Mapping[str, Any] = field(default_factory=dict)


Row = Entry | SetAside


@dataclass(frozen=True, slots=True)
class Foreign:
    """A value that cannot be text, of which only the type was read, and how it is written where it comes along."""

    type: str
    shown: str | None = None


class Unfit(Exception):
    """Why a row cannot become an item, in plain words. Never leaves this room."""


class Cleaner:
    """Makes items of rows, and remembers what it has seen to tell duplicates."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: dict[str, tuple[str, int]] = {}
        self._seen: dict[bytes, int] = {}

    def clean(self, file: str, row: int, values: Mapping[str, Any] | str, columns: Columns) -> Row:
        """One row as an entry. `values`: column -> value, or the reason why the row could not be read at all."""
        try:
            if isinstance(values, str):
                raise Unfit(values)
            item = self._item(file, row, values, columns)
            return Entry(item, file, row, {name: _carried(values.get(name)) for name in columns.keep})
        except Unfit as why:
            return SetAside(file, row, str(why))

    def _item(self, file: str, row: int, values: Mapping[str, Any], columns: Columns) -> Item:
        parts = tuple(Part("text/plain", _text(column, values.get(column))) for column in columns.text)
        if not any(part.data.strip() for part in parts):
            raise Unfit(f"no text in {_columns(columns.text)}")
        chars = sum(len(part.data) for part in parts)
        if chars > self._source.max_chars:
            raise Unfit(f"the text has {chars:,} characters, more than the {self._source.max_chars:,} allowed")
        gold = None if columns.gold is None else _gold(columns.gold, values.get(columns.gold), self._source.kind)
        if columns.id is None:
            return Item(self._nameless(parts), parts, gold)
        name = _name(columns.id, values.get(columns.id))
        first = self._names.setdefault(name, (file, row)) if self._source.unique else (file, row)
        if first != (file, row):
            where = f"row {first[1]}" if first[0] == file else f"row {first[1]} of {short(self._source, first[0])}"
            raise Unfit(f"the id {_short(name)} {REPEATED} in {where}; ids must be unique")
        return Item(identity(parts, name), parts, gold, name)

    def _nameless(self, parts: tuple[Part, ...]) -> str:
        """Identical rows are told apart by counting them, so that any order of rows gives the same set of ids."""
        if not self._source.unique:
            return identity(parts, 0)
        key = bytes.fromhex(identity(parts, 0))
        self._seen[key] = number = self._seen.get(key, -1) + 1
        return identity(parts, number) if number else key.hex()


def identity(parts: tuple[Part, ...], own: str | int) -> str:
    """The id of an item: the first 32 hex digits of a sha256.

    `own`: the user's id, or the number among identical rows (0 for the first).
    """
    # Lengths stand before texts, so that no two items are told alike.
    told = "".join([f"{len(p.media)}:{p.media}{len(p.data)}:{p.data}" for p in parts])
    told += f"={own}" if isinstance(own, str) else f"#{own}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _columns(names: tuple[str, ...]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:60] + "…")


def _text(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise Unfit(f"column {column!r} holds {_called(value)}, not text")
    return _sound(column, value)


def _sound(column: str, text: str) -> str:
    """`text` when it can be stored and sent anywhere; NUL and halves of surrogate pairs cannot."""
    if "\0" in text:
        raise Unfit(f"column {column!r} holds a NUL character")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # Readers decode with "surrogateescape", which turns a byte that is not UTF-8 into U+DC80..U+DCFF.
        if 0xDC80 <= ord(text[error.start]) <= 0xDCFF:
            raise Unfit(f"column {column!r} holds bytes that are not UTF-8; save the file as UTF-8") from None
        raise Unfit(f"column {column!r} holds half of a surrogate pair, which is no character") from None
    return text


def _carried(value: Any) -> Any:
    """A value as it goes out again: what cannot be written in any format is left empty."""
    if isinstance(value, Foreign):
        return value.shown
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value


def _name(column: str, value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)  # a column of whole numbers with a gap is read as floats by many tools
    if isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value):
        value = str(value)
    name = "" if value is None or value != value else value
    if not isinstance(name, str):
        raise Unfit(f"column {column!r} holds {_called(value)}, not an id")
    if not name.strip():
        raise Unfit(f"no id in column {column!r}")
    if len(name) > MAX_NAME:
        raise Unfit(f"the id in column {column!r} has {len(name):,} characters, more than the {MAX_NAME} allowed")
    return _sound(column, name)


def _gold(column: str, value: Any, kind: str) -> Value | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind == "multi" and isinstance(value, list | tuple):
        wrong = next((v for v in value if not isinstance(v, str)), "")
        if not isinstance(wrong, str):
            raise Unfit(f"the gold label in column {column!r} holds {_called(wrong)}, not text")
        return tuple(sorted({_sound(column, v) for v in value}))
    if not isinstance(value, str):
        raise Unfit(f"the gold label in column {column!r} is {_called(value)}, not text")
    if not _sound(column, value).strip():
        return None
    if kind != "multi":
        return value
    return tuple(sorted({name.strip() for name in value.split("|")} - {""}))


def _called(value: Any) -> str:
    """What a value is, in plain words."""
    if isinstance(value, Foreign):
        return f"a value of type {value.type}"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a value of type {type(value).__name__}"
