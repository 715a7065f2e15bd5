"""Typical items of every corner of the pool, for the first labels. Knows neither student nor labels' values."""

from __future__ import annotations

import numpy as np

from agent.acquire import _cluster, _score
from agent.types import Picks, PoolView


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """n typical candidates of clusters without labels (`_cluster.typical`); without features a random draw.

    The chance is 1 given the features, what is labelled and the seed of the clusters; n / N for the random draw.
    """
    total = len(view.probabilities)
    n = min(n, total)
    if n <= 0 or n == total or view.features is None:
        return _score.uniform(np.arange(total), n, seed)
    rows = _cluster.typical(view.features, view.labeled, n, seed)
    return Picks(rows, np.ones(len(rows), dtype=np.float32))
