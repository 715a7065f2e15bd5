"""What is settled, as rows to teach: soft targets and weights. Knows arrays, neither students nor ledgers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from agent.types import Bools, Floats, Ints, Layout

PEOPLE_WEIGHT = 3.0
"""A person's label counts as this many of a machine's: machines' targets are soft and share one model's mistakes."""


@dataclass(frozen=True)
class Lesson:
    """Rows to teach. `rows`: (m,) item numbers; `targets`: (m, width); `weights`: (m,); `spoken`: (m,) the rows whose
    targets are people's words (none, where it is left out); `judges`: (m,) those of them that were drawn at random."""

    rows: Ints
    targets: Floats
    weights: Floats
    spoken: Bools | None = None
    judges: Bools | None = None

    def seal(self) -> bytes:
        """The same for the same lesson: nothing is taught twice."""
        digest = hashlib.sha256()
        for part in (self.rows, self.targets, self.weights):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.digest()


def lesson(
    machine: Floats,
    heard: Bools,
    words: Floats,
    spoken: Bools,
    layout: Layout,
    keep: Bools | None = None,
    drawn: Bools | None = None,
) -> Lesson:
    """Everything settled so far, as soft targets.

    Args:
        machine: (n, width) pooled posterior of the machines heard. heard: (n,). words: (n, width) people's labels,
            one-hot. spoken: (n,). keep: (n,) items that may be taught; all when None. drawn: (n,) items that people
            were asked about at random, and not for how hard they looked; none when None.
    """
    use = heard | spoken
    if keep is not None:
        use &= keep
    rows = np.flatnonzero(use)
    by_person = spoken[rows]
    targets = np.where(by_person[:, None], words[rows], machine[rows]).astype(np.float32)
    weights = np.where(by_person, PEOPLE_WEIGHT, sureness(targets, layout)).astype(np.float32)
    judges = by_person & drawn[rows] if drawn is not None else np.zeros(len(rows), dtype=bool)
    return Lesson(rows, targets, weights, by_person, judges)


def sureness(targets: Floats, layout: Layout) -> Floats:
    """How far the least sure atom is from a guess: 0 uniform, 1 certain. (n, width) -> (n,), floored at .05."""
    out = np.ones(len(targets), dtype=np.float32)
    for s in layout.slices:
        guess = 1.0 / (s.stop - s.start)
        out = np.minimum(out, (targets[:, s].max(axis=1) - guess) / (1.0 - guess))
    return np.maximum(out, np.float32(0.05))
