"""Clusters of candidates and their most typical members. Shared by the strategies; knows only features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.acquire import _score
from agent.types import Doubles, Floats, Ints

SAMPLE = 20_000
"""Clusters are sought among at most so many candidates: inertia is 3-4 % worse, and time is bounded."""
CLUSTERS = 500
"""Clusters at most (TypiClust's own limit); with more picks than clusters each gives several."""
NEIGHBOURS = 20


def dense(features: Any, seed: int) -> Floats:
    """Rows of length one, (n, d) float32; sparse rows are reduced to 64 dimensions by a truncated SVD."""
    if hasattr(features, "tocsr"):
        from sklearn.decomposition import TruncatedSVD

        size = min(64, min(features.shape) - 1)
        if size < 1:
            return np.asarray(features.toarray(), dtype=np.float32)
        features = TruncatedSVD(size, n_iter=2, random_state=seed % 2**32).fit_transform(features)
    out = np.asarray(features, dtype=np.float32)
    lengths = np.linalg.norm(out, axis=1, keepdims=True)
    return np.asarray(out / np.maximum(lengths, 1e-12), dtype=np.float32)


def unit(features: Any, rows: Any) -> Any:
    """Some rows made of length one, (k, d) float32 or CSR; a row of zeros stays one. rows: numbers or a slice."""
    if hasattr(features, "tocsr"):
        block = features[rows].astype(np.float32)
        block.data = np.asarray(block.data / np.repeat(_length(block), np.diff(block.indptr)), dtype=np.float32)
        return block
    block = np.array(features[rows], dtype=np.float32)
    block /= _length(block)[:, None]
    return block


def squares(block: Any) -> Doubles:
    """The squared length of every row, (k,)."""
    if hasattr(block, "tocsr"):
        home = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        return np.asarray(np.bincount(home, np.square(block.data, dtype=np.float64), block.shape[0]), dtype=np.float64)
    return np.asarray(np.einsum("ij,ij->i", block, block), dtype=np.float64)


def _length(block: Any) -> Floats:
    return np.maximum(np.sqrt(squares(block)), 1e-12).astype(np.float32)


def dots(first: Any, second: Any) -> Any:
    """Inner products of the rows of both, (k, m), dense whatever came in."""
    product = first @ second.T
    return product.toarray() if hasattr(product, "tocsr") else product


def stack(parts: Sequence[Any]) -> Any:
    """Rows of all, dense or sparse."""
    if hasattr(parts[0], "tocsr"):
        from scipy.sparse import vstack

        return vstack(parts, format="csr")
    return np.concatenate([np.asarray(part) for part in parts])


def sample(total: int, least: int, seed: int) -> Ints:
    """SAMPLE row numbers drawn at random, ascending, or `least` where that is more; all where there are no more."""
    size = max(SAMPLE, least)
    if total <= size:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, size, replace=False))


def kmeans(points: Floats, k: int, seed: int) -> tuple[Ints, Floats]:
    """The cluster of every point, (n,), and the squared distance to its centre, (n,). Clusters may be empty."""
    from sklearn.cluster import MiniBatchKMeans

    k = max(1, min(k, len(points)))
    model = MiniBatchKMeans(
        k,
        random_state=seed % 2**32,
        batch_size=max(1024, 3 * k),
        init_size=min(len(points), 3 * k),
        n_init=1,
        max_iter=20,
    ).fit(points)
    centres = np.asarray(model.cluster_centers_, dtype=np.float32)
    squares = np.einsum("ij,ij->i", centres, centres)
    which = np.empty(len(points), dtype=np.int64)
    far = np.empty(len(points), dtype=np.float32)
    for start in range(0, len(points), 8_192):
        block = points[start : start + 8_192]
        distance = squares - 2 * (block @ centres.T)
        which[start : start + 8_192] = best = distance.argmin(axis=1)
        far[start : start + 8_192] = distance[np.arange(len(block)), best] + np.einsum("ij,ij->i", block, block)
    return which, far


def nearest(points: Floats, k: int, seed: int) -> Ints:
    """The point nearest to each of k centres, at most k row numbers, ascending; each of another cluster."""
    which, far = kmeans(points, k, seed)
    order = np.lexsort((_score.shuffle_keys(np.arange(len(points)), seed), far, which))
    first = np.flatnonzero(np.diff(which[order], prepend=-1))
    return np.sort(order[first])


def typical(candidates: Any, labeled: Any, n: int, seed: int) -> Ints:
    """n row numbers of candidates: the most typical item of the clusters that hold no label yet, biggest first.

    TypiClust (Hacohen, Dekel & Weinshall, ICML 2022): clusters of candidates and labelled items together, as many as
    there will be labels; typicality is the inverse of the mean distance to the 20 nearest neighbours in the cluster.
    """
    rng = np.random.default_rng(seed)
    total = candidates.shape[0]
    many = max(SAMPLE, 2 * n)
    rows = np.sort(rng.choice(total, many, replace=False)) if total > many else np.arange(total)
    m = 0 if labeled is None else labeled.shape[0]
    kept = np.sort(rng.choice(m, SAMPLE, replace=False)) if m > SAMPLE else np.arange(m)
    both = stack([candidates[rows], labeled[kept]]) if len(kept) else candidates[rows]
    points = dense(both, seed)
    which, _ = kmeans(points, min(CLUSTERS, n + len(kept)), seed)
    size = int(which.max()) + 1
    held = np.bincount(which[len(rows) :], minlength=size)
    members = np.bincount(which[: len(rows)], minlength=size)
    ranked = np.concatenate([_by_typicality(points, np.flatnonzero(which[: len(rows)] == c)) for c in range(size)])
    home = which[ranked]
    place = np.arange(len(ranked)) - np.searchsorted(home, home)  # 0 for the most typical of its cluster, then 1, ...
    order = np.lexsort((-members[home], place + held[home]))
    return np.asarray(rows[ranked[order[:n]]], dtype=np.int64)


def _by_typicality(points: Floats, rows: Ints) -> Ints:
    """Members of one cluster, most typical first; of huge clusters every member is compared with 2,000 of them."""
    if len(rows) < 3:
        return rows
    others = rows[np.linspace(0, len(rows) - 1, min(len(rows), 2_000)).astype(np.int64)]
    k = min(NEIGHBOURS + 1, len(others))
    mean = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), 2_048):
        block = points[rows[start : start + 2_048]]
        squared = np.maximum(2 - 2 * (block @ points[others].T), 0)
        mean[start : start + 2_048] = np.sqrt(np.partition(squared, k - 1, axis=1)[:, :k]).mean(axis=1)
    return np.asarray(rows[np.lexsort((rows, mean))], dtype=np.int64)
