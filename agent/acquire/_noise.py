"""Where answers and student contradict each other whatever is asked: questions for guidelines. Knows only arrays."""

from __future__ import annotations

import numpy as np

from agent.acquire import _cluster
from agent.types import Floats, Ints, Layout, PoolView

NEIGHBOURS = 10
"""Labelled items an item is compared with."""
NEAR = 0.5
"""Cosine similarity at which a labelled item begins to say anything of an item; it says all there is at 1."""
CLEAR, OPEN = 0.75, 0.5
"""A target with a first choice of CLEAR or more is unambiguous, with one of OPEN or less wholly ambiguous."""
PRIOR = 1.0
"""Unambiguous neighbours that every item is taken to have besides: one contradiction is no evidence."""
MOST = 20_000
"""Labelled items compared with at most, drawn at random, so that the time is bounded."""
BLOCK = 1_024
"""Rows compared at a time."""


def ambiguity(view: PoolView, rows: Ints, seed: int) -> Floats:
    """How contradictory the answers around each of some candidates are, (rows,), 0 to 1.

    The mean of `quarrel` over the labelled neighbours, each weighted by how near it is, and PRIOR neighbours without:
    high only where several answers lie close by and still neither they nor the student agree, so that one more answer
    would settle nothing. 0 without features or labelled items, or where the answers there are gold.
    """
    out = np.zeros(len(rows), dtype=np.float32)
    if view.features is None or view.labeled is None or view.targets is None:
        return out
    m = view.labeled.shape[0]
    if not unsettled(view.targets, view.layout).any() or view.said is None:  # in this order: what is said may cost fits
        return out
    kept = np.sort(np.random.default_rng(seed).choice(m, MOST, replace=False)) if m > MOST else np.arange(m)
    hard = quarrel(np.asarray(view.targets[kept], np.float32), np.asarray(view.said[kept], np.float32), view.layout)
    theirs = _cluster.unit(view.labeled, kept)
    k = min(NEIGHBOURS, len(kept))
    for start in range(0, len(rows), BLOCK):
        near = _cluster.dots(_cluster.unit(view.features, rows[start : start + BLOCK]), theirs)
        best = np.argpartition(-near, k - 1, axis=1)[:, :k]
        weight = np.maximum(np.take_along_axis(near, best, axis=1) - NEAR, 0) / (1 - NEAR)
        out[start : start + BLOCK] = (weight * hard[best]).sum(axis=1) / (weight.sum(axis=1) + PRIOR)
    return out


def unsettled(targets: Floats, layout: Layout) -> Floats:
    """How far each atom of a target is from settled, (m, atoms), 0 to 1."""
    first = np.stack(
        [np.asarray(targets[:, atom], np.float32).max(axis=1, initial=0) for atom in layout.slices], axis=1
    )
    return np.clip((CLEAR - first) / (CLEAR - OPEN), 0, 1)


def quarrel(targets: Floats, said: Floats, layout: Layout) -> Floats:
    """How far answers and student contradict each other on an item and settle nothing: (m,), 0 to 1.

    The total variation between target and what a student not taught it says, times how open the target is; of the atom
    where that is greatest. A settled answer that the student did not expect is news, an open one that it expected is no
    contradiction.
    """
    apart = [np.abs(targets[:, atom] - said[:, atom]).sum(axis=1) / 2 for atom in layout.slices]
    return np.asarray((np.stack(apart, axis=1) * unsettled(targets, layout)).max(axis=1), dtype=np.float32)
