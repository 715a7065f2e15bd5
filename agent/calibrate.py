"""Make 0.9 mean 0.9. Works on arrays and a `Layout`; knows no items, annotators or files.

Two corrections, in this order. *Batch calibration* needs no truth: what a language model says of every item is no
information about this one (Zhou et al. 2023, arXiv 2309.17249). *Pool weights* need people's answers: one exponent
a source, fitted by penalised maximum likelihood, which is temperature scaling (Guo et al. 2017) when there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent.types import Bools, Floats, Layout

Doubles = NDArray[np.float64]

FLOOR = 1e-6
"""No probability is taken to be smaller: one certain mistake must not outweigh everything else."""


def logs(probabilities: Floats) -> Floats:
    """Natural logarithms, floored at `FLOOR`."""
    return np.log(np.maximum(probabilities, np.float32(FLOOR))).astype(np.float32)


def batch(logprobs: Floats, layout: Layout, prior: Floats | None = None, steps: int = 50) -> Floats:
    """Batch calibration of raw log-probabilities over a pool.

    Subtracts each choice's mean log-probability over the rows. With a `prior` (shape (width,), what people's
    answers say of the shares) the biases are moved on until the mean posterior over the rows is that prior, so that
    a model's lean is removed without flattening a pool that really is unbalanced.

    Args:
        logprobs: (n, width) as the model gave them; rows need not be normalised. n ≥ 1.
        prior: (width,), positive, summing to one inside each atom; None: only the means are subtracted.
        steps: rounds of proportional fitting, at most.
    Returns:
        (n, width) probabilities.
    """
    bias = -logprobs.mean(axis=0, dtype=np.float64)
    if prior is not None:
        for _ in range(steps):
            mean = layout.normalise((logprobs + bias).astype(np.float32)).mean(axis=0, dtype=np.float64)
            move = np.log(np.maximum(prior, FLOOR)) - np.log(np.maximum(mean, FLOOR))
            bias += move
            if np.abs(move).max() < 1e-3:
                break
    return layout.normalise((logprobs + bias).astype(np.float32))


def prior_of(said: Floats, layout: Layout, strength: float = 1.0) -> Floats:
    """Shares of the choices among people's answers, each with `strength` imaginary ones. (n, width) -> (width,)."""
    out = np.empty(layout.width, dtype=np.float32)
    for s in layout.slices:
        counts = said[:, s].sum(axis=0, dtype=np.float64) + strength
        out[s] = counts / counts.sum()
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
            logits = np.tensordot(w, parts, axes=1)
            logits -= logits.max(axis=1, keepdims=True)
            logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            loss -= float((rows[:, None] * truth[:, s] * logp).sum())
            grad += np.einsum("jnk,nk->j", parts, rows[:, None] * (np.exp(logp) - truth[:, s]))
        gap = (w - goal) / spread**2
        return loss + float(((w - goal) * gap).sum()) / 2, grad + gap

    found = minimize(objective, goal, jac=True, method="L-BFGS-B", bounds=[(0.0, 20.0)] * len(goal))
    return [float(w) for w in found.x]
