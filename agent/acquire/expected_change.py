"""The items whose label is expected to move the student's head furthest. Knows no labels' values."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.acquire import _score
from agent.types import Floats, Ints, Layout, Picks, PoolView


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """The n candidates of the greatest expected gradient length (Settles, Craven & Ray 2008) of a linear softmax head.

    With label c the gradient of the log-loss is (p − e_c) ⊗ x, so its length is |p − e_c| · |x|, and it is expected
    under the student's own p. An item's score is the sum over its atoms. Without features every |x| is taken as 1.

    Most rows are left out by a bound: the mean of |p − e_c| is at most √(1 − Σp²) (Jensen), and features are of length
    one; longer rows are shortened to it. The chance is 1 given the student, or taken / tied at the last score.
    """

    def candidates(start: int, stop: int, floor: float) -> tuple[Ints, Floats]:
        block = np.asarray(view.probabilities[start:stop])
        rows = np.flatnonzero(_bound(block, view.layout) >= floor)
        moved = length(np.asarray(block[rows], dtype=np.float32), view.layout)
        return rows + start, moved if view.features is None else moved * _norms(view.features, rows + start)

    return _score.search(len(view.probabilities), _score.step(view.probabilities), n, seed, candidates)


def length(p: Floats, layout: Layout) -> Floats:
    """Σ over atoms of Σ_c p_c |p − e_c|, (rows,)."""
    out = np.zeros(len(p), dtype=np.float32)
    for atom in layout.slices:
        own = np.ascontiguousarray(p[:, atom])
        squared = np.einsum("ij,ij->i", own, own)[:, None] - 2 * own + 1
        out += np.einsum("ij,ij->i", own, np.sqrt(np.maximum(squared, 0)))
    return out


def _bound(block: Floats, layout: Layout) -> Floats:
    spare = 0.02 if block.dtype == np.float16 else 0.002
    out = np.zeros(len(block), dtype=np.float32)
    for atom in layout.slices:
        out += np.sqrt(np.maximum(1 - _score.squares(block[:, atom]), 0)) + spare
    return out


def _norms(features: Any, rows: Ints) -> Floats:
    """The length of these rows of features, at most 1, (rows,)."""
    if hasattr(features, "tocsr"):
        own = features[rows]
        squared = np.asarray(own.multiply(own).sum(axis=1), dtype=np.float32).ravel()
    else:
        dense = np.asarray(features[rows], dtype=np.float32)
        squared = np.einsum("ij,ij->i", dense, dense)
    return np.asarray(np.minimum(np.sqrt(squared), 1), dtype=np.float32)
