"""The items nearest to the centres of as many clusters as are wanted. Knows neither student nor labels' values.

The diverse batch of Zhdanov (2019, arXiv 1901.05954) without its weights.
"""

from __future__ import annotations

import numpy as np

from agent.acquire import _cluster, _score
from agent.types import Picks, PoolView


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """n candidates, one of each of n clusters: the nearest to its centre. Without features a uniform draw.

    Clusters are sought among SAMPLE candidates drawn at random, or 8·n where that is more, and so are their members:
    at 20,000 the inertia is 3-4 % worse than of k-means on all. Sparse rows are reduced to 64 dimensions first. For
    an empty cluster another of the sample is drawn.

    The chance is 1 given the features and the seed of the sample and the clusters.
    """
    total = len(view.probabilities)
    n = min(n, total)
    if n <= 0 or n == total or view.features is None:
        return _score.uniform(total, n, seed)
    rows = _cluster.sample(total, 8 * n, seed)
    places = _cluster.nearest(_cluster.dense(view.features[rows], seed), n, seed)
    if len(places) < n:
        rest = np.setdiff1d(np.arange(len(rows)), places)
        places = np.concatenate([places, _score.uniform(rest, n - len(places), seed).rows])
    return Picks(rows[places].astype(np.int64), np.ones(n, dtype=np.float32))
