"""What items alike are labeled. Knows vectors and labels, no texts and no students.

Likeness is the cosine; the likest are found exactly up to some twenty thousand items, beyond that among a sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.types import Floats, Ints, Layout

EXACT, FEWEST = 20_000, 2_000
"""Items up to which all are compared with all. Beyond, each is compared with some drawn at random: with so many that no
more pairs are looked at, and with that many at the fewest."""
BLOCK = 2_048


def nearest(features: Any, k: int = 10, seed: int = 0, exact: int = EXACT) -> Ints:
    """The `k` likest other items of each. features: (n, d), dense or scipy-sparse -> (n, k), -1 where there are fewer.

    Beyond `exact` items, the likest among some drawn at random.
    """
    n = features.shape[0]
    known = np.arange(n)
    if n > exact:
        many = max(min(FEWEST, exact), exact * exact // n)
        known = np.sort(np.random.default_rng(seed).choice(n, many, replace=False))
    rows = _unit(features)
    anchors = rows[known].T
    if hasattr(anchors, "tocsc"):
        anchors = anchors.tocsc()
    k = min(k, len(known) - 1)
    out = np.full((n, max(k, 0)), -1, np.int64)
    position = np.full(n, -1, np.int64)
    position[known] = np.arange(len(known))
    for begin in range(0, n if k > 0 else 0, BLOCK):
        here = np.arange(begin, min(begin + BLOCK, n))
        like = rows[here] @ anchors
        like = like.toarray() if hasattr(like, "toarray") else like
        own = position[here]
        like[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
        out[here] = known[np.argpartition(-like, k - 1, axis=1)[:, :k]]
    return out


def _unit(features: Any) -> Any:
    """Rows of length one."""
    if hasattr(features, "multiply"):
        length = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())
        from scipy.sparse import diags

        return (diags(1.0 / np.maximum(length, 1e-12)) @ features).tocsr().astype(np.float32)
    dense = np.asarray(features, np.float32)
    return dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)


def neighbours(
    features: Any, labels: Floats, layout: Layout, k: int = 10, seed: int = 0, graph: Ints | None = None
) -> Floats:
    """Log share of each choice among an item's `k` likest others, log((count + .5) / (k' + .5 choices)).

    Args:
        features: (n, d); not looked at where `graph`, what `nearest` gave, is handed in. labels: (n, width) current
            labels as distributions or one-hot, all zero where there is none: such neighbours do not count.
    Returns:
        (n, width); an item's own label is no part of its row.
    """
    graph = nearest(features, k, seed) if graph is None else graph
    out = np.empty(labels.shape, np.float32)
    for begin in range(0, len(labels), BLOCK):
        near = graph[begin : begin + BLOCK]
        share = np.where((near >= 0)[..., None], labels[near], np.float32(0)).sum(axis=1)
        for s in layout.slices:
            total = share[:, s].sum(axis=1, keepdims=True)
            out[begin : begin + BLOCK, s] = np.log((share[:, s] + 0.5) / (total + 0.5 * (s.stop - s.start)))
    return out
