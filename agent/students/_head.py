"""A linear layer with a softmax over the choices of each atom, fitted to soft targets. Knows no texts and no names.

The fit minimises, over weights W (bias included as one more input),

    sum_i w_i sum_atoms CE(target_i, softmax(x_i W)) + l2 / 2 · |W|²

which is strictly convex, so where it starts changes its time and not its result. A row whose targets are all zero
within an atom says nothing of that atom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.types import Floats

BLOCK = 32_768
GRID = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
CHOOSE_FROM, CHOOSE_FROM_SPARSE = 3_000, 800
"""Rows at most that the penalty is chosen on."""
TURN_UNDER = 1_500
"""Fewer sparse rows than this are turned into as many dense columns: the work then grows with rows, not with terms."""

Doubles = NDArray[np.float64]
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


def fit(
    features: Any,
    targets: Floats,
    weights: Floats,
    slices: Slices,
    l2: float,
    max_iter: int = 100,
    start: Head | None = None,
    device: str = "auto",
    tolerance: float = 1e-7,
) -> Head:
    """The head of least loss by L-BFGS over all rows at once. features: (n, d), dense or CSR float32.

    start: where to begin. tolerance: stop when a step lowers the loss by less than this share of it.
    """
    from scipy.optimize import minimize

    d, width = features.shape[1], targets.shape[1]
    if start is not None and start.weight.shape != (d + 1, width):
        start = None
    if hasattr(features, "tocsr") and features.shape[0] < TURN_UNDER:
        turned, mix = turn(features)
        if start is not None:
            start = Head(np.concatenate([mix.T @ (features @ start.weight[:-1]), start.weight[-1:]]))
        small = fit(turned, targets, weights, slices, l2, max_iter, start, device, tolerance)
        weight = features.T @ (mix @ small.weight[:-1])
        return Head(np.concatenate([weight, small.weight[-1:]]).astype(np.float32))
    begin = np.zeros((d + 1, width), dtype=np.float64) if start is None else start.weight.astype(np.float64)
    where = _place(device, features)
    loss = (_loss if where == "numpy" else _loss_torch)(features, targets, weights, slices, l2, where)
    options = {"maxiter": max_iter, "maxcor": 10, "ftol": tolerance, "gtol": 1e-6, "maxls": 30}
    found = minimize(loss, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    return Head(found.x.reshape(begin.shape).astype(np.float32))


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


Objective = Callable[[Doubles], tuple[float, Doubles]]


def _loss(features: Any, targets: Floats, weights: Floats, slices: Slices, l2: float, device: str) -> Objective:
    """The objective and its gradient, both divided by the sum of the weights, in float32 with float64 sums."""
    scale = 1.0 / max(float(weights.sum()), 1e-12)
    known = np.stack([targets[:, atom].sum(axis=1) for atom in slices], axis=1)
    of_atom = np.repeat(np.arange(len(slices)), [atom.stop - atom.start for atom in slices])
    back = features.T.tocsr() if hasattr(features, "tocsr") else features.T
    mass = (weights[:, None] * known).astype(np.float32)
    pull = (weights[:, None] * targets).astype(np.float32)

    def value(flat: Doubles) -> tuple[float, Doubles]:
        theta = flat.reshape(-1, targets.shape[1])
        w = theta.astype(np.float32)
        logits = features @ w[:-1] + w[-1]
        p, logs = softmax(logits, slices)
        total = float((mass * logs).sum(dtype=np.float64) - (pull * logits).sum(dtype=np.float64))
        rest = p * mass[:, of_atom] - pull
        slope = np.empty_like(theta)
        slope[:-1], slope[-1] = back @ rest, rest.sum(axis=0, dtype=np.float64)
        slope += l2 * theta
        return scale * (total + l2 / 2 * float((theta * theta).sum())), (scale * slope).ravel()

    return value


def _loss_torch(features: Any, targets: Floats, weights: Floats, slices: Slices, l2: float, device: str) -> Objective:
    """The same with the arrays on `device`."""
    import torch

    def there(array: Any) -> Any:
        return torch.from_numpy(np.array(array, dtype=np.float32)).to(device)

    scale = 1.0 / max(float(weights.sum()), 1e-12)
    x, pull = there(features), there(weights[:, None] * targets)
    masses = [pull[:, atom].sum(dim=1, keepdim=True) for atom in slices]

    def value(flat: Doubles) -> tuple[float, Doubles]:
        theta = torch.from_numpy(flat.reshape(-1, targets.shape[1])).to(device)
        w = theta.float()
        logits = x @ w[:-1] + w[-1]
        rest = torch.empty_like(logits)
        total = -(pull * logits).sum(dtype=torch.float64)
        for atom, mass in zip(slices, masses, strict=True):
            total += (mass * torch.logsumexp(logits[:, atom], dim=1, keepdim=True)).sum(dtype=torch.float64)
            rest[:, atom] = mass * torch.softmax(logits[:, atom], dim=1) - pull[:, atom]
        slope = torch.cat([x.T @ rest, rest.sum(dim=0, keepdim=True)]).double() + l2 * theta
        full = scale * (total + l2 / 2 * (theta * theta).sum())
        return float(full), (scale * slope).cpu().numpy().ravel()

    return value


def choose_l2(
    features: Any,
    targets: Floats,
    weights: Floats,
    slices: Slices,
    extra: tuple[Any, Floats, Floats] | None,
    max_iter: int,
    seed: int,
    device: str = "auto",
) -> float:
    """The penalty of `GRID` with the least weighted log-loss on held-out rows: 5 folds, 3 from 1,000 rows on.

    extra: rows (features, targets, weights) that are in every training part and in no held-out part.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(features.shape[0])[:CHOOSE_FROM]
    if hasattr(features, "tocsr"):
        rows = np.sort(rows[:CHOOSE_FROM_SPARSE])
        every, targets, weights = with_rows((features[rows], targets[rows], weights[rows]), extra)
        turned, n = turn(every)[0], len(rows)
        extra = (turned[n:], targets[n:], weights[n:]) if extra else None
        features, targets, weights, rows = turned[:n], targets[:n], weights[:n], rng.permutation(n)
    folds = 5 if len(rows) < 1_000 else 3
    fold = np.arange(len(rows)) % folds
    lost = np.zeros(len(GRID))
    for number in range(folds):
        train, held = np.sort(rows[fold != number]), np.sort(rows[fold == number])
        x, t, w = with_rows((features[train], targets[train], weights[train]), extra)
        head: Head | None = None
        for place, l2 in enumerate(GRID):  # from strong to weak, each from where the last one ended
            head = fit(x, t, w, slices, l2, max_iter, head, device, 1e-5)
            p = np.log(np.maximum(head.predict(features[held], slices), 1e-9))
            lost[place] -= float((weights[held, None] * targets[held] * p).sum(dtype=np.float64))
    return GRID[int(np.argmin(lost))]


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
