"""Curves that were measured already, kept in eval/.cache/curves by what they depend on. Knows curves and source files.

A curve depends on the sources that take part in it (what the bench, the student and the strategy import, and what those
import), on the features, labels and answers themselves, and on the settings: when one of them changes, it is measured
anew. So a long table is made in pieces, and a piece that is broken off loses one row.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from agent import bench

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).parent / ".cache" / "curves"
PARTS = ("agent.bench", "agent.kinds.single", "agent.students.linear", "eval._bench")
"""Modules that every curve comes from."""
LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch")


def seal(strategy: str, problem: bench.Problem, answers: Iterable[bench.Answers], *settings: object) -> str:
    """16 hex digits of all that a row of curves depends on."""
    told = (settings, problem.layout, [(name, version(name)) for name in LIBRARIES])
    made = hashlib.sha256(repr(told).encode())
    for array in (problem.pool, problem.gold, problem.test, problem.truth, *(one.votes for one in answers)):
        made.update(np.ascontiguousarray(array).data)
    for file in sources(strategy):
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


@cache
def sources(strategy: str) -> tuple[Path, ...]:
    """Our files that a strategy's curve comes from: of `PARTS`, of the strategy, and of all that these import."""
    found: dict[str, Path] = {}
    new = [*PARTS, f"agent.acquire.{strategy}"]
    while new:
        name = new.pop()
        place = ROOT / name.replace(".", "/")
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if name in found or not file.is_file():
            continue
        found[name] = file
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("agent", "eval"):
                new += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found[name] for name in sorted(found))


def _curve(told: dict[str, Any]) -> bench.Curve:
    labels, accuracy = np.array(told["labels"], np.int64), np.array(told["accuracy"])
    seconds = told["seconds"][0], told["seconds"][1]
    return bench.Curve(told["strategy"], told["seed"], labels, accuracy, told["right"], tuple(told["by"]), seconds)
