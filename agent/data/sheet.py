"""A file of rows, opened: its columns, and its rows once it is known which columns are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.data.source import Columns

Numbered = tuple[int, Mapping[str, Any] | str]
"""Where a record stands, and column -> value, or the reason why it could not be read."""


@dataclass(frozen=True)
class Sheet:
    """`columns`: None when the file holds nothing at all. `texts`: the columns that hold text."""

    columns: list[str] | None
    texts: list[str]
    rows: Callable[[Columns], Iterator[Numbered]]


def nothing(columns: Columns) -> Iterator[Numbered]:
    """The rows of an empty file."""
    del columns
    return iter(())
