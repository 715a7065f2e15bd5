"""Doubtful items that lie where many others lie. Knows no labels' values."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.acquire import _score
from agent.types import Floats, Ints, Picks, PoolView

SAMPLE = 20_000
"""So many candidates stand for the pool."""
BETA = 1.0
"""How much density counts beside doubt: the exponent that Settles & Craven use throughout."""


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """The n candidates of the highest doubt × (mean similarity to the pool) ^ β (Settles & Craven 2008, §3.4).

    Doubt is `_score.entropy` of the least sure atom. Similarity is the cosine; features are of length one, so its mean
    over a sample of the pool is one inner product, with the sample's mean. A mean similarity below zero counts as
    zero. Without features the picks are those of `entropy`.

    Most rows are left out by a bound: no similarity exceeds the length of the sample's mean. The chance is 1 given the
    student and the sample, or taken / tied at the last score (see `_score.top`).
    """
    total = len(view.probabilities)
    if view.features is None or total == 0:
        return _score.highest(view, _score.ENTROPY, n, seed)
    centre = middle(view.features, seed)
    most = float(np.linalg.norm(centre)) ** BETA

    def candidates(start: int, stop: int, floor: float) -> tuple[Ints, Floats]:
        block = np.asarray(view.probabilities[start:stop])
        rows = np.flatnonzero(_score.bounds(block, view.layout, _score.ENTROPY.bound) * most * 1.001 >= floor)
        doubt = _score.of_rows(np.asarray(block[rows], dtype=np.float32), view.layout, _score.entropy)
        density = np.maximum(_near(view.features, rows + start, centre), 0) ** np.float32(BETA)
        return rows + start, np.asarray(doubt * density, dtype=np.float32)

    return _score.search(total, _score.step(view.probabilities), n, seed, candidates)


def middle(features: Any, seed: int) -> Floats:
    """The mean of a sample of the rows, (d,)."""
    total = features.shape[0]
    rows = np.sort(np.random.default_rng(seed).choice(total, min(SAMPLE, total), replace=False))
    if hasattr(features, "tocsr"):
        return np.asarray(features[rows].mean(axis=0), dtype=np.float32).ravel()
    out = np.zeros(features.shape[1], dtype=np.float64)
    for start in range(0, len(rows), 2_048):
        out += np.asarray(features[rows[start : start + 2_048]], dtype=np.float32).sum(axis=0, dtype=np.float64)
    return np.asarray(out / max(1, len(rows)), dtype=np.float32)


def _near(features: Any, rows: Ints, centre: Floats) -> Floats:
    """The inner product of these rows with the centre, (rows,), row by row, so that blocks do not change it."""
    if hasattr(features, "tocsr"):
        return np.asarray(features[rows] @ centre, dtype=np.float32).ravel()
    return np.asarray(np.einsum("ij,j->i", np.asarray(features[rows], dtype=np.float32), centre))
