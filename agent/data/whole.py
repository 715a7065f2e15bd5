"""A file's columns as they stand, row for row. Cleans nothing, sets nothing aside: a claim is about every row.

Parquet is read by columns, and of the texts only the rows wanted; other formats are held in memory whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from agent.data.read import sheet_of
from agent.data.source import Columns, Source, files, pick
from agent.errors import DataError
from agent.types import Doubles, Ints, Value

LABELS = ("label", "labels", "prediction", "predicted", "class", "category")
SURE = ("confidence", "probability", "score")


@dataclass(frozen=True)
class Wanted:
    """Columns by name; None or () finds text, label and confidence ("": none). multi: a label is a set of names."""

    text: tuple[str, ...] = ()
    label: str | None = None
    confidence: str | None = None
    cluster: str | None = None
    id: str | None = None
    truth: str | None = None
    multi: bool = False


@dataclass(frozen=True)
class Whole:
    """A file of n rows. wanted: the columns that were found. label, truth: (n,) numbers into `names`, -1 where there is
    none. confidence: (n,) in [0, 1]. cluster: (n,) numbers. texts, ids: of the rows of these numbers, from 0."""

    path: str
    sha256: str
    rows: int
    wanted: Wanted
    names: list[Value]
    label: Ints
    confidence: Doubles | None
    cluster: Ints | None
    truth: Ints | None
    texts: Callable[[Sequence[int]], list[tuple[str, ...]]]
    ids: Callable[[Sequence[int]], list[str]]


def whole(path: str, wanted: Wanted) -> Whole:
    """The file of this name.

    Raises:
        DataError: there is no such file, it has a row that cannot be read or no label, a column is not there or holds
            something else.
    """
    source = Source(path, wanted.text, wanted.id, wanted.label, given=True)
    found = files(source)
    if len(found) != 1 or found[0][1] not in ("csv", "tsv", "jsonl", "json", "parquet"):
        raise DataError(f"{path} is not one file of labels: name a CSV, JSONL or Parquet file")
    file, form = found[0]
    sha = sha256_of_file(file)
    read = _parquet if form == "parquet" else _sheet
    return read(source, file, form, wanted, sha)


def sha256_of_file(path: str) -> str:
    """The hash of a file's bytes. Raises DataError where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; put it back where it was") from error


def _columns(source: Source, file: str, columns: Sequence[str], texts: Sequence[str], wanted: Wanted) -> Wanted:
    """The columns meant, all of them there."""
    if not columns:
        raise DataError(f"{file} is empty: there is nothing to certify")
    label, listed = wanted.label or _one(columns, LABELS), ", ".join(map(repr, columns[:40]))
    if label is None:
        raise DataError(f"{file}: which column holds the labels? Name it, as in --label label. Columns: {listed}")
    if label not in columns:
        near = get_close_matches(label, columns, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise DataError(f"{file} has no column {label!r} (--label){hint} Columns: {listed}")
    if label == wanted.truth:
        raise DataError(f"--gold-by column:{label}: these are the labels themselves, name the column of the truth")
    others = [c for c in columns if c not in (label, wanted.cluster, *wanted.text)]
    sure = _one(others, SURE) if wanted.confidence is None else wanted.confidence or None
    free = [c for c in texts if c not in (label, sure, wanted.id, wanted.truth)]
    fewer = [c for c in free if c != wanted.cluster]  # the cluster's column may be the text's
    free = fewer if len(fewer) == 1 else free
    found = pick(replace(source, gold=label, text=wanted.text), file, columns, free)
    for option, name in (("--confidence", sure), ("--cluster", wanted.cluster), ("--gold-by column:", wanted.truth)):
        if name is not None and name not in columns:
            raise DataError(f"{file} has no column {name!r} ({option}). Columns: {listed}")
    return replace(wanted, text=found.text, label=label, confidence=sure)


def _one(columns: Sequence[str], names: Sequence[str]) -> str | None:
    found = [c for c in columns if c.casefold() in names]
    return found[0] if len(found) == 1 else None


def _parquet(source: Source, file: str, form: str, wanted: Wanted, sha: str) -> Whole:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyarrow.types as kinds

    from agent.data.arrow import class_names

    del form
    try:
        schema = pq.read_schema(file)
        texts = [f.name for f in schema if kinds.is_string(f.type) or kinds.is_large_string(f.type)]
        wanted = _columns(source, file, schema.names, texts, wanted)
        some = dict.fromkeys(c for c in (wanted.label, wanted.confidence, wanted.cluster, wanted.truth) if c)
        table = pq.read_table(file, columns=list(some))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]}; write it again") from error
    classes = class_names(schema)

    def coded(name: str) -> tuple[list[Any], Ints]:
        column = table[name].combine_chunks()
        if kinds.is_list(column.type) or kinds.is_large_list(column.type) or kinds.is_dictionary(column.type):
            return _coded(column.to_pylist())
        made = column.dictionary_encode()
        made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
        values = made.dictionary.to_pylist()
        values = [classes[name][v] for v in values] if name in classes else values
        codes = made.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return values, codes

    def numbers(name: str) -> Doubles:
        try:
            column = table[name].cast(pa.float64()).combine_chunks().fill_null(float("nan"))
        except pa.ArrowException:
            raise DataError(f"{file}: column {name!r} (--confidence) holds no numbers") from None
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)

    def cells(names: Sequence[str], rows: Sequence[int]) -> list[tuple[str, ...]]:
        return _taken(file, list(names), rows)

    return _whole(file, sha, table.num_rows, wanted, coded, numbers, cells)


def _taken(file: str, names: list[str], rows: Sequence[int]) -> list[tuple[str, ...]]:
    """Cells as text; only the row groups that hold these rows are read."""
    import pyarrow.parquet as pq

    wanted, out = np.asarray(rows, np.int64), [("",) * len(names)] * len(rows)
    with pq.ParquetFile(file) as opened:
        start = 0
        for group in range(opened.num_row_groups):
            size = opened.metadata.row_group(group).num_rows
            here = np.flatnonzero((wanted >= start) & (wanted < start + size))
            if len(here):
                found = opened.read_row_group(group, columns=names).take(wanted[here] - start)
                columns = [found[name].to_pylist() for name in names]
                for place, values in zip(here.tolist(), zip(*columns, strict=True), strict=True):
                    out[place] = tuple(_text(v) for v in values)
            start += size
    return out


def _sheet(source: Source, file: str, form: str, wanted: Wanted, sha: str) -> Whole:
    with open(file, "rb") as stream, sheet_of(source, stream, file, form) as sheet:
        wanted = _columns(source, file, sheet.columns or [], sheet.texts, wanted)
        named = (*wanted.text, wanted.label, wanted.confidence, wanted.cluster, wanted.id, wanted.truth)
        names = list(dict.fromkeys(name for name in named if name is not None))
        kept: dict[str, list[Any]] = {name: [] for name in names}
        for number, values in sheet.rows(Columns(tuple(names), None, None, None)):
            if isinstance(values, str):
                raise DataError(f"{file}, row {number}: {values}; mend it, for a claim is about every row")
            for name, column in kept.items():
                column.append(values.get(name))
    for name, column in kept.items():
        if (row := next((i for i, v in enumerate(column) if isinstance(v, str) and not _sound(v)), None)) is not None:
            raise DataError(f"{file}, row {row + 1:,}: column {name!r} is not UTF-8; save the file as UTF-8")

    def numbers(name: str) -> Doubles:
        try:
            return np.array([float("nan") if v in (None, "") else float(v) for v in kept[name]], np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{file}: column {name!r} (--confidence) holds no numbers") from None

    def cells(some: Sequence[str], rows: Sequence[int]) -> list[tuple[str, ...]]:
        return [tuple(_text(kept[name][i]) for name in some) for i in rows]

    rows = len(kept[names[0]])
    return _whole(file, sha, rows, wanted, lambda name: _coded(kept[name]), numbers, cells)


def _whole(file: str, sha: str, rows: int, wanted: Wanted, coded: Any, numbers: Any, cells: Any) -> Whole:
    if not rows:
        raise DataError(f"{file} holds no rows: there is nothing to certify")
    names: dict[Value, int] = {}

    def labels(column: str) -> Ints:
        values, codes = coded(column)
        table = np.array([_number(file, column, v, wanted.multi, names) for v in values] + [-1], np.int64)
        return np.asarray(table[codes], np.int64)

    label = labels(str(wanted.label))
    if (lack := np.flatnonzero(label < 0)).size:
        raise DataError(
            f"{file}: {lack.size:,} of {rows:,} rows have no label in column {wanted.label!r} (the first is row "
            f"{lack[0] + 1:,}): give them one, or take the rows out"
        )
    sure = numbers(wanted.confidence) if wanted.confidence else None
    if sure is not None and (strange := np.flatnonzero(~((sure >= 0) & (sure <= 1)))).size:
        first, found = int(strange[0]), float(sure[strange[0]])
        holds = f"(row {first + 1:,}: {'nothing' if found != found else f'{found:g}'}; {strange.size:,} such rows)"
        mend = "divide percentages by 100, " if np.nanmax(sure) <= 100 and np.nanmax(sure) > 1 else ""
        raise DataError(
            f"{file}: column {wanted.confidence!r} holds something else than chances between 0 and 1 {holds}: {mend}"
            "name another with --confidence, or take none with --confidence none"
        )
    truth = labels(wanted.truth) if wanted.truth else None  # before `names` is taken: it may hold further labels
    return Whole(
        path=file,
        sha256=sha,
        rows=rows,
        wanted=wanted,
        names=list(names),
        label=label,
        confidence=sure,
        cluster=_clusters(coded, cells, wanted, rows),
        truth=truth,
        texts=lambda some: cells(wanted.text, some),
        ids=lambda some: [one for (one,) in cells([wanted.id], some)] if wanted.id else [str(i + 1) for i in some],
    )


def _clusters(coded: Any, cells: Any, wanted: Wanted, rows: int) -> Ints | None:
    """(n,) the cluster of each row; rows without one stand alone. Texts are alike but for case and white space."""
    if wanted.cluster is None:
        return None
    if wanted.cluster in wanted.text:
        plain = [" ".join(text.casefold().split()) for (text,) in cells([wanted.cluster], range(rows))]
        return _coded(plain)[1]
    codes: Ints = coded(wanted.cluster)[1]
    alone = codes < 0
    return np.where(alone, codes.max(initial=-1) + np.cumsum(alone), codes)


def _coded(values: Sequence[Any]) -> tuple[list[Any], Ints]:
    known: dict[Any, int] = {}
    keys = [tuple(v) if isinstance(v, list) else v for v in values]
    codes = [-1 if key is None or key == "" else known.setdefault(key, len(known)) for key in keys]
    return list(known), np.array(codes, np.int64)


def _number(file: str, column: str, value: Any, multi: bool, names: dict[Value, int]) -> int:
    """The number of a label; names in `names` are numbered as they come."""
    if value is None or value == "":
        return -1
    read: Value
    if isinstance(value, list | tuple):
        read = tuple(sorted({str(v) for v in value}))
    elif isinstance(value, float) and not value.is_integer():
        raise DataError(f"{file}: column {column!r} holds numbers like {value}: which column holds the labels? --label")
    else:
        text = str(int(value)) if isinstance(value, float) else str(value).strip()
        read = tuple(sorted({part.strip() for part in text.split("|")} - {""})) if multi else text
    return names.setdefault(read, len(names))


def _sound(text: str) -> bool:
    """Whether it can be written again: bytes that are not UTF-8 are read as characters that cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def beside(path: str, ending: str) -> str:
    """The name of a folder beside a file: labels.parquet -> labels-certify."""
    return os.path.splitext(os.path.expanduser(path))[0] + ending
