"""Shortlists of the labels that fit an item best, and the questions made of them. Asks nobody.

The student ranks the labels; before it was taught, it goes by their names. A ladder without a student has one of
names alone made for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agent import kinds, plugins, shortlist
from agent.loop.ground import Ground, context
from agent.types import NONE_OF_THESE, Floats, Item, Kind, Question, Student, Task

MISSING = "the right label is not shown here"


def lists(ground: Ground, size: int, rows: Sequence[int]) -> dict[int, list[str]]:
    """Item number -> the `size` labels that fit best, best first; empty where all are shown."""
    if not size or not rows:
        return {}
    names = ground.layout.choices[0]
    best = shortlist.likeliest(_scores(ground, rows), size)
    return {row: [names[c] for c in columns] for row, columns in zip(rows, best.tolist(), strict=True)}


def question(kind: Kind, task: Task, item: Item, sample: int, labels: Sequence[str], closed: bool) -> Question:
    """A question about some of the labels, in the kind's order, and at the end "none of these" unless `closed`."""
    few = replace(task, labels={name: task.labels[name] for name in labels})
    order = [option.choice for option in kind.question(few, item, sample).options]
    shown = kinds.shown(item, order if closed else [*order, NONE_OF_THESE])
    described = {**few.labels, NONE_OF_THESE: MISSING}
    return replace(shown, options=tuple(replace(o, description=described[o.choice]) for o in shown.options))


def _scores(ground: Ground, rows: Sequence[int]) -> Floats:
    """(rows, width) how well each label fits."""
    if ground.student_says is not None:
        return ground.student_says[list(rows)]
    return ranker(ground).predict(features(ground, rows))


def ranker(ground: Ground) -> Student:
    """The student, or one that knows the labels' names alone."""
    if ground.student is not None:
        return ground.student
    if ground.ranker is None:
        plugin = plugins.load("students", "linear")
        ground.ranker = plugin.build(plugin.Settings(), context(ground.config, ground.task, ground.layout))
    return ground.ranker


def features(ground: Ground, rows: Sequence[int]) -> Any:
    """The ranker's features of some items. A student's are of the whole pool, from which it may learn its words."""
    if ground.student is None:
        return ranker(ground).features(ground.pool.items(rows))
    if ground.features is None:
        ground.features = ground.student.features(ground.pool.items(range(ground.n)))
    return ground.features[list(rows)]
