"""Parquet and Hugging Face datasets, batch by batch, only the columns wanted. Knows nothing of items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agent.data.clean import Foreign
from agent.data.sheet import Numbered, Sheet
from agent.data.source import Columns, Source
from agent.errors import DataError, MissingExtra

BATCH = 1_000


def open_parquet(path: str, file: str) -> Sheet:
    """The rows of a Parquet file, numbered from 1.

    Raises:
        DataError: it is no Parquet file, or it is damaged (here, or when the damaged place is reached).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def damaged(error: Exception) -> DataError:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return DataError(f"{file} cannot be read as Parquet: {why}; write it again, or name its true format")

    def batches(columns: Columns) -> Iterator[Any]:
        try:
            with pq.ParquetFile(path) as opened:
                yield from opened.iter_batches(BATCH, columns=list(columns.all))
        except (pa.ArrowException, OSError) as error:
            raise damaged(error) from error

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise damaged(error) from error
    return _sheet(schema, lambda columns: _rows(batches(columns), schema, columns))


def open_datasets(source: Source, path: str) -> Sheet:
    """The rows of a dataset saved by `save_to_disk`, or of "hf:name", numbered from 1.

    Raises:
        MissingExtra: `datasets` is not installed.
        DataError: there is no such dataset, or it has several splits and none is named.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "local", f"reading {source.path}") from error
    try:
        if path.startswith("hf:"):
            name, _, config = path.removeprefix("hf:").partition(":")
            loaded = datasets.load_dataset(name, config or None)
        else:
            loaded = datasets.load_from_disk(path)
    except (OSError, ValueError, RuntimeError) as error:
        why, at = str(error).splitlines()[0] if str(error) else type(error).__name__, source.called("path")
        raise DataError(f"{source.path} cannot be loaded as a dataset: {why}; correct {at}") from error
    data = _one_split(source, loaded)
    schema = data.features.arrow_schema

    def batches(columns: Columns) -> Iterator[Any]:
        wanted = data.select_columns(list(columns.all)).with_format("arrow")
        for table in wanted.iter(BATCH):
            yield from table.combine_chunks().to_batches()

    return _sheet(schema, lambda columns: _rows(batches(columns), schema, columns))


def _one_split(source: Source, loaded: Any) -> Any:
    if not isinstance(loaded, Mapping):
        return loaded
    names = sorted(map(str, loaded))
    if source.split is None and len(names) == 1:
        return loaded[names[0]]
    if source.split not in names:
        said = f"has no split {source.split!r}" if source.split else "has several splits"
        raise DataError(f"{source.path} {said}; set pool.split to one of {', '.join(names)}")
    return loaded[source.split]


def _sheet(schema: Any, rows: Any) -> Sheet:
    import pyarrow.types as kinds

    def is_text(kind: Any) -> bool:
        inner = kind.value_type if kinds.is_dictionary(kind) else kind
        return bool(kinds.is_string(inner) or kinds.is_large_string(inner) or kinds.is_string_view(inner))

    return Sheet(list(schema.names), [field.name for field in schema if is_text(field.type)], rows)


def _rows(batches: Iterator[Any], schema: Any, columns: Columns) -> Iterator[Numbered]:
    names = class_names(schema)
    row = 0
    for batch in batches:
        values = {name: _column(batch.column(name)) for name in columns.all}
        if (gold := columns.gold) is not None and gold in names:
            values[gold] = [_named(v, names[gold]) for v in values[gold]]
        for i in range(batch.num_rows):
            row += 1
            yield row, {name: column[i] for name, column in values.items()}


def _column(array: Any) -> list[Any]:
    """The values of a column; text that is not UTF-8 comes as `surrogateescape` text, for the cleaner to find."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if kinds.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        try:
            return list(array.to_pylist())
        except UnicodeDecodeError:
            array = array.cast(pa.large_binary())
    if kinds.is_binary(array.type) or kinds.is_large_binary(array.type):
        return [v if v is None else v.decode("utf-8", "surrogateescape") for v in array.to_pylist()]
    if kinds.is_list(kind) or kinds.is_large_list(kind):
        return [_list(value) for value in array]
    if kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind) or kinds.is_null(kind):
        return list(array.to_pylist())
    return [Foreign(str(kind), _shown(value)) if value.is_valid else None for value in array]


def _shown(value: Any) -> str | None:
    """A date or a number of a rare type as text, where such a column comes along."""
    try:
        return str(value.as_py())
    except (ValueError, OverflowError, UnicodeDecodeError):
        return None


def _list(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return ["\udcff"]  # stands for the bytes that are not UTF-8; the cleaner sets the row aside
    except (ValueError, OverflowError):
        return Foreign(str(value.type))


def class_names(schema: Any) -> dict[str, list[str]]:
    """Columns whose whole numbers are classes with names, as Hugging Face `ClassLabel` features say it."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told.get("info", {}).get("features", {}) or {}
    except (ValueError, AttributeError):
        return {}
    found: dict[str, list[str]] = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else None
        inner = inner[0] if isinstance(inner, list) and inner else inner
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and isinstance(inner.get("names"), list):
            found[column] = inner["names"]
    return found


def _named(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(v, names) for v in value]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if value == -1:
        return None  # the convention of `datasets` for a hidden label
    return names[value] if 0 <= value < len(names) else value
