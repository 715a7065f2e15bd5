"""Strategies that look at features: laws of badge, picks of k_center and cal against naive twins, clusters.

The twins are written as the papers tell it, without blocks, bounds or memory, on pools small enough for that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import chi2, kstest

from agent.acquire import badge
from agent.types import Doubles, Layout, PoolView

SINGLE = Layout(("label",), (("a", "b", "c"),))
MULTI = Layout(("x", "y", "z"), (("no", "yes"), ("no", "yes"), ("p", "q", "r")))


def pool(
    layout: Layout, n: int, seed: int, kind: str = "float32", labeled: int = 0, width: int = 6, blobs: int = 0
) -> PoolView:
    """A pool of rows of length one, dense or CSR; with `blobs` they lie in that many clumps."""
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.dirichlet(np.ones(len(c)), n) for c in layout.choices], axis=1)
    x = rng.normal(size=(n + labeled, width))
    if blobs:
        x = rng.normal(size=(blobs, width))[rng.integers(blobs, size=n + labeled)] + 0.01 * x
    if kind == "csr":
        x = np.where(np.abs(x) > 0.6, x, 0)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    points: Any = csr_array(x.astype(np.float32)) if kind == "csr" else x.astype(kind)
    q: Any = p.astype(np.float16 if kind == "float16" else np.float32)
    return PoolView(layout, q, points[:n], points[n:] if labeled else None)


def gradients(view: PoolView) -> Doubles:
    """The embeddings of Ash et al. 2020 in full, (n, width · d)."""
    a = np.array(view.probabilities, dtype=np.float64)
    for s in view.layout.slices:
        a[np.arange(len(a)), s.start + a[:, s].argmax(axis=1)] -= 1
    x = np.asarray(view.features.toarray() if hasattr(view.features, "tocsr") else view.features, dtype=np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return np.asarray(np.einsum("nc,nd->ncd", a, x).reshape(len(a), -1), dtype=np.float64)


def chances(g: Doubles, picked: list[int]) -> Doubles:
    """The law of the next pick of k-means++, (n,)."""
    if not picked:
        weights = (g**2).sum(axis=1)
    else:
        weights = ((g[:, None] - g[picked]) ** 2).sum(axis=2).min(axis=1)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


@pytest.mark.parametrize(("layout", "kind"), [(SINGLE, "float32"), (MULTI, "float16"), (SINGLE, "csr")])
def test_badge_draws_its_first_three_as_kmeans_plus_plus_does(layout: Layout, kind: str) -> None:
    """Chi-square of all ordered triples of 5 candidates over many seeds; the bound is the .999 quantile."""
    view, draws = pool(layout, 5, 1, kind), 700 if kind == "csr" else 3_000
    g = gradients(view)
    expected = {
        (i, j, k): chances(g, [])[i] * chances(g, [i])[j] * chances(g, [i, j])[k]
        for i in range(5)
        for j in range(5)
        for k in range(5)
        if len({i, j, k}) == 3
    }
    seen = dict.fromkeys(expected, 0)
    for seed in range(draws):
        seen[tuple(badge.pick(view, 3, seed).rows.tolist())] += 1
    cells = [key for key in expected if draws * expected[key] >= 5]
    rest = draws - draws * sum(expected[key] for key in cells)
    statistic = sum((seen[key] - draws * expected[key]) ** 2 / (draws * expected[key]) for key in cells)
    statistic += (draws - sum(seen[key] for key in cells) - rest) ** 2 / max(rest, 1)
    assert statistic < chi2.ppf(0.999, len(cells))


@pytest.mark.parametrize("blobs", [0, 12])
def test_every_later_pick_of_badge_follows_the_law_given_those_before(blobs: int) -> None:
    """The randomised rank of each pick in its law is uniform; in clumps bounds must be worked out anew on the way."""
    view, ranks = pool(SINGLE, 400, 3, blobs=blobs), []
    g, noise = gradients(view), np.random.default_rng(0)
    for seed in range(40):
        rows = badge.pick(view, 25, seed).rows.tolist()
        for place in range(25):
            law = chances(g, rows[:place])
            ranks.append(law[: rows[place]].sum() + noise.random() * law[rows[place]])
    assert kstest(ranks, "uniform").pvalue > 1e-3


def test_badge_fills_up_at_random_when_nothing_differs_any_more() -> None:
    same = np.tile(np.array([[0.5, 0.3, 0.2]], dtype=np.float32), (50, 1))
    view = PoolView(SINGLE, same, np.tile(np.eye(4, dtype=np.float32)[:1], (50, 1)))
    assert len({tuple(badge.pick(view, 5, seed).rows) for seed in range(20)}) == 20
    sure = PoolView(SINGLE, np.eye(3, dtype=np.float32)[np.zeros(50, int)], view.features)
    assert len(set(badge.pick(sure, 5, 0).rows.tolist())) == 5
    assert len(badge.pick(PoolView(SINGLE, same), 5, 0).rows) == 5  # no features: at random
