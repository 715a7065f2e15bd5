"""Curves that were measured already, kept in eval/.cache/curves by what they depend on. Knows curves and source files.

A curve depends on the sources of the bench, the lesson, the linear student and its own strategy: when one of them
changes, it is measured anew. So a long table is made in pieces, and a piece that is broken off loses one row.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agent import bench

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).parent / ".cache" / "curves"
STUDENT = ("_d", "_h", "_m", "_p", "_r", "_s", "_w", "linear")
"""How the names of the linear student's own files begin."""


def seal(strategy: str, *settings: object) -> str:
    """16 hex digits of all that a row of curves depends on but the data."""
    files = [*sorted((ROOT / "agent" / "teach").glob("*.py")), *sorted((ROOT / "agent" / "bench").glob("*.py"))]
    files += [f for f in sorted((ROOT / "agent" / "students").glob("*.py")) if f.name.startswith(STUDENT)]
    files += _needs(ROOT / "agent" / "acquire" / f"{strategy}.py")
    made = hashlib.sha256(repr(settings).encode())
    for file in files:
        if file.name != "picture.py":
            made.update(file.read_bytes())
    return made.hexdigest()[:16]


def row(name: str, key: str, measure: Callable[[], list[bench.Curve]]) -> list[bench.Curve]:
    """The curves of a row: those kept under the key, or else measured now and kept."""
    file = FOLDER / f"{name.replace(' ', '_')}-{key}.json"
    if file.is_file():
        return [_curve(one) for one in json.loads(file.read_text("utf-8"))]
    made = measure()
    FOLDER.mkdir(parents=True, exist_ok=True)
    told = [
        {"strategy": c.strategy, "seed": c.seed, "labels": c.labels.tolist(), "accuracy": c.accuracy.tolist(),
         "right": c.right, "by": c.by, "seconds": c.seconds}
        for c in made
    ]  # fmt: skip
    draft = file.with_suffix(".tmp")
    draft.write_text(json.dumps(told), encoding="utf-8")
    draft.replace(file)
    return made


def _needs(file: Path) -> list[Path]:
    """A strategy's file and the private modules of its room that it imports, in order of name."""
    found: set[Path] = set()
    new = {file}
    while new:
        found |= new
        text = " ".join(one.read_text("utf-8") for one in new)
        named = re.findall(r"^from agent\.acquire import (.+)$", text, re.MULTILINE)
        names = {name for line in named for name in re.findall(r"\b_\w+", line)}
        new = {file.with_name(f"{name}.py") for name in names} - found
    return sorted(found)


def _curve(told: dict[str, Any]) -> bench.Curve:
    labels, accuracy = np.array(told["labels"], np.int64), np.array(told["accuracy"])
    seconds = told["seconds"][0], told["seconds"][1]
    return bench.Curve(told["strategy"], told["seed"], labels, accuracy, told["right"], tuple(told["by"]), seconds)
