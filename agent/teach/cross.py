"""Teaches a student and its twins: each item is judged by one that was not taught it. Knows students, no ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.teach.lesson import Lesson
from agent.teach.noise import DEFAULT, WAYS, Chosen, Evidence, choose
from agent.types import Floats, Ints, Student


def fold_of(rows: Ints, folds: int, seed: int) -> Ints:
    """Each item's fold by a hash of its number: the same however many others are taught. (m,) -> (m,).

    The mixer is splitmix64 (Steele, Lea & Flood 2014).
    """
    gap = 0x9E3779B97F4A7C15
    with np.errstate(over="ignore"):
        z = rows.astype(np.uint64) * np.uint64(gap) + np.uint64((seed + 1) * gap & (1 << 64) - 1)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) % np.uint64(folds)).astype(np.int64)


def teach(student: Student, features: Any, lesson: Lesson, n: int, folds: int, seed: int) -> Floats:
    """Fit the student on a lesson and predict the pool, cross-fitted where it was taught.

    A student with a `memory` keeps its twins from turn to turn, and which of the ways to take noisy answers
    (`noise.WAYS`) does best by what people said; others are taught the lesson as it is.

    Args:
        features: what `student.features` gave, n rows. folds: twins for cross-fitting, ≥ 2; a student that is dear to
            teach has a number of its own, `folds`.
    Returns:
        (n, width) probabilities; row i never comes from a model that was taught item i.
    """
    memory: dict[str, Any] | None = getattr(student, "memory", None)
    folds = getattr(student, "folds", folds)
    folds = int(getattr(student, "folds", folds))
    fold = fold_of(lesson.rows, folds, seed)
    targets, weights = lesson.targets, lesson.weights
    if memory is not None and (memory.get("seed"), memory.get("folds")) != (seed, folds):
        memory.clear()
        memory.update(seed=seed, folds=folds)
    student.fit(features[lesson.rows], targets, weights)
    twins = [student.fresh() for _ in range(folds)]
    if memory is not None:
        twins = memory.setdefault("twins", twins)
    said = _cross(twins, features, lesson.rows, fold, targets, weights)
    spoken = lesson.spoken
    if memory is not None and spoken is not None and hasattr(student, "layout"):
        evidence = Evidence(targets, weights, spoken, said, student.layout)
        chosen = memory.get("way")
        if chosen is None or chosen.stale(evidence):
            chosen = memory["way"] = choose(
                evidence, lambda t, w: _cross(twins, features, lesson.rows, fold, t, w, spoken)
            )
        assert isinstance(chosen, Chosen)
        if chosen.way != DEFAULT:
            targets, weights = WAYS[chosen.way](evidence)
            student.fit(features[lesson.rows], targets, weights)
            said = _cross(twins, features, lesson.rows, fold, targets, weights)
    out = student.predict(features)
    out[lesson.rows] = said
    return np.asarray(out, dtype=np.float32)


def _cross(
    twins: Sequence[Student],
    features: Any,
    rows: Ints,
    fold: Ints,
    targets: Floats,
    weights: Floats,
    wanted: Any = None,
) -> Floats:
    """What the twin that was not taught an item says of it, (m, width); only of the wanted rows, where some are."""
    out = np.zeros_like(targets)
    for number, twin in enumerate(twins):
        held = fold == number
        asked = held if wanted is None else held & wanted
        if asked.any():
            rest = ~held
            twin.fit(features[rows[rest]], targets[rest], weights[rest])
            out[asked] = twin.predict(features[rows[asked]])
    return out
