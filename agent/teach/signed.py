"""Who taught a saved student: a small file beside it. Knows folders, nothing of what was taught."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

TEACHERS = "teachers.json"
"""Lies in a model's folder: who taught it."""


def sign(folder: Path, taught_by: Sequence[str], kept_out: Sequence[str]) -> None:
    """Lay beside a saved student whose answers it learned from, and whose it may not."""
    told = {"taught_by": list(taught_by), "kept_out": list(kept_out)}
    (folder / TEACHERS).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def kept_out(folder: Path) -> list[str]:
    """The annotators whose answers a saved student did not learn from; none where nothing was laid beside it."""
    try:
        return [str(name) for name in json.loads((folder / TEACHERS).read_text(encoding="utf-8"))["kept_out"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
