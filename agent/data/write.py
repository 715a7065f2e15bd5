"""Columns to a file: CSV, JSONL, JSON, Parquet, a Hugging Face dataset. Knows nothing of what the columns mean.

A file appears whole or not at all: written beside its place, synced, renamed.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from agent.data.source import FORMATS, SUFFIXES
from agent.errors import DataError, MissingExtra

_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_SAFE_FORMULA = re.compile("'+[=+\\-@\t\r\n＝＋－＠]")


def excel_safe(text: str) -> str:
    """`text` that no spreadsheet runs: an apostrophe before = + - @ (full-width too), tab, CR and LF.

    A text that begins with apostrophes before such a sign gets one more, so that `excel_plain` gives every text back.
    """
    return "'" + text if _FORMULA.match(text) else text


def excel_plain(text: str) -> str:
    """The text that `excel_safe` was given."""
    return text[1:] if _SAFE_FORMULA.match(text) else text


def write(columns: Mapping[str, Sequence[Any]], path: str, format: str = "auto", excel_safe_text: bool = True) -> int:
    """Writes columns of equal length to `path` and returns the number of rows.

    `format`: one of csv, tsv, jsonl, json, parquet, datasets; "auto" = by the ending, and `datasets`, which is a
    folder, for a path without an ending. Path "-" is standard output as JSONL. Text in CSV is made safe for
    spreadsheets (`excel_safe`; undo with `excel_plain`) unless `excel_safe_text` is false; lists there are joined by
    "|" ("|" alone is the empty list; a column `flags` is then empty).

    Raises:
        DataError: the ending tells no format, the place cannot be written, or a value does not fit the format.
        MissingExtra: `datasets` is not installed.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of different length: {lengths}")
    table = {name: [_plain(value) for value in values] for name, values in columns.items()}
    form = _form(path, format)
    _sound(table, path)
    if path == "-":
        for line in _lines(table):
            sys.stdout.buffer.write(line.encode())
        sys.stdout.buffer.flush()
    elif form == "datasets":
        _datasets(table, path)
    else:
        _beside(path, lambda part: _one_file(table, part, path, form, excel_safe_text))
    return next(iter(lengths.values()), 0)


def write_rows(
    columns: Sequence[str], batches: Iterable[Sequence[Mapping[str, Any]]], path: str, lists: Sequence[str] = ()
) -> int:
    """Writes rows as they come, to .csv, .tsv, .jsonl or .parquet by the ending, and returns their number.

    `columns`: the names, in their order; what a row lacks is empty. `lists`: those that hold lists. The file appears
    whole or not at all, and no more than a batch is held. The types of a Parquet file's columns are those of the first
    batch.

    Raises:
        DataError: another ending, the place cannot be written, or a value does not fit the format.
    """
    form = SUFFIXES.get(os.path.splitext(path)[1].casefold(), "")
    if form not in ("csv", "tsv", "jsonl", "parquet"):
        raise DataError(f"{path}: cannot tell what to write; use the ending .csv, .jsonl or .parquet")
    rows = 0

    def tables() -> Iterator[dict[str, list[Any]]]:
        nonlocal rows
        for batch in batches:
            rows += len(batch)
            yield {name: [_plain(row.get(name)) for row in batch] for name in columns}

    _beside(path, lambda part: _in_parts(tables(), columns, part, path, form, lists))
    return rows


def _in_parts(
    tables: Iterator[dict[str, list[Any]]],
    columns: Sequence[str],
    part: str,
    path: str,
    form: str,
    lists: Sequence[str],
) -> None:
    if form == "parquet":
        _parquet_in_parts(tables, columns, part, path, lists)
        return
    with open(part, "w", encoding="utf-8", newline="") as stream:
        mark = "\t" if form == "tsv" else ","
        if form != "jsonl":
            csv.writer(stream, delimiter=mark).writerow([excel_safe(name) for name in columns])
        for table in tables:
            if form == "jsonl":
                stream.writelines(_lines(table))
            else:
                _csv_rows(table, stream, mark, True)


def _parquet_in_parts(
    tables: Iterator[dict[str, list[Any]]], columns: Sequence[str], part: str, path: str, lists: Sequence[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema: Any = None
    writer: Any = None
    try:
        for table in tables:
            if schema is None:
                made = pa.table(table)
                # A column that is empty at first may hold text later.
                free = [pa.list_(pa.string()) if name in lists else pa.string() for name in made.column_names]
                told = [field.type for field in made.schema]
                kinds = [f if pa.types.is_null(t) or f != pa.string() else t for f, t in zip(free, told, strict=True)]
                schema = pa.schema(list(zip(made.column_names, kinds, strict=True)))
                writer = pq.ParquetWriter(part, schema)
            writer.write_table(pa.table(table, schema=schema))
        if writer is None:
            pq.write_table(pa.table({name: [] for name in columns}), part)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: a column mixes types or cannot stand in Parquet: {error}; use .jsonl") from error
    finally:
        if writer is not None:
            writer.close()


def _form(path: str, format: str) -> str:
    known = ", ".join(f for f in FORMATS if f != "txt")
    if format not in ("auto", *FORMATS) or format == "txt":
        raise DataError(f"there is no format {format!r} to write; name one of {known}, or auto")
    if path == "-":
        if format not in ("auto", "jsonl"):
            raise DataError(f"standard output is written as jsonl, not {format}; name a file instead of -")
        return "jsonl"
    form = format
    if form == "auto":
        ending = os.path.splitext(path.rstrip("/"))[1].casefold()
        bare = not ending and not (os.path.exists(path) and not os.path.isdir(path))
        form = "datasets" if bare or path.endswith("/") else SUFFIXES.get(ending, "")
    if form not in FORMATS or form == "txt":
        raise DataError(f"{path}: cannot tell what to write; use an ending such as .parquet, or name a format: {known}")
    return form


def _plain(value: Any) -> Any:
    """Arrays and scalars of numpy as Python's own; tuples as lists; not-a-number as nothing."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


def _sound(table: Mapping[str, list[Any]], path: str) -> None:
    for name, values in table.items():
        for row, value in enumerate(values, 1):
            try:
                if isinstance(value, str):
                    value.encode()
                elif isinstance(value, list | dict):
                    json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError as error:
                raise DataError(f"{path}: column {name!r}, row {row} holds half of a surrogate pair") from error


def _beside(path: str, fill: Callable[[str], None]) -> None:
    """`fill` writes a temporary file, which then takes the place of `path`; a device or pipe is written as it is."""
    if os.path.exists(path) and not os.path.isfile(path):
        if os.path.isdir(path):
            raise DataError(f"{path} is a folder; name a file in it, or the format datasets")
        fill(path)
        return
    folder, name = os.path.split(os.path.abspath(path))
    part = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        fill(part)
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
        _sync(folder)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}; name another place") from error
    finally:
        if os.path.exists(part):
            os.remove(part)


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _one_file(table: dict[str, list[Any]], part: str, path: str, form: str, safe: bool) -> None:
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            pq.write_table(pa.table(table), part)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise DataError(f"{path}: a column mixes types or cannot stand in Parquet: {error}; use .jsonl") from error
        return
    with open(part, "w", encoding="utf-8", newline="") as stream:
        if form in ("csv", "tsv"):
            _csv(table, stream, "\t" if form == "tsv" else ",", safe)
        elif form == "json":
            json.dump(list(_rows(table)), stream, ensure_ascii=False, allow_nan=False, indent=1)
        else:
            stream.writelines(_lines(table))


def _rows(table: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in zip(*table.values(), strict=True):
        yield dict(zip(table, values, strict=True))


def _lines(table: Mapping[str, list[Any]]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in _rows(table))


def _csv(table: Mapping[str, list[Any]], stream: TextIO, delimiter: str, safe: bool) -> None:
    guard = excel_safe if safe else str
    csv.writer(stream, delimiter=delimiter).writerow([guard(name) for name in table])
    _csv_rows(table, stream, delimiter, safe)


def _csv_rows(table: Mapping[str, list[Any]], stream: TextIO, delimiter: str, safe: bool) -> None:
    guard = excel_safe if safe else str
    writer = csv.writer(stream, delimiter=delimiter)  # ends lines with CR LF, so that a lone CR in a text is quoted
    for row in zip(*table.values(), strict=True):
        cells = [_cell(name, value) for name, value in zip(table, row, strict=True)]
        writer.writerow([guard(cell) if isinstance(cell, str) else cell for cell in cells])


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return "|".join(value) or ("" if name == "flags" else "|")  # no label at all is an answer, no flag is nothing
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def _datasets(table: dict[str, list[Any]], path: str) -> None:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "local", f"writing {path}") from error
    place = os.path.abspath(path)
    part, old = f"{place}.{os.getpid()}.tmp", f"{place}.{os.getpid()}.old"
    if os.path.isfile(place) or (os.path.isdir(place) and os.listdir(place) and not _is_dataset(place)):
        raise DataError(f"{path} is there and is no dataset; name a new folder")
    try:
        made = datasets.Dataset.from_dict(table)
        hidden = datasets.are_progress_bars_disabled()
        datasets.disable_progress_bars()
        try:
            made.save_to_disk(part)
        finally:
            if not hidden:
                datasets.enable_progress_bars()
        if os.path.exists(place):
            os.rename(place, old)  # a folder cannot be replaced in one step: for a moment only `old` is there
        os.rename(part, place)
        _sync(os.path.dirname(place))
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if os.path.exists(old) and not os.path.exists(place):
            os.rename(old, place)
        raise DataError(f"{path} cannot be written: {error.strerror or error}; name another place") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _is_dataset(folder: str) -> bool:
    return bool({"state.json", "dataset_dict.json"} & set(os.listdir(folder)))
