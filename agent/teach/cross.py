"""Teaches a student and its twins: each item is judged by one that was not taught it. Knows students, no ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from agent.teach.lesson import Lesson
from agent.teach.noise import DEFAULT, WAYS, Chosen, Evidence, choose
from agent.types import Bools, Floats, Ints, Student


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
    (`noise.WAYS`) does best by what people said; others are taught the lesson as it is. A twin goes on from where it
    ended: its fold is a matter of row and seed alone, so that it was never taught a row of its fold before either.
    What twins share with the student is the penalty, one temperature and where a fit looks first (its curvature);
    these were chosen on rows of all folds, three numbers for all rows, and not per row.

    Args:
        features: what `student.features` gave, n rows; row i is the same item in each call, more may come below.
        folds: twins for cross-fitting, ≥ 2; a student that is dear to teach has a number of its own, `folds`.
    Returns:
        (n, width) probabilities; row i never comes from a model that was taught item i, nor from one whose lesson was
        made by such a model.
    """
    memory: dict[str, Any] | None = getattr(student, "memory", None)
    folds = int(getattr(student, "folds", folds))
    fold = fold_of(lesson.rows, folds, seed)
    if memory is not None:
        state = (seed, folds, _mark(features))
        if memory.get("state") != state:
            memory.clear()
            memory["state"] = state
    student.fit(features[lesson.rows], lesson.targets, lesson.weights)
    twins = [student.fresh() for _ in range(folds)]
    if memory is not None:
        twins = memory.setdefault("twins", twins)
    said = _cross(twins, features, lesson, fold)
    if memory is not None and lesson.spoken is not None and hasattr(student, "layout"):
        judges = lesson.judges if lesson.judges is not None else np.zeros(len(fold), dtype=bool)
        evidence = Evidence(lesson.targets, lesson.weights, lesson.spoken, judges, said, student.layout)
        others = _Others(student, memory, twins, features, lesson.rows, fold, evidence)
        chosen = memory.get("way")
        if chosen is None or chosen.stale(evidence):
            ways = [name for name in WAYS if name != DEFAULT]
            chosen = memory["way"] = choose(evidence, lambda: others.say(ways, judges))
        assert isinstance(chosen, Chosen)
        if chosen.way != DEFAULT:
            student.fit(features[lesson.rows], *WAYS[chosen.way](evidence))
            said = others.say([chosen.way], np.ones(len(fold), dtype=bool))[chosen.way]
    out = student.predict(features)
    out[lesson.rows] = said
    return np.asarray(out, dtype=np.float32)


def _mark(features: Any) -> bytes:
    """Tells one pool from another: twins of another pool may have been taught these rows under other numbers."""
    return np.asarray(features[:1].sum(axis=1), dtype=np.float32).tobytes()


def _cross(twins: Sequence[Student], features: Any, lesson: Lesson, fold: Ints) -> Floats:
    """What the twin that was not taught an item says of it, (m, width)."""
    out = np.zeros_like(lesson.targets)
    for number, twin in enumerate(twins):
        held = fold == number
        if held.any():
            rest = ~held
            twin.fit(features[lesson.rows[rest]], lesson.targets[rest], lesson.weights[rest])
            out[held] = twin.predict(features[lesson.rows[held]])
    return out


@dataclass(frozen=True)
class _Others:
    """Twins taught in other ways. A way reads what was said of the taught rows; of a lesson for the twin of a fold that
    must come from students that were taught neither the fold nor the row: one for each two folds (`pairs`), else a
    row's own answer comes back to it by way of its neighbours.
    """

    student: Student
    memory: dict[str, Any]
    twins: Sequence[Student]
    features: Any
    rows: Ints
    fold: Ints
    evidence: Evidence

    def say(self, ways: Sequence[str], wanted: Bools) -> dict[str, Floats]:
        """For each way what is said of the wanted rows, (wanted, width), by twins that were not taught them."""
        pairs = self._pairs()
        out = {name: np.zeros((int(wanted.sum()), self.evidence.targets.shape[1]), np.float32) for name in ways}
        for number, twin in enumerate(self.twins):
            asked = (self.fold == number) & wanted
            if not asked.any():
                continue
            rest = np.flatnonzero(self.fold != number)
            said = np.zeros((len(rest), self.evidence.targets.shape[1]), dtype=np.float32)
            for other in np.unique(self.fold[rest]).tolist():
                theirs = self.fold[rest] == other
                said[theirs] = pairs[frozenset((number, other))].predict(self.features[self.rows[rest[theirs]]])
            evidence = self.evidence.part(rest, said)
            for name in ways:
                twin.fit(self.features[self.rows[rest]], *WAYS[name](evidence))
                out[name][asked[wanted]] = twin.predict(self.features[self.rows[asked]])
        return out

    def _pairs(self) -> dict[frozenset[int], Student]:
        """A student for each two folds, taught the others as the lesson has them."""
        both = [frozenset(pair) for pair in combinations(range(len(self.twins)), 2)]
        pairs: dict[frozenset[int], Student] = self.memory.setdefault("pairs", {p: self.student.fresh() for p in both})
        for pair, one in pairs.items():
            rest = ~np.isin(self.fold, list(pair))
            one.fit(self.features[self.rows[rest]], self.evidence.targets[rest], self.evidence.weights[rest])
        return pairs
