"""Penalised maximum likelihood of a log-linear pool, many weightings of the rows at once. Knows arrays, no sources.

All folds of a cross-validation are one batch: a fold is a row of weights in which the held-out rows weigh nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agent.types import Layout

Doubles = NDArray[np.float64]

NEWTON_STEPS, BOUND_STEPS, STILL = 30, 200, 1e-5


def softmax(logits: Doubles, layout: Layout) -> tuple[Doubles, Doubles]:
    """Probabilities and their logarithms inside each atom, (..., width) each."""
    logs = np.empty_like(logits)
    for s in layout.slices:
        block = logits[..., s] - logits[..., s].max(axis=-1, keepdims=True)
        logs[..., s] = block - np.log(np.exp(block).sum(axis=-1, keepdims=True))
    return np.exp(logs), logs


def exponents(
    terms: Doubles, truth: Doubles, weights: Doubles, start: Doubles, scale: Doubles, layout: Layout
) -> Doubles:
    """Exponents w ≥ 0 and leanings b of P ∝ exp(b + Σ_j w_j x_j), penalised towards `start`.

    Minimises −Σ_i v_i log P(truth_i) + Σ ((θ − start) / scale)² / 2 for every row v of `weights`, by Newton's method
    projected on w ≥ 0 (Bertsekas 1982), the step halved until the penalised likelihood does not fall.

    Args:
        terms: (F, m, J, width), or F = 1 where all batches share them. truth: (m, width). weights: (F, m) ≥ 0.
        start: (F or 1, J + width). scale: (J + width,), 0 holds a parameter where it starts.
    Returns:
        (F, J + width): exponents, then leanings.
    """
    folds, many = len(weights), terms.shape[2]
    start = np.broadcast_to(start, (folds, start.shape[1]))
    free = scale > 0
    precision = np.where(free, 1.0 / np.maximum(scale, 1e-9) ** 2, 0.0)
    theta = start.copy()
    loss, slope, curve = _newton(theta, terms, truth, weights, start, precision, layout)
    for _ in range(NEWTON_STEPS):
        held = np.broadcast_to(~free, theta.shape).copy()
        held[:, :many] |= (theta[:, :many] <= 0) & (slope[:, :many] > 0)
        pull = np.where(held, 0.0, slope)
        both = held[:, :, None] | held[:, None, :]
        step = np.linalg.solve(np.where(both, np.eye(len(scale)), curve), pull[:, :, None])[:, :, 0]
        size = np.ones(folds)
        for _ in range(12):
            tried = theta - size[:, None] * step
            tried[:, :many] = np.maximum(tried[:, :many], 0.0)
            better = _loss(tried, terms, truth, weights, start, precision, layout) <= loss + 1e-12
            if better.all():
                break
            size = np.where(better, size, size / 2)
        tried = np.where(better[:, None], tried, theta)
        moved = float(np.abs(tried - theta).max(initial=0.0))
        theta = tried
        if moved < STILL:
            break
        loss, slope, curve = _newton(theta, terms, truth, weights, start, precision, layout)
    return theta


def logits(theta: Doubles, terms: Doubles) -> Doubles:
    """b + Σ_j w_j x_j. theta: (F, J + width), terms: (F or 1, m, J, width) -> (F, m, width)."""
    many = terms.shape[2]
    w = theta[:, :many]
    if len(terms) == 1:
        out: Doubles = np.tensordot(w, terms[0], axes=([1], [1]))
    else:
        out = np.einsum("fj,fmjw->fmw", w, terms)
    out += theta[:, None, many:]
    return out


def _loss(
    theta: Doubles,
    terms: Doubles,
    truth: Doubles,
    weights: Doubles,
    start: Doubles,
    precision: Doubles,
    layout: Layout,
) -> Doubles:
    _, logs = softmax(logits(theta, terms), layout)
    return _penalised(logs, theta, truth, weights, start, precision)


def _penalised(
    logs: Doubles, theta: Doubles, truth: Doubles, weights: Doubles, start: Doubles, precision: Doubles
) -> Doubles:
    """(F,) What is minimised. logs: (F, m, width) log-probabilities under `theta`."""
    out: Doubles = -((truth * logs).sum(axis=2) * weights).sum(axis=1)
    out += 0.5 * ((theta - start) ** 2 * precision).sum(axis=1)
    return out


def _newton(
    theta: Doubles,
    terms: Doubles,
    truth: Doubles,
    weights: Doubles,
    start: Doubles,
    precision: Doubles,
    layout: Layout,
) -> tuple[Doubles, Doubles, Doubles]:
    """Loss (F,), its slope (F, P) and curvature (F, P, P)."""
    folds, many, size = len(theta), terms.shape[2], theta.shape[1]
    p, logs = softmax(logits(theta, terms), layout)
    loss = _penalised(logs, theta, truth, weights, start, precision)
    slope = (theta - start) * precision
    curve = np.zeros((folds, size, size))
    curve[:, np.arange(size), np.arange(size)] = np.where(precision > 0, precision, 1.0) + 1e-9
    for s in layout.slices:
        b = slice(many + s.start, many + s.stop)
        x, pv = terms[..., s], p[..., s] * weights[:, :, None]
        error = pv - weights[:, :, None] * truth[:, s]
        xt = np.broadcast_to(x, (folds, *x.shape[1:]))
        mean = np.einsum("fmjk,fmk->fmj", xt, p[..., s])
        apart = xt - mean[..., None]
        tilted = apart * pv[:, :, None, :]
        slope[:, :many] += np.einsum("fmjk,fmk->fj", xt, error)
        slope[:, b] += error.sum(axis=1)
        left = apart.transpose(0, 2, 1, 3).reshape(folds, many, -1)
        right = tilted.transpose(0, 2, 1, 3).reshape(folds, many, -1)
        curve[:, :many, :many] += left @ right.transpose(0, 2, 1)
        cross = tilted.sum(axis=1)
        curve[:, :many, b] += cross
        curve[:, b, :many] += cross.transpose(0, 2, 1)
        within = -np.einsum("fmk,fml->fkl", pv, p[..., s])
        within[:, np.arange(s.stop - s.start), np.arange(s.stop - s.start)] += pv.sum(axis=1)
        curve[:, b, b] += within
    return loss, slope, curve


def confusions(
    terms: Doubles, before: Doubles, truth: Doubles, weights: Doubles, scale: float, layout: Layout
) -> list[Doubles]:
    """Class-conditional corrections of a pool: which choice a source's opinion of each choice speaks for.

    Per atom a matrix D minimising −Σ_i v_i log P(truth_i) + |D|² / (2 scale²), P ∝ exp(before + x D): a soft confusion
    matrix. By steps under a fixed bound of the curvature (Böhning & Lindsay 1988), which never overshoot.

    Args:
        terms: (m, J, width). before: (F, m, width) logits of the pool corrected. weights: (F, m).
    Returns:
        For each atom with k choices (F, J·k, k).
    """
    out = []
    for s in layout.slices:
        x = terms[..., s].reshape(len(terms), -1)
        bound = np.einsum("mp,fm,mq->fpq", x, weights, x, optimize=True) / 2
        bound[:, np.arange(x.shape[1]), np.arange(x.shape[1])] += scale**-2
        inverse = np.linalg.inv(bound)
        found = np.zeros((len(weights), x.shape[1], s.stop - s.start))
        for _ in range(BOUND_STEPS):
            z = before[..., s] + x @ found
            z -= z.max(axis=2, keepdims=True)
            p = np.exp(z)
            p /= p.sum(axis=2, keepdims=True)
            error = weights[:, :, None] * (p - truth[:, s])
            step = inverse @ (x.T @ error + found / scale**2)
            found -= step
            if np.abs(step).max(initial=0.0) < STILL * 10:
                break
        out.append(found)
    return out
