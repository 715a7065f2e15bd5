"""A first look at a pool file: which columns hold the text, the ids and known labels. Guesses; the user corrects."""

from __future__ import annotations

import io
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from agent.data.sheet import Sheet
from agent.data.source import TEXT_NAMES, Columns, Source, files
from agent.errors import DataError

ROWS = 500
BINARY = 8_192
"""Bytes in which a NUL tells that a file is no text."""
GOLD_NAMES = (
    "label", "labels", "gold", "category", "categories", "class", "target", "intent", "sentiment", "topic", "tags",
)  # fmt: skip
SURE_IDS = ("id", "uuid", "guid")
WORDY = 2
"""Words that a column of texts holds on average."""
MOSTLY = 0.5
"""Share of the values of such a column that must differ; the rows that repeat one are set aside."""
ID_NAMES = ("id", "uuid", "guid", "key", "name")


@dataclass(frozen=True)
class Guess:
    """What the columns seem to be. `text` is never empty; `several`: gold values are lists of labels."""

    columns: list[str]
    text: tuple[str, ...]
    id: str | None
    gold: str | None
    several: bool
    notes: tuple[str, ...] = ()


def peek(path: str, text: Sequence[str], own: str | None, gold: str | None) -> Guess:
    """Look at the first rows; columns that were named are taken as told.

    Raises:
        DataError: nothing is there, or no column holds text.
    """
    if path == "-":
        raise DataError("standard input can be read only once: put the pool into a file and name that")
    with ExitStack() as stack:
        place, form = files(Source(path, given=True))[0]
        sheet = _open(path, place, form, stack)
        if sheet.columns is None:
            raise DataError(f"{path} is empty; put at least one item there")
        columns = list(dict.fromkeys(sheet.columns))
        wanted = Columns(tuple(columns), None, None, None)
        rows = [row for _, row in islice(sheet.rows(wanted), ROWS) if not isinstance(row, str)]
    if not rows:
        raise DataError(f"{path} holds no rows; put at least one item there")
    values = {c: [row.get(c) for row in rows] for c in columns}
    notes: list[str] = []
    if gold is None:
        gold = _gold(values, notes)
    if own is None:
        own = _own(values, [c for c in columns if c != gold and c not in text])
    chosen = tuple(text) or (_text(path, values, [c for c in sheet.texts if c not in (gold, own)], columns),)
    if not text:
        _others(values, chosen[0], [c for c in sheet.texts if c not in (gold, own)], notes)
    listed = [v for v in values.get(gold or "", []) if v is not None]
    several = any(isinstance(v, list | tuple) or (isinstance(v, str) and "|" in v) for v in listed)
    return Guess(columns, chosen, own, gold, several, tuple(notes))


def _open(path: str, place: str, form: str, stack: ExitStack) -> Sheet:
    from agent.data.arrow import open_datasets, open_parquet
    from agent.data.comma import open_csv
    from agent.data.lines import open_json, open_jsonl, open_txt

    if form == "datasets":
        return open_datasets(Source(path, given=True), place)
    if form == "parquet":
        return open_parquet(place, place)
    try:
        stream = stack.enter_context(Path(place).open("rb"))  # noqa: SIM115 - the stack closes it
    except OSError as error:
        raise DataError(f"{place} cannot be opened: {error.strerror}") from error
    if b"\0" in stream.read(BINARY):
        raise DataError(f"{path} is no text: it holds binary data. Name a file of text, as CSV, JSONL or Parquet")
    stream.seek(0)
    if form in ("csv", "tsv"):
        text = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
        return open_csv(text, place, "\t" if form == "tsv" else None)
    if form == "json":
        return open_json(stream, place, set())
    return open_jsonl(stream, set()) if form == "jsonl" else open_txt(stream)


def _gold(values: dict[str, list[Any]], notes: list[str]) -> str | None:
    """A column named as labels are, whose values repeat."""
    by_name = {c.casefold(): c for c in values}
    for name in GOLD_NAMES:
        column = by_name.get(name)
        if column is None:
            continue
        found = [v for v in values[column] if v not in (None, "")]
        if any(not isinstance(v, str | list | tuple) for v in found):
            notes.append(f"column {column!r} holds no text and was not taken as gold; labels are text, as in 'spam'")
            continue
        labels = {str(name) for v in found for name in (v.split("|") if isinstance(v, str) else v)}
        if 2 <= len(labels) <= max(2, len(found) // 2):
            return column
    return None


def _own(values: dict[str, list[Any]], columns: Sequence[str]) -> str | None:
    """A column named as ids are, whose values are there and do not repeat; one called id may do so now and then."""
    usual = [c for c in columns if c.casefold() in ID_NAMES]
    usual.sort(key=lambda c: ID_NAMES.index(c.casefold()))
    usual += [c for c in columns if c.casefold().endswith(("_id", "-id", " id"))]
    for column in usual:
        found = [str(v) for v in values[column] if v not in (None, "")]
        apart = len(found) if column.casefold() not in SURE_IDS else MOSTLY * len(found)
        if found and len(found) == len(values[column]) and len(set(found)) >= apart:
            return column
    return None


def _others(values: dict[str, list[Any]], chosen: str, columns: Sequence[str], notes: list[str]) -> None:
    """Say which other columns seem to hold text of their own: of several words, and seldom the same."""
    for column in columns:
        held = [v for v in values[column] if isinstance(v, str) and v]
        words = sum(len(v.split()) for v in held)
        if column != chosen and held and words >= WORDY * len(held) and len(set(held)) > MOSTLY * len(held):
            both = f"--text {shlex.quote(column)} --text {shlex.quote(chosen)}"
            notes.append(f"the text is {chosen!r} alone; {column!r} seems to hold text, too: to show both, {both}")


def _text(path: str, values: dict[str, list[Any]], columns: Sequence[str], every: Sequence[str]) -> str:
    """The column named as texts are, else the one with the longest texts."""
    held = {c: [v for v in values[c] if isinstance(v, str)] for c in columns}
    held = {c: v for c, v in held.items() if v}
    if not held:
        raise DataError(f"{path}: no column holds text; columns: {', '.join(map(repr, every)) or 'none'}")
    usual = [c for c in held if c.casefold() in TEXT_NAMES]
    return max(usual or list(held), key=lambda c: sum(map(len, held[c])) / len(held[c]))
