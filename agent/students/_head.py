"""A linear layer with a softmax over the choices of each atom, fitted to soft targets. Knows no texts and no names.

The fit minimises, over weights W (bias included as one more input),

    sum_i w_i sum_atoms CE(target_i, softmax(x_i W)) + l2 / 2 · |W|²

which is strictly convex, so where it starts changes its time and not its result. A row whose targets are all zero
within an atom says nothing of that atom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agent.students import _descent
from agent.types import Floats

BLOCK = 32_768
TURN_UNDER = 1_500
"""Fewer sparse rows than this are turned into as many dense columns: the work then grows with rows, not with terms."""

BEND_FROM, BEND_UNDER = 500, 1_100
"""Dense rows from which on, and columns up to which, the curvature is worth its making."""
CLOSE, ROUGH, FAR = 1e-6, 1e-3, 1e-2
"""Shares of the loss that a fit leaves: of a small one, of a large one, and before the curvature is looked at."""

Slices = Sequence[slice]


@dataclass(frozen=True, slots=True)
class Head:
    """weight: (d + 1, width) float32, the last row the bias."""

    weight: Floats

    def predict(self, features: Any, slices: Slices) -> Floats:
        """(n, width) probabilities, in blocks."""
        out = np.empty((features.shape[0], self.weight.shape[1]), dtype=np.float32)
        for start in range(0, len(out), BLOCK):
            logits = features[start : start + BLOCK] @ self.weight[:-1] + self.weight[-1]
            out[start : start + BLOCK] = softmax(np.asarray(logits, dtype=np.float32), slices)[0]
        return out


def softmax(logits: Floats, slices: Slices) -> tuple[Floats, Floats]:
    """Probabilities (n, width), and the log of each atom's normaliser, (n, atoms)."""
    out = np.empty_like(logits)
    logs = np.empty((len(logits), len(slices)), dtype=np.float32)
    for number, atom in enumerate(slices):
        peak = logits[:, atom].max(axis=1, keepdims=True)
        powers = np.exp(logits[:, atom] - peak)
        total = powers.sum(axis=1, keepdims=True)
        out[:, atom] = powers / total
        logs[:, number] = (peak + np.log(total))[:, 0]
    return out, logs


@dataclass(slots=True)
class Warm:
    """What one fit leaves to the next: where it ended, and the curvature there."""

    head: Head | None = None
    bend: _descent.Bend | None = None


def fit(
    features: Any,
    targets: Floats,
    weights: Floats,
    slices: Slices,
    l2: float,
    max_iter: int = 100,
    start: Warm | None = None,
    device: str = "auto",
    tolerance: float | None = None,
) -> Head:
    """The head of least loss by L-BFGS over all rows at once. features: (n, d), dense or CSR float32.

    start: where to begin; it is given back where this fit ended. tolerance: stop when the loss is expected to fall by
    less than this share of it; `CLOSE`, from 500 dense rows on `ROUGH`: a head that is as good, sooner.
    """
    warm = Warm() if start is None else start
    d, width = features.shape[1], targets.shape[1]
    if warm.head is not None and warm.head.weight.shape != (d + 1, width):
        warm.head = warm.bend = None
    if hasattr(features, "tocsr") and features.shape[0] < TURN_UNDER:
        warm.head = _fit_turned(features, targets, weights, slices, l2, max_iter, warm, device, tolerance)
        return warm.head
    begin = np.zeros((d + 1, width), dtype=np.float32) if warm.head is None else warm.head.weight
    where = _place(device, features)
    loss = (_loss if where == "numpy" else _loss_torch)(features, targets, weights, slices, l2, where)
    bends = not hasattr(features, "tocsr") and features.shape[0] >= BEND_FROM and d <= BEND_UNDER
    if not bends:
        warm.head = Head(_descent.minimise(loss, begin, max_iter, tolerance or CLOSE))
        return warm.head
    if warm.head is None:
        begin = _descent.minimise(loss, begin, max_iter, FAR)
        passing = _bend(features, targets, weights, slices, l2, Head(begin))
        begin = _descent.minimise(loss, begin, max_iter, ROUGH / 10, passing)
    if warm.bend is None or not warm.bend.serves(features.shape[0], l2, d + 1, width):
        warm.bend = _bend(features, targets, weights, slices, l2, Head(begin))
    warm.head = Head(_descent.minimise(loss, begin, max_iter, tolerance or ROUGH, warm.bend))
    return warm.head


def quick(
    features: Any,
    targets: Floats,
    weights: Floats,
    slices: Slices,
    l2: float,
    max_iter: int,
    start: Head | None,
    device: str,
    tolerance: float,
) -> Head:
    """A head good enough to be compared with others: dense rows only, from where another ended."""
    where = _place(device, features)
    loss = (_loss if where == "numpy" else _loss_torch)(features, targets, weights, slices, l2, where)
    begin = np.zeros((features.shape[1] + 1, targets.shape[1]), np.float32) if start is None else start.weight
    return Head(_descent.minimise(loss, begin, max_iter, tolerance))


def _fit_turned(
    features: Any,
    targets: Floats,
    weights: Floats,
    slices: Slices,
    l2: float,
    max_iter: int,
    warm: Warm,
    device: str,
    tolerance: float | None,
) -> Head:
    """Few sparse rows: as many dense columns, and back."""
    turned, mix = turn(features)
    begin = Warm()
    if warm.head is not None:
        begin.head = Head(np.concatenate([mix.T @ (features @ warm.head.weight[:-1]), warm.head.weight[-1:]]))
    loss = _loss(turned, targets, weights, slices, l2, "numpy")
    zeros = np.zeros((turned.shape[1] + 1, targets.shape[1]), dtype=np.float32)
    small = _descent.minimise(loss, zeros if begin.head is None else begin.head.weight, max_iter, tolerance or CLOSE)
    return Head(np.concatenate([features.T @ (mix @ small[:-1]), small[-1:]]).astype(np.float32))


def _bend(features: Any, targets: Floats, weights: Floats, slices: Slices, l2: float, head: Head) -> _descent.Bend:
    """The curvature of the loss at a head, from at most `_descent.BEND_ROWS` rows."""
    step = -(-features.shape[0] // _descent.BEND_ROWS)
    rows = np.asarray(features[::step], dtype=np.float32)
    inputs = np.concatenate([rows, np.ones((len(rows), 1), dtype=np.float32)], axis=1)
    p = head.predict(rows, slices)
    mass = np.empty_like(p)
    for atom in slices:
        mass[:, atom] = (weights[::step] * targets[::step, atom].sum(axis=1))[:, None]
    near = [np.flatnonzero(column > _descent.NEAR) for column in p.T]
    found = _descent.bend(inputs, mass * p * (1 - p), l2 / step, float(weights[::step].sum()), near)
    return replace(found, rows=features.shape[0], l2=l2)


def turn(features: Any) -> tuple[Floats, Floats]:
    """Dense rows (n, r), r ≤ n, of the same inner products, and which mixture of rows each axis is, (n, r).

    The best weights lie in the span of the rows (representer theorem), so a head of least loss on the turned rows,
    turned back, is the head of least loss on the sparse ones.
    """
    gram = np.asarray((features @ features.T).todense(), dtype=np.float64)
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-6 * max(float(values[-1]), 1e-12)
    roots = np.sqrt(values[kept])
    return (vectors[:, kept] * roots).astype(np.float32), (vectors[:, kept] / roots).astype(np.float32)


def _place(device: str, features: Any) -> str:
    """Where to fit: dense rows by torch, on a GPU when there is one; sparse ones, or without torch, by numpy."""
    if hasattr(features, "tocsr"):
        return "numpy"
    try:
        import torch
    except ImportError:
        return "numpy"
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _loss(
    features: Any, targets: Floats, weights: Floats, slices: Slices, l2: float, device: str
) -> _descent.Objective:
    """The objective and its gradient, both divided by the sum of the weights, in float32 with float64 sums."""
    scale = 1.0 / max(float(weights.sum()), 1e-12)
    known = np.stack([targets[:, atom].sum(axis=1) for atom in slices], axis=1)
    of_atom = np.repeat(np.arange(len(slices)), [atom.stop - atom.start for atom in slices])
    back = features.T.tocsr() if hasattr(features, "tocsr") else features.T
    mass = (weights[:, None] * known).astype(np.float32)
    pull = (weights[:, None] * targets).astype(np.float32)

    def value(w: Floats) -> tuple[float, Floats]:
        logits = features @ w[:-1] + w[-1]
        p, logs = softmax(logits, slices)
        total = float((mass * logs).sum(dtype=np.float64) - (pull * logits).sum(dtype=np.float64))
        rest = p * mass[:, of_atom] - pull
        slope = np.empty_like(w)
        slope[:-1], slope[-1] = back @ rest, rest.sum(axis=0, dtype=np.float64)
        slope += np.float32(l2) * w
        square = float(np.square(w, dtype=np.float64).sum())
        return scale * (total + l2 / 2 * square), slope * np.float32(scale)

    return value


def _loss_torch(
    features: Any, targets: Floats, weights: Floats, slices: Slices, l2: float, device: str
) -> _descent.Objective:
    """The same with the arrays on `device`."""
    import torch

    def there(array: Any) -> Any:
        rows = np.ascontiguousarray(array, dtype=np.float32)
        return torch.from_numpy(rows if rows.flags.writeable else rows.copy()).to(device)

    scale = 1.0 / max(float(weights.sum()), 1e-12)
    x, pull = there(features), there(weights[:, None] * targets)
    masses = [pull[:, atom].sum(dim=1, keepdim=True) for atom in slices]

    def value(weight: Floats) -> tuple[float, Floats]:
        w = there(weight)
        rest = torch.addmm(w[-1], x, w[:-1])
        total = 0.0
        for atom, mass in zip(slices, masses, strict=True):
            logs = torch.log_softmax(rest[:, atom], dim=1)
            total -= float((pull[:, atom] * logs).sum(dim=1).sum(dtype=torch.float64))
            rest[:, atom] = logs.exp_().mul_(mass).sub_(pull[:, atom])
        slope = torch.empty_like(w)
        torch.mm(x.T, rest, out=slope[:-1])
        slope[-1] = rest.sum(dim=0)
        slope.add_(w, alpha=l2).mul_(scale)
        square = float(w.double().square().sum())
        return scale * (total + l2 / 2 * square), slope.cpu().numpy()

    return value


def with_rows(rows: tuple[Any, Floats, Floats], extra: tuple[Any, Floats, Floats] | None) -> tuple[Any, Floats, Floats]:
    """(features, targets, weights) with the extra rows below."""
    if extra is None:
        return rows
    if hasattr(rows[0], "tocsr"):
        from scipy.sparse import vstack

        both = vstack([rows[0], extra[0]], format="csr")
    else:
        both = np.concatenate([np.asarray(rows[0], dtype=np.float32), extra[0]])
    return both, np.concatenate([rows[1], extra[1]]), np.concatenate([rows[2], extra[2]])
