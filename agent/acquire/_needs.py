"""Which choices are wanting, and which candidates are likely of one. Shared by strategies; knows only arrays."""

from __future__ import annotations

import numpy as np

from agent.acquire import _score
from agent.types import Doubles, Floats, Ints, Layout, PoolView

TRIES = 6
"""Labels a choice after which a choice that nobody has seen is taken to be absent: one with half of an even share would
have been missed with a chance of (1 − 1 / 2C)^6C = 5 %."""


def seen(view: PoolView) -> Doubles:
    """How many labelled items are of each choice, (width,), as far as their targets are sure."""
    if view.targets is None:
        return np.zeros(view.layout.width)
    return np.asarray(view.targets.sum(axis=0, dtype=np.float64))


def missing(view: PoolView) -> Ints:
    """Columns of the choices that nobody has seen and whose absence is not likely either."""
    count = seen(view)
    found = [
        column
        for atom in view.layout.slices
        for column in range(atom.start, atom.stop)
        if count[column] < 0.5 and count[atom].sum() < TRIES * (atom.stop - atom.start)
    ]
    return np.array(found, dtype=np.int64)


def likely(view: PoolView, column: int) -> Floats:
    """The geometric mean of what knowledge and student give to a choice, (n,), in blocks; without knowledge the
    student's alone. What was answered since counts, too."""
    out = np.empty(len(view.probabilities), dtype=np.float32)
    for start in range(0, len(out), _score.BLOCK):
        block = slice(start, start + _score.BLOCK)
        says = np.asarray(view.probabilities[block, column], dtype=np.float32)
        known = says if view.knowledge is None else np.asarray(view.knowledge[block, column], dtype=np.float32)
        out[block] = np.sqrt(says * known)
    return out


def rarity(p: Floats, counts: Doubles, layout: Layout) -> Floats:
    """How much rarer than usual among the labelled items a row's choices are expected to be, (rows,): 1 as usual.

    (1 + mean count) / (1 + count), expected under the row's probabilities, the mean over atoms.
    """
    out = np.zeros(len(p), dtype=np.float32)
    for atom in layout.slices:
        count = counts[atom]
        out += np.asarray(p[:, atom] @ ((1 + count.mean()) / (1 + count)), dtype=np.float32)
    return np.asarray(out / len(layout.slices), dtype=np.float32)
