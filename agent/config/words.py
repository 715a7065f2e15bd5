"""Complaints about settings in plain words: file, key, value, nearest known key, mend. Never shows a secret's value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from agent.errors import ConfigError

SECRET = re.compile(r"(^|_|-)(api_?-?key|key|token|secret|password|passwd|authorization)$", re.IGNORECASE)
_TYPES = {
    "float_type": "must be a number, as in {key} = 0.95",
    "int_type": "must be a whole number, as in {key} = 10",
    "int_from_float": "must be a whole number, as in {key} = 10",
    "string_type": 'must be text in quotes, as in {key} = "…"',
    "bool_type": "must be true or false",
    "tuple_type": 'must be a list, as in {key} = ["…", "…"]',
    "list_type": 'must be a list, as in {key} = ["…", "…"]',
    "dict_type": "must be a table, as in [{key}]",
    "model_type": "must be a table, as in [{key}]",
    "finite_number": "must be a finite number; leave the key out for no limit",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}, as a fraction: 0.95 is 95 %",
    "less_than_equal": "must be {le:g} or less",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "may hold only letters, digits, '-', '_' and '.', and begins with a letter or digit",
    "literal_error": "must be one of {expected}",
}


_TAG = re.compile(r"(str|int|float|(tuple|list|dict|literal|constrained|function)\b.*[\[-].*)$")
"""What pydantic puts into a path beside keys: which of several types it tried."""


def dotted(path: Iterable[str | int]) -> str:
    """A path into the file as the user would write it for `--set`."""
    return ".".join(str(p) if isinstance(p, int) or re.fullmatch(r"[\w-]+", p) else json.dumps(p) for p in path)


def shown(path: Sequence[str | int], value: Any) -> str:
    """`key = value`, cut short; the value of what sounds like a secret is left out."""
    if path and SECRET.search(str(path[-1])):
        return dotted(path)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"{dotted(path)} = {text if len(text) <= 60 else text[:59] + '…'}"


def nearest(word: str, known: Iterable[str], table: str = "") -> str:
    """`; did you mean table.x?`, or nothing when no known word is near."""
    plain = {k.casefold(): k for k in known}
    near = get_close_matches(word.casefold(), list(plain), 1, 0.6)
    return f"; did you mean {table + '.' if table else ''}{plain[near[0]]}?" if near else ""


@dataclass
class Complaints:
    """Gathers everything wrong with one file, so that the user mends it in one go. `given`: keys of `--set`, dotted."""

    file: str
    given: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)

    def add(self, path: Sequence[str | int], text: str) -> None:
        """One complaint; `text` begins with the key as it shall be shown."""
        key = dotted(path)
        given = any(key == g or key.startswith(g + ".") for g in self.given)
        # What one --set breaks may show elsewhere in the file, so the file alone is not blamed.
        source = "--set" if given else f"{self.file} with --set" if self.given else self.file
        self.lines.append(f"{source}: {text}")

    def unknown(self, path: Sequence[str | int], value: Any, known: Iterable[str]) -> None:
        """A key nobody knows."""
        known = sorted(known)
        near = nearest(str(path[-1]), known, dotted(path[:-1]))
        more = near or (f"; known here: {', '.join(known)}" if known else "; remove it")
        self.add(path, f"{shown(path, value)}: there is no such key{more}")

    def invalid(self, path: Sequence[str | int], error: ValidationError, known: Iterable[str] = ()) -> None:
        """All that pydantic found under `path`."""
        errors = error.errors(include_url=False)
        found = [([*path, *(part for part in e["loc"] if not _TAG.match(str(part)))], e) for e in errors]
        said: list[list[str | int]] = []
        for where, e in sorted(found, key=lambda one: -len(one[0])):  # of several ways to write a value the nearest one
            if any(other[: len(where)] == where for other in said):
                continue
            said.append(where)
            if e["type"] == "extra_forbidden":
                self.unknown(where, e["input"], known)
            elif e["type"] == "missing":
                self.add(where, f"{dotted(where)} is missing: add it")
            elif e["type"] == "value_error":
                self.add(where, f"{dotted(where)}: {str(e['msg']).removeprefix('Value error, ')}")
            else:
                words = _TYPES.get(e["type"])
                text = words.format(key=where[-1], **e.get("ctx", {})) if words else e["msg"]
                text = text if isinstance(where[-1], str) else text.partition(", as in")[0]
                self.add(where, f"{shown(where, e['input'])}: {text}")

    def settle(self) -> None:
        """Raise if there was anything.

        Raises:
            ConfigError: one line a complaint.
        """
        if self.lines:
            raise ConfigError("\n".join(dict.fromkeys(self.lines)))
