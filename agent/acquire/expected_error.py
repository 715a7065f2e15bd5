"""The items whose label is expected to leave the least doubt about the pool. Knows no labels' values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.acquire import _cluster, _score
from agent.types import Floats, Ints, Layout, Picks, PoolView

CANDIDATES, WATCHED, LABELED = 8_000, 1_000, 5_000
"""So many candidates are weighed (at least four times what is picked), by what they do to so many others drawn at
random, with a head that was taught so many at most."""
CURVATURE = 0.5
"""The log-loss of a softmax curves by no more (Böhning 1992)."""
PENALTY = 1.0
"""The l2 penalty of the head."""


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """n candidates by expected error reduction (Roy & McCallum 2001, log-loss) of a linear head, approximated.

    Their measure: the entropy Σ_u H(p_u) left over a sample u of the pool once the head has learnt x with label c,
    expected over c under the student's p_x. Learning every (x, c) anew is out of reach, so the head takes one Newton
    step with the curvature's upper bound: with M = (λ + ½ Σ labelled x x')⁻¹ the logits of u move by k(p_x − e_c)
    against the gradient, k = u'Mx / (1 + ½ x'Mx). Expanded to second order in k the first term vanishes (the step is
    nought on average) and the second is closed: ½ k² tr(∇²H(p_u) Cov(p_x)), Cov(p) = diag(p) − pp'. See `gains`.

    Only the candidates of the highest entropy are weighed: what is known beforehand teaches nothing. Sparse features
    are reduced to 64 dimensions. Without features the picks are those of `entropy`, the doubt an item's label takes
    from the item itself. The chance is 1 given the student, the features and the seed of the sample.
    """
    total = len(view.probabilities)
    n = min(n, total)
    if n <= 0 or n == total:
        return _score.uniform(total, n, seed)
    if view.features is None:
        return _score.highest(view, _score.ENTROPY, n, seed)
    rng = np.random.default_rng(seed)
    watched = np.sort(rng.choice(total, min(WATCHED, total), replace=False))
    rows = np.sort(_score.highest(view, _score.ENTROPY, max(CANDIDATES, 4 * n), seed).rows)
    parts = [view.features[watched], view.features[rows]]
    if view.labeled is not None and view.labeled.shape[0]:
        m = view.labeled.shape[0]
        parts.append(view.labeled[np.sort(rng.choice(m, min(LABELED, m), replace=False))])
    points = _cluster.dense(_cluster.stack(parts), seed)
    u, x, taught = np.split(points, [len(watched), len(watched) + len(rows)])
    gain = gains(u, _floats(view, watched), x, _floats(view, rows), taught, view.layout)
    picks = _score.top(gain, n, seed, rows)
    return Picks(picks.rows, np.ones(n, dtype=np.float32))


def _floats(view: PoolView, rows: Ints) -> Floats:
    return np.asarray(view.probabilities[rows], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Bend:
    """∇²H of rows p as factors of its trace with Cov(q) = diag(q) − qq'; with l_j = log p_j + H it has the entries
    p_j p_k (l_j + l_k + 1) − [j = k] p_j (l_j + 1)."""

    p: Floats
    pl: Floats
    straight: Floats
    crossed: Floats


def _bend(p: Floats) -> _Bend:
    logs = np.log(np.maximum(p, 1e-12))
    l = logs - np.einsum("ij,ij->i", p, logs)[:, None]  # noqa: E741
    return _Bend(p, p * l, p * (l + 1), p * p * (2 * l + 1))


def gains(u: Floats, pu: Floats, x: Floats, px: Floats, taught: Floats, layout: Layout) -> Floats:
    """How much entropy over the rows u each of the rows x is expected to take away, in nats, (rows of x,).

    u: (s, d) and x: (n, d) features, pu: (s, width) and px: (n, width) the student's probabilities, taught: (m, d).
    """
    from scipy.linalg import cholesky, solve_triangular

    precision = PENALTY * np.eye(u.shape[1]) + CURVATURE * (taught.T.astype(np.float64) @ taught)
    lower = cholesky(precision, lower=True).astype(np.float32)
    white = np.asarray(solve_triangular(lower, u.T, lower=True))  # (d, s): u'Mx is an inner product of these
    bends = [_bend(np.ascontiguousarray(pu[:, atom])) for atom in layout.slices]
    out = np.empty(len(x), dtype=np.float32)
    for start in range(0, len(x), 1_024):
        own = solve_triangular(lower, x[start : start + 1_024].T, lower=True)
        step = (own.T @ white) / (1 + CURVATURE * np.einsum("ij,ij->j", own, own))[:, None]
        change = np.zeros_like(step)
        for bend, atom in zip(bends, layout.slices, strict=True):
            change += _trace(bend, px[start : start + 1_024, atom])
        out[start : start + 1_024] = -0.5 * np.einsum("ij,ij,ij->i", step, step, change)
    return out


def _trace(bend: _Bend, q: Floats) -> Any:
    """tr(∇²H(p) Cov(q)) of every q with every p, (rows of q, rows of p)."""
    diagonal = q @ bend.crossed.T - (q - q * q) @ bend.straight.T
    mean = q @ bend.p.T
    return diagonal - 2 * (q @ bend.pl.T) * mean - mean * mean
