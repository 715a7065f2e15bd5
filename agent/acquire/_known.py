"""Rows known again from call to call by what stands in them. Shared by the strategies; knows only features.

A row's key is a 64-bit hash of some 32 bytes of it, or of all where several rows share those; that costs one cache line
a row instead of the whole pool.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.types import Ints

Keys = NDArray[np.uint64]

WINDOW = 32
"""Bytes of a row looked at first."""
ROWS = 16_384
"""Rows looked at together."""
RUN = 4_096
"""Keys compared together."""


def keys(features: Any, shared: Keys | None = None) -> tuple[Keys, Keys]:
    """A key of every row, (n,), and the windows that several rows have, sorted.

    shared: these, of an earlier call; rows that have one of them get the key of all they hold. None: looked for.
    """
    if hasattr(features, "tocsr"):
        return whole(features), np.empty(0, np.uint64)
    wide = max(1, WINDOW // features.dtype.itemsize)
    start = max(0, features.shape[1] - wide) // 2 // wide * wide
    out = _hashes(features, slice(start, start + wide))
    if shared is None:
        ordered = np.sort(out)
        shared = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(shared):
        rows = np.flatnonzero(shared[np.minimum(np.searchsorted(shared, out), len(shared) - 1)] == out)
        for begin in range(0, len(rows), ROWS):
            out[rows[begin : begin + ROWS]] = _hashes(features[rows[begin : begin + ROWS]], slice(None))
    return out, shared


def whole(features: Any) -> Keys:
    """A key of all that every row holds, (n,)."""
    if not hasattr(features, "tocsr"):
        return _hashes(features, slice(None))
    bits = np.ascontiguousarray(features.data, dtype=np.float64).view(np.uint64)
    home = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    cells = _mix(_mix(features.indices.astype(np.uint64)) ^ bits)
    out = np.zeros(features.shape[0], dtype=np.uint64)
    first = np.flatnonzero(np.diff(home, prepend=-1))
    if len(first):
        out[home[first]] = np.add.reduceat(cells, first)
    return _mix(out)


def _hashes(features: Any, columns: slice) -> Keys:
    out = np.empty(len(features), dtype=np.uint64)
    for start in range(0, len(out), ROWS):
        cells = np.ascontiguousarray(features[start : start + ROWS, columns])
        bits = cells.view(np.uint64 if cells.shape[1] * cells.itemsize % 8 == 0 else np.uint16)
        odd = _mix(np.arange(bits.shape[1], dtype=np.uint64)) | np.uint64(1)
        out[start : start + ROWS] = np.einsum("ij,j->i", bits.astype(np.uint64, copy=False), odd)
    return _mix(out)


def places(old: Keys, new: Keys) -> Ints | None:
    """Where each of the new rows stood among the old, (n,), when they are old ones in their old order, else None."""
    out = np.empty(len(new), dtype=np.int64)
    there = here = 0
    while here < len(new):
        size = min(RUN, len(new) - here, len(old) - there)
        if size <= 0:
            return None
        same = old[there : there + size] == new[here : here + size]
        held = size if same.all() else int(same.argmin())
        out[here : here + held] = np.arange(there, there + held)
        here += held
        there += held + (held < size)
    return out


def _mix(x: Keys) -> Keys:
    """splitmix64 (Steele et al. 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)
