"""Items farthest from all that is labelled or picked: the pool is covered. Knows neither student nor labels' values.

The greedy 2-approximation of k-center (Gonzalez 1985), called coreset in active learning (Sener & Savarese, ICLR 2018,
arXiv 1708.00489): again and again the candidate whose most similar centre (labelled or picked) is the least similar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.acquire import _cluster, _score
from agent.types import Doubles, Floats, Ints, Picks, PoolView

HOT = 512
"""Candidates kept up to date while picking: the worst covered."""
SHELF = 16_384
"""Candidates among which the hot are looked for: those of the lowest bounds when it was last filled."""
FIRST = 256
"""Centres a candidate is compared with at first; then with four times as many, as long as it is among the worst."""
FEW = 1_024
"""So few candidates are compared with all centres at once."""
ROWS = 2_048
"""Candidates compared together, with up to CENTRES centres."""
CENTRES = 2_048
KEPT = 1 << 24
"""Numbers of labelled items' features kept as float32 while picking."""
LOWEST = 32
"""Of the hot those compared with the newest picks at a time."""
ROUNDING = 2e-6
"""What float32 may be wrong by in a similarity; candidates so close are compared exactly."""
GRID = float(1 << 25)
"""Features are rounded to 1/GRID for that: their products and all sums of these are exact, in any order."""


@dataclass(slots=True)
class Cover:
    """How well items are covered.

    near: (n,) similarity to the nearest of the first seen[i] centres, so no more than to the nearest of all.
    """

    near: Floats
    seen: NDArray[np.int32]


@dataclass(slots=True)
class Kept:
    """What is carried from call to call: the cover of every number of `view.rows`, and the centres' numbers."""

    cover: Cover
    centres: Ints


@dataclass(slots=True)
class Shelf:
    """Some candidates of low bounds, ascending, and a bound of all others."""

    rows: Ints
    limit: float


class Centres:
    """The centres, in the order they came: labelled items, then picks."""

    def __init__(self, view: PoolView, order: Ints) -> None:
        self._view, self._order = view, order
        self.picked: list[int] = []
        small = len(order) > 0 and len(order) * view.labeled.shape[1] <= KEPT
        self._kept = _cluster.unit(view.labeled, order) if small else None

    def __len__(self) -> int:
        return len(self._order) + len(self.picked)

    def rows(self, start: int, stop: int) -> Any:
        """Features of centres start..stop, of length one."""
        m = len(self._order)
        parts = []
        if start < min(stop, m):
            some = slice(start, min(stop, m))
            parts.append(
                _cluster.unit(self._view.labeled, self._order[some]) if self._kept is None else self._kept[some]
            )
        if max(start, m) < stop:
            parts.append(_cluster.unit(self._view.features, self.picked[max(start, m) - m : stop - m]))
        return _cluster.stack(parts) if len(parts) > 1 else parts[0]


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """n candidates, each the one least similar to its nearest centre. Without features a uniform draw.

    Similarity is the cosine. Where nothing is labelled the first is drawn at random. Of equally covered candidates the
    first of the pool is taken; candidates whose features are all zero come last. The picks are those of looking at
    every candidate and centre: similarities to fewer centres are bounds, and only the worst covered candidates are kept
    up to date. Where candidates have numbers `view.memory` carries the bounds to the next call. CSR rows are multiplied
    as they are.

    The chance is 1 given the features, what is labelled and the seed.
    """
    total = len(view.probabilities)
    n = min(n, total)
    if n <= 0 or n == total or view.features is None:
        return _score.uniform(total, n, seed)
    cover, order = _carried(view)
    centres = Centres(view, order)
    if not len(centres):
        centres.picked.append(int(np.random.default_rng(seed).integers(total)))
    if len(new := np.flatnonzero(cover.seen == 0)):
        _advance(view, cover, centres, new)
    shelf = Shelf(np.empty(0, dtype=np.int64), -np.inf)
    cover.near[centres.picked] = np.inf
    while len(centres.picked) < n:
        hot = _worst(view, cover, centres, shelf)
        _greedy(view, cover, centres, hot.rows, hot.limit, n)
    rows = np.array(centres.picked, dtype=np.int64)
    cover.near[rows] = 1
    _keep(view, cover, order, rows)
    return Picks(rows, np.ones(n, dtype=np.float32))


def _carried(view: PoolView) -> tuple[Cover, Ints]:
    """What is known of these candidates' cover, and the rows of `view.labeled` in the order of its centres."""
    n, m = len(view.probabilities), 0 if view.labeled is None else view.labeled.shape[0]
    cover = Cover(np.full(n, -1, dtype=np.float32), np.zeros(n, dtype=np.int32))
    old = view.memory.get("k_center")
    if not isinstance(old, Kept) or view.rows is None or view.labeled_rows is None or not m:
        return cover, np.arange(m)
    by_number = np.argsort(view.labeled_rows, kind="stable")
    where = by_number[np.minimum(np.searchsorted(view.labeled_rows[by_number], old.centres), m - 1)]
    if not np.array_equal(view.labeled_rows[where], old.centres):
        return cover, np.arange(m)
    there = int(np.searchsorted(view.rows, len(old.cover.near)))
    cover.near[:there] = old.cover.near[view.rows[:there]]
    cover.seen[:there] = old.cover.seen[view.rows[:there]]
    return cover, np.concatenate([where, np.flatnonzero(~np.isin(view.labeled_rows, old.centres))])


def _keep(view: PoolView, cover: Cover, order: Ints, picked: Ints) -> None:
    """Leave the bounds to the next call, by the candidates' numbers."""
    if view.rows is None or view.labeled_rows is None:
        return
    size = int(view.rows[-1]) + 1
    whole = Cover(np.full(size, -1, dtype=np.float32), np.zeros(size, dtype=np.int32))
    whole.near[view.rows], whole.seen[view.rows] = cover.near, cover.seen
    view.memory["k_center"] = Kept(whole, np.concatenate([view.labeled_rows[order], view.rows[picked]]))


def _worst(view: PoolView, cover: Cover, centres: Centres, shelf: Shelf) -> Shelf:
    """The worst covered candidates, up to date, out of the shelf, which is filled anew when it does not hold them."""
    while True:
        hot = _lowest(cover, shelf.rows, HOT)
        if hot.limit > shelf.limit:
            shelf.rows, shelf.limit = (full := _lowest(cover, np.arange(len(cover.near)), SHELF)).rows, full.limit
            hot = _lowest(cover, shelf.rows, HOT)
            hot.limit = min(hot.limit, shelf.limit)
        stale = hot.rows[cover.seen[hot.rows] < len(centres)]
        if not len(stale):
            return hot
        _advance(view, cover, centres, stale)


def _lowest(cover: Cover, rows: Ints, count: int) -> Shelf:
    """Those of the rows with the lowest bounds, ascending, about `count` of them, and the least bound of the others."""
    near = cover.near[rows]
    if len(rows) <= 2 * count:
        return Shelf(rows[near < np.inf], np.inf)
    cut = float(np.partition(near, count)[count])
    kept = np.flatnonzero(near <= cut + ROUNDING)
    if len(kept) <= 2 * count and cut < np.inf:
        return Shelf(rows[kept], cut + ROUNDING)
    below = np.flatnonzero(near < cut - ROUNDING)  # very many alike: the first of these
    alike = np.setdiff1d(np.flatnonzero(near < np.inf) if cut == np.inf else kept, below)
    return Shelf(rows[np.union1d(below, alike[: 2 * count - len(below)])], cut - ROUNDING)


def _advance(view: PoolView, cover: Cover, centres: Centres, rows: Ints) -> None:
    """Compares candidates with more centres."""
    seen = cover.seen[rows]
    few = len(rows) <= FEW
    for had in [int(seen.min())] if few else np.unique(seen).tolist():
        mine = rows if few else rows[seen == had]
        goal = len(centres) if few else min(len(centres), max(FIRST, 4 * had))
        for start in range(had, goal, CENTRES):
            of = centres.rows(start, min(start + CENTRES, goal))
            for place in range(0, len(mine), ROWS):
                here = mine[place : place + ROWS]
                block = _block(view.features, here)
                lengths = np.sqrt(_cluster.squares(block)).astype(np.float32)
                best = _cluster.dots(block, of).max(axis=1) / np.maximum(lengths, 1e-12)
                cover.near[here] = np.where(lengths > 0, np.maximum(cover.near[here], best), 1)
        cover.seen[mine] = goal


def _block(features: Any, rows: Ints) -> Any:
    """Some candidates' features in float32, as they are; without a copy where they lie together."""
    together = rows[-1] - rows[0] == len(rows) - 1
    block = features[rows[0] : rows[-1] + 1] if together else features[rows]
    return block.astype(np.float32, copy=False)


def _greedy(view: PoolView, cover: Cover, centres: Centres, hot: Ints, limit: float, n: int) -> None:
    """Picks among the hot as long as nobody else can be covered worse, n altogether; one at the least."""
    points, near, before = _cluster.unit(view.features, hot), cover.near[hot], len(centres)
    upto, taken = np.zeros(len(hot), dtype=np.int32), list[int]()
    while len(centres.picked) < n and len(taken) < len(hot):
        close = np.flatnonzero(near <= near.min() + ROUNDING)
        if (upto[close] < len(taken)).any():
            low = np.argpartition(near, LOWEST)[:LOWEST] if len(close) < LOWEST < len(near) else close
            first = int(upto[low].min())
            near[low] = np.maximum(near[low], _cluster.dots(points[low], points[taken[first:]]).max(axis=1))
            upto[low] = len(taken)
            continue
        if taken and near[close[0]] + ROUNDING > limit:
            break
        if len(close) > 1:
            exact = _exactly(points[close], centres)
            close = close[exact == exact.min()]
        taken.append(int(close[0]))
        centres.picked.append(int(hot[close[0]]))
        near[close[0]] = np.inf
    cover.near[hot] = near
    cover.seen[hot] = np.where(upto == len(taken), len(centres), before)


def _exactly(points: Any, centres: Centres) -> Doubles:
    """Similarity of some rows to their nearest centre, (k,), the same in whatever company they are asked about."""
    best = np.where(_cluster.squares(points) > 0, -np.inf, 1.0)
    grid = _on_grid(points)
    for start in range(0, len(centres), CENTRES):
        of = centres.rows(start, min(start + CENTRES, len(centres)))
        rough = _cluster.dots(points, of)
        near = np.flatnonzero((rough >= rough.max(axis=1, keepdims=True) - 2 * ROUNDING).any(axis=0))
        best = np.maximum(best, _cluster.dots(grid, _on_grid(of[near])).max(axis=1))
    return np.asarray(best, dtype=np.float64)


def _on_grid(rows: Any) -> Any:
    rows = rows.astype(np.float64)
    if hasattr(rows, "tocsr"):
        rows.data = np.rint(rows.data * GRID) / GRID
        return rows
    return np.rint(rows * GRID) / GRID
