"""What is watched of a row: how far from the pool it lies, how much in doubt it leaves the student, its label."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.types import Floats, Ints, Layout

NEIGHBOURS = 5
BLOCK = 256
BINS = 4_096
FEW = 4_000
"""Things below which the library's own way of drawing, linear in them, is the faster one."""
STEEPEST = 14.0
"""Log-odds of doubt are counted between -14 and 14."""


def unit(rows: Any) -> Any:
    """Rows brought to length one, as float16 keeps them; rows of zeros stay."""
    if hasattr(rows, "indptr"):
        from scipy.sparse import csr_array, diags_array

        lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
        scaled = csr_array(diags_array(1 / np.maximum(lengths, 1e-12)) @ rows)
        scaled.data = scaled.data.astype(np.float16).astype(np.float32)
        return scaled
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float16).astype(np.float32)


def distance(rows: Any, anchors: Any) -> Floats:
    """Mean cosine distance to the nearest anchors, (n,), in blocks."""
    out = np.empty(rows.shape[0], dtype=np.float32)
    k = min(NEIGHBOURS, anchors.shape[0])
    for start in range(0, len(out), BLOCK):
        block = rows[start : start + BLOCK]
        if hasattr(block, "indptr"):
            lengths = np.sqrt(np.asarray(block.multiply(block).sum(axis=1)).ravel())
            near = (block @ anchors.T).toarray()
        else:
            block = np.asarray(block, dtype=np.float32)
            lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
            near = block @ anchors.T
        best = np.partition(near, near.shape[1] - k, axis=1)[:, -k:].mean(axis=1)
        out[start : start + BLOCK] = 1 - best / np.maximum(lengths, 1e-12)
    return out


def doubt(said: Floats, layout: Layout) -> Floats:
    """1 - the probability of the label, the product over atoms, (n,)."""
    sure = np.ones(len(said), dtype=np.float32)
    for s in layout.slices:
        sure *= said[:, s].max(axis=1)
    return 1 - sure


def labels(said: Floats, layout: Layout) -> Ints:
    """(n, atoms) the column of the likeliest choice of each atom."""
    return np.stack([s.start + np.argmax(said[:, s], axis=1) for s in layout.slices], axis=1).astype(np.int64)


def subsets(counts: Ints, size: int, n: int, rng: np.random.Generator) -> Ints:
    """n times `size` things drawn without replacement from bags of so many, (n, len(counts)) how many of each."""
    total = int(counts.sum())
    if total < FEW:
        return rng.multivariate_hypergeometric(counts, size, n, method="count")
    drawn = rng.integers(0, total, (n, size))
    while len(again := np.flatnonzero((np.diff(np.sort(drawn, axis=1), axis=1) == 0).any(axis=1))):
        drawn[again] = rng.integers(
            0, total, (len(again), size)
        )  # equal to drawing without replacement, given none twice
    kinds = np.searchsorted(np.cumsum(counts), drawn, side="right")
    at = kinds + len(counts) * np.arange(n)[:, None]
    return np.bincount(at.ravel(), minlength=n * len(counts)).reshape(n, len(counts))


def near_bins(distance: Floats) -> Ints:
    return np.clip(distance * (BINS - 1), 0, BINS - 1).astype(np.int64)


def doubt_bins(doubt: Floats) -> Ints:
    safe = np.clip(doubt.astype(np.float64), 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(safe / (1 - safe)), -STEEPEST, STEEPEST)
    return ((odds + STEEPEST) / (2 * STEEPEST) * (BINS - 1)).astype(np.int64)


def share_above(ordered: Floats, values: Floats) -> Floats:
    above = len(ordered) - np.searchsorted(ordered, values, side="left")
    return ((above + 1) / (len(ordered) + 1)).astype(np.float32)
