"""Items the student judges unlike the labelled items next to them. Knows no labels' values.

Contrastive active learning (Margatina et al., EMNLP 2021, arXiv 2109.03764): the mean Kullback-Leibler divergence from
what is said of the nearest labelled items to what is said of the candidate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.acquire import _cluster, _score
from agent.types import Doubles, Floats, Ints, Picks, PoolView

NEIGHBOURS = 10
MOST = 100_000_000
"""Similarities worked out at most: the candidates looked at times the labelled items."""
CELLS = 1 << 21
"""Similarities held at a time."""
LEAST = 1e-7
"""Probabilities below count as this: the divergence to a 0 would be without bounds."""


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """The n candidates of the highest mean KL(neighbour ‖ candidate) over the 10 most similar labelled items.

    The neighbours' distributions q are averaged first: the mean of KL(q ‖ p) is the mean of Σ q log q less
    Σ mean(q) log p. Several atoms: summed. What is said of labelled items is `view.said`, else what they are taught as.

    Candidates times labelled items above MOST: only as many candidates as keep below it are looked at, those of the
    smallest margin (`_score.MARGIN`; never fewer than 4·n). CSR rows are multiplied as they are. Without features,
    labelled items or anything said of them a uniform draw. The chance is 1 given all these, or that of the last tie.
    """
    total, said = len(view.probabilities), view.targets if view.said is None else view.said
    n = min(n, total)
    m = 0 if view.labeled is None else view.labeled.shape[0]
    if n <= 0 or n == total or view.features is None or m == 0 or said is None:
        return _score.uniform(total, n, seed)
    wide = max(MOST // m, 4 * n)
    rows = np.sort(_score.highest(view, _score.MARGIN, wide, seed).rows) if wide < total else np.arange(total)
    return _score.top(contrast(view, rows, np.asarray(said, np.float64)), n, seed, rows)


def contrast(view: PoolView, rows: Ints, said: Doubles) -> Floats:
    """The score of some candidates, (k,). said: (m, width)."""
    known = _cluster.unit(view.labeled, slice(None))
    own = np.einsum("ij,ij->i", said, np.log(np.maximum(said, LEAST)))
    out = np.empty(len(rows), dtype=np.float32)
    step = max(64, min(2_048, CELLS // known.shape[0]))
    for start in range(0, len(rows), step):
        here = rows[start : start + step]
        near = _nearest(_cluster.dots(_cluster.unit(view.features, here), known))
        logs = np.log(np.maximum(np.asarray(view.probabilities[here], dtype=np.float32), LEAST))
        mean = said[near].mean(axis=1)
        out[start : start + step] = own[near].mean(axis=1) - np.einsum("ij,ij->i", mean, logs)
    return out


def _nearest(similar: Any) -> Ints:
    """The columns of the largest in each row, (k, NEIGHBOURS), of fewer columns all."""
    m = similar.shape[1]
    if m <= NEIGHBOURS:
        return np.broadcast_to(np.arange(m), similar.shape)
    return np.asarray(np.argpartition(similar, m - NEIGHBOURS, axis=1)[:, m - NEIGHBOURS :], dtype=np.int64)
