"""What the student is taught, and what it says of items it was not taught on. Knows arrays and students, no ledger.

Targets are soft: what the machines that were heard said, pooled and calibrated, and people's answers as they are.
Predictions for items the student was taught on come from twins that were not (cross-fitting), so that a student's
agreement with its teachers is never mistaken for evidence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.types import Bools, Floats, Ints, Layout, Student

PEOPLE_WEIGHT = 3.0
"""A person's label counts as this many of a machine's: machines' targets are soft and share one model's mistakes."""


TEACHERS = "teachers.json"
"""Lies in a model's folder: who taught it."""


@dataclass(frozen=True)
class Lesson:
    """Rows to teach. `rows`: (m,) item numbers; `targets`: (m, width); `weights`: (m,)."""

    rows: Ints
    targets: Floats
    weights: Floats

    def seal(self) -> bytes:
        """The same for the same lesson: nothing is taught twice."""
        digest = hashlib.sha256()
        for part in (self.rows, self.targets, self.weights):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.digest()


def lesson(
    machine: Floats, heard: Bools, words: Floats, spoken: Bools, layout: Layout, keep: Bools | None = None
) -> Lesson:
    """Everything settled so far, as soft targets.

    Args:
        machine: (n, width) pooled posterior of the machines heard. heard: (n,). words: (n, width) people's labels,
            one-hot. spoken: (n,). keep: (n,) items that may be taught; all when None.
    """
    use = heard | spoken
    if keep is not None:
        use &= keep
    rows = np.flatnonzero(use)
    by_person = spoken[rows]
    targets = np.where(by_person[:, None], words[rows], machine[rows]).astype(np.float32)
    weights = np.where(by_person, PEOPLE_WEIGHT, sureness(targets, layout)).astype(np.float32)
    return Lesson(rows, targets, weights)


def sureness(targets: Floats, layout: Layout) -> Floats:
    """How far the least sure atom is from a guess: 0 uniform, 1 certain. (n, width) -> (n,), floored at .05."""
    out = np.ones(len(targets), dtype=np.float32)
    for s in layout.slices:
        guess = 1.0 / (s.stop - s.start)
        out = np.minimum(out, (targets[:, s].max(axis=1) - guess) / (1.0 - guess))
    return np.maximum(out, np.float32(0.05))


def teach(student: Student, features: Any, lesson: Lesson, n: int, folds: int, seed: int) -> Floats:
    """Fit the student on a lesson and predict the pool, cross-fitted where it was taught.

    Args:
        features: what `student.features` gave, n rows. folds: twins for cross-fitting, ≥ 2.
    Returns:
        (n, width) probabilities; row i never comes from a model that was taught item i.
    """
    student.fit(features[lesson.rows], lesson.targets, lesson.weights)
    out = student.predict(features)
    order = np.random.default_rng(seed).permutation(len(lesson.rows))
    for fold in np.array_split(order, min(folds, len(order))):
        rest = np.setdiff1d(order, fold)
        if len(rest) == 0:
            continue
        twin = student.fresh()
        twin.fit(features[lesson.rows[rest]], lesson.targets[rest], lesson.weights[rest])
        out[lesson.rows[fold]] = twin.predict(features[lesson.rows[fold]])
    return np.asarray(out, dtype=np.float32)


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
