"""What is watched of a row: how far from the pool it lies, how much in doubt it leaves the student, its label."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.types import Floats, Ints, Layout

NEIGHBOURS = 5
BLOCK = 256
BINS = 4_096
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


def hits(labels: Ints, layout: Layout) -> Ints:
    """(n, width) 1 at the labels, (n, atoms)."""
    out = np.zeros((len(labels), layout.width), dtype=np.int64)
    np.put_along_axis(out, labels, 1, axis=1)
    return out


def near_bins(distance: Floats) -> Ints:
    return np.clip(distance * (BINS - 1), 0, BINS - 1).astype(np.int64)


def doubt_bins(doubt: Floats) -> Ints:
    safe = np.clip(doubt.astype(np.float64), 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(safe / (1 - safe)), -STEEPEST, STEEPEST)
    return ((odds + STEEPEST) / (2 * STEEPEST) * (BINS - 1)).astype(np.int64)


def share_above(ordered: Floats, values: Floats) -> Floats:
    above = len(ordered) - np.searchsorted(ordered, values, side="left")
    return ((above + 1) / (len(ordered) + 1)).astype(np.float32)
