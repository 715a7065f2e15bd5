"""Values out of JSON that others wrote: of the type that is wanted, or empty. Knows no format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.errors import DataError


def fields(value: Any) -> Mapping[str, Any]:
    """An object's fields; none of anything else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """A list; empty for anything else."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """A text, or a whole number as text; "" for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def strings(value: Any) -> list[str]:
    """The texts of a list, or the text alone."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def number(value: Any) -> float:
    """A number, 0 for anything else."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    except OverflowError:
        return 0.0


def records(path: str) -> list[Any]:
    """The records of a JSON file: a list, or an object a line; None for an empty line.

    Raises:
        DataError: the file cannot be read, or is neither.
    """
    try:
        with open(path, encoding="utf-8-sig") as stream:
            told = stream.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; name the file that came back") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8; save it as UTF-8") from error
    try:
        whole = json.loads(told)
    except RecursionError as error:
        raise DataError(f"{path} is nested too deep to be answers; export them again") from error
    except ValueError:
        return [_line(path, i, line) for i, line in enumerate(told.split("\n"), 1)]
    return whole if isinstance(whole, list) else [whole]


def _line(path: str, number: int, line: str) -> Any:
    try:
        return json.loads(line) if line.strip() else None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: this is no JSON ({error}); export the answers again") from error
