"""The default: typical items first, then doubtful ones that differ, and a few at random. Knows no labels' values."""

from __future__ import annotations

import numpy as np

from agent.acquire import _cluster, _score
from agent.types import Picks, PoolView

LABELS_A_CHOICE = 2
WIDE = 10
EXPLORE = 0.1


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """Until about two labels a choice: as `typiclust`. Then nine tenths by doubt in clusters, one tenth at random.

    By doubt: the 10·n candidates of the smallest margin are clustered and the one nearest to each centre is taken;
    their chance is 1 given the student and the clusters. At random: from all others, each with the chance
    taken / others. Without features doubt alone decides.
    """
    total = len(view.probabilities)
    n = min(n, total)
    if n <= 0 or n == total:
        return _score.uniform(np.arange(total), n, seed)
    labeled = 0 if view.labeled is None else view.labeled.shape[0]
    if view.features is not None and labeled < LABELS_A_CHOICE * view.layout.width:
        rows = _cluster.typical(view.features, view.labeled, n, seed)
        return Picks(rows, np.ones(len(rows), dtype=np.float32))
    explore = min(round(EXPLORE * n), n - 1)
    sure = _doubtful(view, n - explore, seed)
    others = np.setdiff1d(np.arange(total), sure.rows, assume_unique=True)
    return _score.join(sure, _score.uniform(others, explore, seed + 1))


def _doubtful(view: PoolView, n: int, seed: int) -> Picks:
    scores = _score.doubt(view, _score.margin)
    if view.features is None:
        return _score.top(scores, n, seed)
    wide = _score.top(scores, WIDE * n, seed).rows
    rows = wide[_cluster.nearest(_cluster.dense(view.features[wide], seed), n, seed)]
    if len(rows) < n:  # some clusters were empty: the most doubtful of the rest
        rest = wide[~np.isin(wide, rows)]
        rows = np.concatenate([rows, rest[: n - len(rows)]])
    return Picks(rows.astype(np.int64), np.ones(len(rows), dtype=np.float32))
