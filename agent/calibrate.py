"""Make 0.9 mean 0.9. Works on arrays and a `Layout`; knows no items, annotators or files.

Two corrections, in this order. *Batch calibration* needs no truth: what a language model says of every item is no
information about this one (Zhou et al. 2023, arXiv 2309.17249). It takes every choice to be equally common; people's
answers damp it where that is not so (`damped`). *Pool weights* need people's answers: one exponent a source, fitted by
penalised maximum likelihood, which is temperature scaling (Guo et al. 2017) when there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent.types import Bools, Floats, Ints, Layout

Doubles = NDArray[np.float64]

FLOOR = 1e-6
"""No probability is taken to be smaller: one certain mistake must not outweigh everything else."""

POWER, POWER_SPREAD, LEAN_SPREAD = 0.7, 0.7, 0.25
"""What `damped` falls back on: small models are too sure of themselves, shares are known to within a quarter. Chosen
on train rows (docs/asking.md); spreads from 0.01 to 1 differ by less than a point there."""


def logs(probabilities: Floats) -> Floats:
    """Natural logarithms, floored at `FLOOR`."""
    return np.log(np.maximum(probabilities, np.float32(FLOOR))).astype(np.float32)


def batch(logprobs: Floats, layout: Layout) -> Floats:
    """Batch calibration of raw log-probabilities over a pool: each choice's mean log-probability is subtracted.

    Right when all choices are about equally common. An estimate of the shares by expectation maximisation instead
    (Saerens et al. 2002) was measured and is worse for weak models: see docs/asking.md.

    Args:
        logprobs: (n, width) as the model gave them; rows need not be normalised. n ≥ 1.
    Returns:
        (n, width) probabilities.
    """
    return layout.normalise((logprobs - logprobs.mean(axis=0, dtype=np.float64)).astype(np.float32))


def shares(said: Floats, layout: Layout) -> Floats:
    """Shares of the choices as people's answers show them, (n, width) -> (width,), positive.

    Drawn towards equal shares as far as the answers do not contradict these: by the factor (k − 1) / X² of
    James and Stein, X² being the chi-squared distance of the counts from equal ones. A pool that is balanced is so
    not thought to lean by chance, one that is not keeps its shares.
    """
    out = np.empty(layout.width, dtype=np.float32)
    for s in layout.slices:
        counts = said[:, s].sum(axis=0, dtype=np.float64)
        n, k = max(float(counts.sum()), FLOOR), s.stop - s.start
        distance = float(((counts - n / k) ** 2).sum() * k / n)
        trust = max(0.0, 1.0 - (k - 1) / distance) if distance > 0 else 0.0
        drawn = n / k + trust * (counts - n / k)
        out[s] = (drawn + 1.0 / k) / (n + 1.0)  # one imaginary answer in all: no share is zero
    return out


def damped(logprobs: Floats, layout: Layout, rows: Ints, said: Floats, share: Floats) -> Floats:
    """Batch calibration that people's answers correct: softmax(power · (log-probability − its mean) + lean).

    `power` and `lean` are fitted on the answered rows by maximum likelihood, penalised towards `POWER` and log share.

    Args:
        logprobs: (n, width) raw. rows: (m,) row numbers that people answered, m ≥ 0. said: (m, width) these answers.
        share: (width,) what is known of the shares of the choices: `shares` of all answers.
    Returns:
        (n, width) probabilities.
    """
    from scipy.optimize import minimize

    centred = logprobs - logprobs.mean(axis=0, dtype=np.float64)
    start = np.log(np.maximum(share, FLOOR)).astype(np.float64)
    here, truth = centred[rows], np.asarray(said, dtype=np.float64)

    def objective(v: Doubles) -> tuple[float, Doubles]:
        power, off = np.exp(v[0]), (v[0] - np.log(POWER)) / POWER_SPREAD
        gap = (v[1:] - start) / LEAN_SPREAD
        loss, grad = float(off**2 + (gap**2).sum()) / 2, np.concatenate([[off / POWER_SPREAD], gap / LEAN_SPREAD])
        for s in layout.slices:
            logp = _log_softmax(power * here[:, s] + v[1:][s])
            error = np.exp(logp) * truth[:, s].sum(axis=1, keepdims=True) - truth[:, s]
            loss -= float((truth[:, s] * logp).sum())
            grad[0] += power * float((error * here[:, s]).sum())
            grad[1:][s] += error.sum(axis=0)
        return loss, grad

    best = minimize(objective, np.concatenate([[np.log(POWER)], start]), jac=True, method="L-BFGS-B").x
    return layout.normalise((np.exp(best[0]) * centred + best[1:]).astype(np.float32))


def _log_softmax(logits: Doubles) -> Doubles:
    logits = logits - logits.max(axis=1, keepdims=True)
    out: Doubles = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return out


def vote_logs(counts: Floats, asked: Floats, accuracy: float, layout: Layout) -> Floats:
    """Log-likelihood rows of hard votes under the one-coin model: right with chance `accuracy`, else any other choice.

    Args:
        counts: (n, width) how often each choice was named. asked: (n,) votes of the row.
        accuracy: chance that a vote is right, in (0, 1).
    """
    out = np.empty(counts.shape, dtype=np.float32)
    for s in layout.slices:
        k = s.stop - s.start
        right = min(max(accuracy, 1.0 / k + 0.01), 0.99)
        gain = np.log(right) - np.log((1.0 - right) / max(k - 1, 1))
        # Samples of one model are not independent witnesses: they average to one vote.
        out[:, s] = counts[:, s] / np.maximum(asked, 1.0)[:, None] * np.float32(gain)
    return out


def coin(named: Bools, smoothing: float = 4.0, guess: float = 0.75) -> float:
    """Accuracy of hard votes from `named` (n,) right-or-wrong checks against people, shrunk to `guess`."""
    return float((named.sum() + smoothing * guess) / (len(named) + smoothing))


def fit_weights(
    sources: Sequence[Floats],
    truth: Floats,
    layout: Layout,
    start: Sequence[float],
    spread: float = 0.5,
    importance: Floats | None = None,
) -> list[float]:
    """Exponents of a log-linear pool, penalised towards `start`.

    Maximises Σ_i v_i log P_w(truth_i) − Σ_j (w_j − start_j)² / (2 spread²) with P_w ∝ Π_j p_j^{w_j}, w_j ≥ 0: the
    weights of a logarithmic opinion pool (Heskes 1998), and one temperature when there is one source.

    Args:
        sources: J arrays (n, width) of log-probabilities. truth: (n, width) rows of people's answers (one-hot).
        start: J values to fall back on; with no rows they are returned as they are.
        importance: (n,) weights of the rows, 1 when None (min(1/π, 5) for answers that were not drawn at random).
    """
    from scipy.optimize import minimize

    if len(truth) == 0:
        return [float(s) for s in start]
    stack = np.stack([np.asarray(s, dtype=np.float64) for s in sources])
    goal = np.asarray(start, dtype=np.float64)
    rows = np.ones(len(truth)) if importance is None else np.asarray(importance, dtype=np.float64)

    def objective(w: Doubles) -> tuple[float, Doubles]:
        loss, grad = 0.0, np.zeros(len(goal))
        for s in layout.slices:
            parts = stack[:, :, s]
            logp = _log_softmax(np.tensordot(w, parts, axes=1))
            loss -= float((rows[:, None] * truth[:, s] * logp).sum())
            grad += np.einsum("jnk,nk->j", parts, rows[:, None] * (np.exp(logp) - truth[:, s]))
        gap = (w - goal) / spread**2
        return loss + float(((w - goal) * gap).sum()) / 2, grad + gap

    found = minimize(objective, goal, jac=True, method="L-BFGS-B", bounds=[(0.0, 20.0)] * len(goal))
    return [float(w) for w in found.x]
