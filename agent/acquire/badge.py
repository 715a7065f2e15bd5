"""Items whose answers would move the student most, and each another way. Knows no labels' values.

Ash et al. (ICLR 2020, arXiv 1906.03671): were the likeliest choice the answer, the gradient of the loss in the last
layer would be the outer product of a = p − onehot(likeliest) and the features x. k-means++ picks among these gradients
(Arthur & Vassilvitskii 2007): the next item is drawn with the chance D²/ΣD², D its distance to the nearest picked one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.acquire import _cluster, _score
from agent.types import Doubles, Floats, Ints, Picks, PoolView

PROPOSALS = 64
"""Items proposed at a time."""
PART = 4_096
"""Bounds summed up together: a proposal looks at the sums of all parts and into one part."""
ROWS = 2_048
"""Candidates whose distances are worked out together."""
SLACK = 1e-5
"""What float32 may be wrong by in a squared distance, as a share of the squared lengths."""


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """n candidates by k-means++ on the gradients, the first with the chance |g|²/Σ|g|². Without features at random.

    The law is exact and no gradient is built: |g − h|² = |a|²|x|² + |b|²|y|² − 2 (a·b)(x·y), the atoms side by side.
    The next one is drawn by rejection: every candidate has a bound u ≥ D², candidates are proposed with the chance
    u/Σu, the distances of these alone are worked out, and one is taken with the chance D²/u. All bounds are worked out
    anew when the proposals have cost as much as that. What is left when nothing differs from what is picked is drawn at
    random.

    Rows count as of length one; CSR rows are multiplied as they are. The chance told is 1, given the seed.
    """
    total = len(view.probabilities)
    n = min(n, total)
    if n <= 0 or n == total or view.features is None:
        return _score.uniform(total, n, seed)
    rng = np.random.default_rng(seed)
    lengths = _lengths(view)
    picked = Picked(view)
    urn = Urn(np.square(lengths))
    if _draw(urn, picked, 1, rng):
        urn = Urn(np.square(lengths + picked.shortest))
    spent, known, shortest = 0, 0, picked.shortest
    while 0 < len(picked.rows) < n:
        if not _draw(urn, picked, n, rng) and known == len(picked.rows) and spent > max(1_024, total // 16):
            break
        spent += PROPOSALS
        if picked.shortest < 0.9 * shortest:
            shortest = picked.shortest
            urn.lower_all(np.square(lengths + shortest))
        if 4 * spent * len(picked.rows) > total * (len(picked.rows) - known) > 0:
            urn.lower_all(_bounds(picked, total, known))
            spent, known = 0, len(picked.rows)
    rows = np.array(picked.rows, dtype=np.int64)
    rest = np.setdiff1d(np.arange(total), rows) if len(rows) < n else rows[:0]
    return _score.join(Picks(rows, np.ones(len(rows), np.float32)), _score.uniform(rest, n - len(rows), seed))


def _lengths(view: PoolView) -> Floats:
    """No less than the length of every candidate's a, (n,): |a|² = Σp² − 2p₁ + 1 ≤ 2 (1 − p₁)², by atom."""
    out = np.empty(len(view.probabilities), dtype=np.float32)
    step = _score.step(view.probabilities)
    half = view.probabilities.dtype == np.float16
    for start in range(0, len(out), step):
        block = np.asarray(view.probabilities[start : start + step])
        total = np.zeros(len(block), dtype=np.float32)
        for atom in view.layout.slices:
            p = block[:, atom]
            if half:  # sorting the bits of float16 is ten times as fast as sorting them
                first = np.ascontiguousarray(p).view(np.uint16).max(axis=1).view(np.float16).astype(np.float32)
                total += 2 * np.square(np.maximum(1 - first, 0) + 1e-3)
            else:
                first = p.max(axis=1)
                spread = np.einsum("ij,ij->i", p, p) - 2 * first + (1 + 1e-6)
                total += np.minimum(spread, 2 * np.square(np.maximum(1 - first, 0) + SLACK))
        out[start : start + step] = np.sqrt(np.maximum(total, 0))
    return out


def _draw(urn: Urn, picked: Picked, n: int, rng: np.random.Generator) -> bool:
    """One round of proposals: takes what is accepted until n are picked; whether any was."""
    before = len(picked.rows)
    rows = urn.draw(PROPOSALS, rng)
    heights = rng.random(len(rows)) * urn.bounds[rows]
    gradients = picked.gradients(rows, np.float64)
    squares = picked.squares(gradients)
    place = 0
    while len(picked.rows) < n:
        taken = place + np.flatnonzero(heights[place:] < squares[place:])[:1]
        if not len(taken):
            break
        place = int(taken[0]) + 1
        picked.add(int(rows[place - 1]))
        squares = np.minimum(squares, picked.squares(gradients, len(picked.rows) - 1))
    if before:  # the first is drawn by its length, which is no bound of a distance
        urn.lower(rows, squares)
    return len(picked.rows) > before


def _bounds(picked: Picked, total: int, since: int) -> Floats:
    """No less than the squared distance of every candidate to the nearest picked one from `since` on, (n,)."""
    out = np.empty(total, dtype=np.float32)
    for start in range(0, total, ROWS):
        gradients = picked.gradients(slice(start, start + ROWS), np.float32)
        out[start : start + ROWS] = picked.squares(gradients, since, SLACK)
    return out


@dataclass(frozen=True, slots=True)
class Gradients:
    """Some candidates' gradients as their two factors, (k, width) and (k, d), and their squared lengths, (k,)."""

    a: NDArray[Any]
    x: Any
    squares: Doubles


class Picked:
    """The picked candidates and how far others are from them."""

    def __init__(self, view: PoolView) -> None:
        self.rows: list[int] = []
        self.shortest = np.inf
        self._view = view
        self._parts: list[Gradients] = []

    def gradients(self, rows: Ints | slice, kind: type[np.floating[Any]]) -> Gradients:
        """Of some rows (numbers or a slice), in float32 or float64."""
        a = np.array(self._view.probabilities[rows], dtype=kind)
        for atom in self._view.layout.slices:
            block = a[:, atom]
            block[np.arange(len(a)), block.argmax(axis=1)] -= 1
        x = _cluster.unit(self._view.features, rows).astype(kind)
        return Gradients(a, x, _cluster.squares(a) * _cluster.squares(x))

    def add(self, row: int) -> None:
        """One more is picked."""
        self._parts.append(self.gradients(np.array([row]), np.float64))
        self.rows.append(row)
        self.shortest = min(self.shortest, float(np.sqrt(self._parts[-1].squares[0])))

    def _since(self, first: int) -> Gradients:
        """Those of the picked from number `first` on."""
        if first == len(self.rows) - 1:
            last = self._parts[-1]
            return Gradients(last.a[-1:], last.x[-1:], last.squares[-1:])
        if len(self._parts) > 1:
            a, squares = (np.concatenate([getattr(p, name) for p in self._parts]) for name in ("a", "squares"))
            self._parts = [Gradients(a, _cluster.stack([p.x for p in self._parts]), squares)]
        every = self._parts[0]
        return Gradients(every.a[first:], every.x[first:], every.squares[first:])

    def squares(self, of: Gradients, since: int = 0, slack: float = 0.0) -> Doubles:
        """Squared distance to the nearest of those picked from `since` on, (k,); to the origin before any is.

        slack: what is added, as a share of the squared lengths; distances below rounding are 0 without.
        """
        if not self.rows:
            return of.squares
        near = self._since(since)
        lengths = of.squares[:, None] + near.squares
        a, x = near.a.astype(of.a.dtype), near.x.astype(of.a.dtype)
        both = (of.a @ a.T) * _cluster.dots(of.x, x)
        apart = np.maximum(lengths - 2 * both, 0) + slack * lengths
        return np.asarray(np.where(apart > 1e-12 * lengths, apart, 0).min(axis=1), dtype=np.float64)


class Urn:
    """Bounds of all candidates, (n,), from which rows are drawn with the chance bound / sum."""

    def __init__(self, bounds: Floats) -> None:
        self.bounds = np.asarray(bounds * (1 + SLACK), dtype=np.float32)
        self._starts = np.arange(0, len(bounds), PART)
        self._sums = np.add.reduceat(self.bounds, self._starts, dtype=np.float64)

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """`count` rows, each drawn anew; none when all bounds are 0."""
        ends = np.cumsum(self._sums)
        if ends[-1] <= 0:
            return np.empty(0, dtype=np.int64)
        points = rng.random(count) * ends[-1]
        parts = np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)
        rows = np.empty(count, dtype=np.int64)
        for part in np.unique(parts).tolist():
            here = np.flatnonzero(parts == part)
            within = np.cumsum(self.bounds[part * PART : (part + 1) * PART], dtype=np.float64)
            depth = np.minimum(points[here] - (ends[part] - self._sums[part]), np.nextafter(within[-1], 0))
            rows[here] = part * PART + np.searchsorted(within, depth, side="right")
        return rows

    def lower_all(self, bounds: Floats) -> None:
        """All bounds, lowered where these are lower."""
        np.minimum(self.bounds, bounds * (1 + SLACK), out=self.bounds, casting="same_kind")
        self._sums = np.add.reduceat(self.bounds, self._starts, dtype=np.float64)

    def lower(self, rows: Ints, bounds: Doubles) -> None:
        """Bounds of some rows, lowered where these are lower."""
        self.bounds[rows] = np.minimum(self.bounds[rows], bounds * (1 + SLACK))
        for part in np.unique(rows // PART).tolist():
            self._sums[part] = self.bounds[part * PART : (part + 1) * PART].sum(dtype=np.float64)
