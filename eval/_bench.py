"""Data sets as problems of `agent.bench`: a student's features of the pool and of the test rows, computed once.

Knows the sets' files and one student; picks nothing. Embeddings are kept in eval/.cache/embeddings.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from agent import bench, plugins
from agent.types import Context, Ints, Item, Layout, Part, Student, Task
from eval import _sets

CACHE = Path(__file__).parent / ".cache" / "embeddings"
POOL = 10_000
"""Rows of a pool at most, drawn at random once."""


def task(name: str) -> Task:
    """The set as a task with its labels' descriptions, where it has some."""
    told = json.loads((_sets.data_folder() / name / "labels.json").read_text("utf-8"))["labels"]
    return Task(name, "single", {label["name"]: label["description"] or "" for label in told})


def load(name: str, student: str = "linear", pool: int = POOL, **settings: Any) -> tuple[bench.Problem, Student]:
    """A set's train rows as the pool, `pool` at most, its test rows, and the untrained student with these settings.

    Train rows whose text is a test row's, too, are left out (`apart`).

    Raises:
        FileNotFoundError: the set does not lie in the data folder.
    """
    data = _sets.load(name)
    train = _sets.sample(apart(data.train, data.test), pool, 0)
    return problem(task(name), train, data.test, student, **settings)


def apart(train: list[_sets.Row], test: list[_sets.Row]) -> list[_sets.Row]:
    """Train rows without those whose text, but for case and white space, is that of a test row."""
    tested = {_plain(row) for row in test}
    return [row for row in train if _plain(row) not in tested]


def _plain(row: _sets.Row) -> str:
    return " ".join(row.text.lower().split())


def problem(
    told: Task, pool: list[_sets.Row], test: list[_sets.Row], student: str, **settings: Any
) -> tuple[bench.Problem, Student]:
    """Rows as arrays."""
    layout: Layout = plugins.load("kinds", told.kind).choices(told)
    made = learner(told, student, **settings)
    rows = [
        made.features([Item(str(i), (Part("text/plain", r.text),)) for i, r in enumerate(part)])
        for part in (pool, test)
    ]
    return bench.Problem(layout, rows[0], codes(pool, layout), rows[1], codes(test, layout)), made


def learner(told: Task, student: str = "linear", **settings: Any) -> Student:
    """An untrained student of a task."""
    layout: Layout = plugins.load("kinds", told.kind).choices(told)
    module = plugins.load("students", student)
    made: Student = module.build(module.Settings(**settings), Context(told, layout, 0, str(CACHE)))
    return made


def codes(rows: list[_sets.Row], layout: Layout) -> Ints:
    """The number of each row's label, (n, 1)."""
    where = {label: number for number, label in enumerate(layout.choices[0])}
    return np.array([[where[row.label]] for row in rows], dtype=np.int64)
