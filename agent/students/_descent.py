"""Minimises a smooth convex function of a matrix of weights: L-BFGS, from a known curvature if any. Knows no data.

Liu & Nocedal 1989, "On the limited memory BFGS method", two-loop recursion (algorithm 2.1), halving line search with
Armijo's condition. The first guess of the inverse Hessian is `Bend` where there is one, else a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agent.types import Floats, Ints

PAIRS = 10
BLOCK = 128
CELLS = 4_000_000
"""A bend keeps at most so many numbers in its blocks: with many columns its blocks are smaller."""
BEND_ROWS = 8_000
NEAR = 1e-3
"""A row with a smaller probability of a choice than this tells nothing of that choice's curvature."""

Objective = Callable[[Floats], tuple[float, Floats]]


@dataclass(frozen=True)
class Bend:
    """An approximate inverse Hessian of the mean loss of a softmax head, by columns.

    In the axes of greatest variance of the inputs (`basis`, (d, d)) each column has a full block of the first r of
    them, `inner` (width, r, r), and a diagonal for the rest, `rest` (d − r, width). Between columns there is nothing.
    rows, l2: what it was made on, to know when it is stale.
    """

    basis: Floats
    inner: Floats
    rest: Floats
    rows: int
    l2: float

    def step(self, slope: Floats) -> Floats:
        """(d, width) -> (d, width), downhill by about the right length."""
        r = self.inner.shape[1]
        turned = self.basis.T @ slope
        turned[:r] = np.matmul(self.inner, turned[:r].T[:, :, None])[:, :, 0].T
        turned[r:] *= self.rest
        return np.asarray(self.basis @ turned, dtype=np.float32)

    def serves(self, rows: int, l2: float, d: int, width: int) -> bool:
        """Whether it is of this problem and not much of it has changed."""
        fits = self.basis.shape[0] == d and self.inner.shape[0] == width
        return fits and self.l2 == l2 and 0.6 * self.rows <= rows <= 1.4 * self.rows


def bend(inputs: Floats, curve: Floats, l2: float, total: float, near: Sequence[Ints]) -> Bend:
    """The curvature at a point.

    Args:
        inputs: (n, d) rows, the bias among them. curve: (n, width) weight · p (1 − p). total: sum of the weights.
        near: for each column the rows that matter to it.
    """
    n, d = inputs.shape
    width = curve.shape[1]
    r = min(d, BLOCK, max(8, int((CELLS / width) ** 0.5)))
    values, basis = np.linalg.eigh(inputs.T @ inputs / n)
    values, basis = np.maximum(values[::-1], 0), np.ascontiguousarray(basis[:, ::-1], dtype=np.float32)
    turned = inputs @ basis[:, :r]
    inner = np.empty((width, r, r), dtype=np.float32)
    for column, rows in enumerate(near):
        part = turned[rows] * np.sqrt(curve[rows, column])[:, None]
        inner[column] = part.T @ part
    inner[:, np.arange(r), np.arange(r)] += l2
    rest = total / (values[r:, None] * curve.sum(axis=0) + l2)
    inverse = np.linalg.inv(inner).astype(np.float32) * np.float32(total)
    return Bend(basis, inverse, rest.astype(np.float32), n, l2)


def minimise(objective: Objective, start: Floats, max_iter: int, tolerance: float, known: Bend | None = None) -> Floats:
    """Weights near the minimum, of the shape of `start`.

    tolerance: stop when the loss is expected to fall by less than this share of it (half the Newton decrement).
    """
    weights, pairs = start, list[tuple[Floats, Floats, float]]()
    loss, slope = objective(weights)
    for turn in range(max_iter):
        down = _direction(slope, pairs, known)
        decrement = float(np.vdot(slope, down))
        settled = decrement / 2 < tolerance * max(loss, 1e-9) and (known is not None or turn >= 3)
        if settled or decrement <= 1e-14:
            break
        size = 1.0
        while True:
            there = weights - np.float32(size) * down
            new, new_slope = objective(there)
            if new <= loss - 1e-4 * size * decrement or size < 1e-4:
                break
            size /= 2
        if new >= loss:
            break  # rounding is all that is left
        moved, bent = there - weights, new_slope - slope
        if (inner := float(np.vdot(moved, bent))) > 1e-14:
            pairs = [*pairs[1 - PAIRS :], (moved, bent, inner)]
        weights, loss, slope = there, new, new_slope
    return weights


def _direction(slope: Floats, pairs: Sequence[tuple[Floats, Floats, float]], known: Bend | None) -> Floats:
    """The inverse Hessian, as far as it is known, times the slope."""
    down = slope.copy()
    shares = []
    for moved, bent, inner in reversed(pairs):
        shares.append(float(np.vdot(moved, down)) / inner)
        down -= np.float32(shares[-1]) * bent
    if known is not None:
        down = known.step(down)
    elif pairs:
        down *= np.float32(pairs[-1][2] / float(np.vdot(pairs[-1][1], pairs[-1][1])))
    else:
        down *= np.float32(1 / max(float(np.abs(slope).sum()), 1e-12))
    for (moved, bent, inner), share in zip(pairs, reversed(shares), strict=True):
        down += np.float32(share - float(np.vdot(bent, down)) / inner) * moved
    return down
