"""Strategies that look at features: laws of badge, picks of k_center and cal against naive twins, clusters.

The twins are written as the papers tell it, without blocks, bounds or memory, on pools small enough for that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import chi2, kstest

from agent.acquire import badge, cal, k_center, kmeans, typiclust
from agent.types import Doubles, Ints, Layout, Picks, PoolView

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
    view, draws = pool(layout, 5, 1, kind), 400 if kind == "csr" else 1_500
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
    for seed in range(30):
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


def dense(rows: Any) -> Doubles:
    """Rows of length one, in double precision."""
    x = np.asarray(rows.toarray() if hasattr(rows, "tocsr") else rows, dtype=np.float64)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), dtype=np.float64)


def is_farthest_first(view: PoolView, rows: list[int]) -> bool:
    """Whether each pick is the worst covered of all, as Gonzalez's greedy has it; rows of zeros come last.

    1e-6 is what features of length one in float32 may be wrong by.
    """
    x = dense(view.features)
    m = 0 if view.labeled is None else view.labeled.shape[0]
    near = (x @ dense(view.labeled).T).max(axis=1) if m else x @ x[rows[0]]
    near[~x.any(axis=1)] = 1
    for place in range(0 if m else 1, len(rows)):
        near[rows[:place]] = np.inf
        if near[rows[place]] > near.min() + 1e-6:
            return False
        near = np.maximum(near, x @ x[rows[place]])
    return True


@settings(max_examples=30, deadline=None)
@given(
    total=st.integers(30, 400),
    labeled=st.sampled_from([0, 1, 40]),
    kind=st.sampled_from(["float32", "float16", "csr"]),
    blobs=st.sampled_from([0, 9]),
    seed=st.integers(0, 999),
)
def test_k_center_picks_what_looking_at_everybody_picks(
    total: int, labeled: int, kind: str, blobs: int, seed: int
) -> None:
    view = pool(SINGLE, total, seed, kind, labeled, 12, blobs)
    picks = k_center.pick(view, 20, seed)
    assert is_farthest_first(view, picks.rows.tolist())
    assert (picks.probabilities == 1).all()


@dataclass
class Turns:
    """A pool between turns: which of its items are labelled, and what the strategy remembers of it."""

    features: Any
    labeled: Ints
    memory: dict[str, Any] = field(default_factory=dict)

    def view(self, total: int, warm: bool = True) -> PoolView:
        """The first `total` items; a loop may tell the labelled in any order, and another one each time."""
        stay = np.setdiff1d(np.arange(total), self.labeled)
        done = np.random.default_rng(len(self.labeled)).permutation(self.labeled)
        even = np.full((len(stay), 3), 1 / 3, dtype=np.float32)
        bare = PoolView(SINGLE, even, self.features[stay], self.features[done])
        return replace(bare, rows=stay, labeled_rows=done, memory=self.memory) if warm else bare


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_k_center_picks_the_same_with_and_without_memory(kind: str) -> None:
    """More candidates than are kept up to date, some twice in the pool.

    From turn to turn items are labelled that somebody else chose, and new ones come in; once a pick is not labelled,
    once a labelled item is a candidate again.
    """
    points = pool(SINGLE, 4_000, 5, kind, 0, 16).features
    turns = Turns(np.concatenate([points[:3_000], points[:1_000]]), np.arange(10))
    for number, total in enumerate([3_000, 3_000, 3_400, 4_000, 4_000]):
        warm = turns.view(total)
        picks = k_center.pick(warm, 30, number)
        assert picks.rows.tolist() == k_center.pick(turns.view(total, warm=False), 30, number).rows.tolist()
        assert warm.rows is not None
        others = warm.rows[50 * number : 50 * number + 7]
        turns.labeled = np.union1d(turns.labeled, np.append(warm.rows[picks.rows[number == 2 :]], others))
        turns.labeled = turns.labeled[number == 3 :]
    last = turns.view(4_000)
    assert is_farthest_first(last, k_center.pick(last, 30, 0).rows.tolist())


def test_k_center_starts_anew_where_candidates_have_no_numbers() -> None:
    memory: dict[str, Any] = {}
    for seed in (1, 2, 1):
        view = pool(SINGLE, 500, seed, labeled=5)
        kept = replace(view, memory=memory)
        assert k_center.pick(kept, 9, 0).rows.tolist() == k_center.pick(view, 9, 0).rows.tolist()
    assert not memory


@pytest.mark.parametrize("kind", ["float32", "csr"])
def test_kmeans_visits_every_clump(kind: str) -> None:
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(6), [40, 30, 20, 30, 40, 25])
    x = np.eye(6, 80)[which] + 0.001 * rng.normal(size=(len(which), 80)) * (rng.random((len(which), 80)) < 0.2)
    points: Any = csr_array(x.astype(np.float32)) if kind == "csr" else x.astype(np.float32)
    even = np.full((len(which), 3), 1 / 3, dtype=np.float32)
    for strategy in (kmeans, typiclust):
        rows = strategy.pick(PoolView(SINGLE, even, points), 6, 1).rows
        assert len(set(which[rows].tolist())) >= 5, strategy  # k-means may split one and join two others


def contrasts(view: PoolView, q: Doubles, count: int) -> Doubles:
    """Margatina et al. 2021 as told: every neighbour's divergence by itself, then their mean."""
    x, known = dense(view.features), dense(view.labeled)
    p = np.maximum(np.asarray(view.probabilities, np.float64), cal.LEAST)
    out = []
    for i in range(len(x)):
        near = np.argsort(-(known @ x[i]))[:count]
        out.append(np.mean([(q[j] * (np.log(np.maximum(q[j], cal.LEAST)) - np.log(p[i]))).sum() for j in near]))
    return np.array(out)


@pytest.mark.parametrize(("layout", "kind"), [(SINGLE, "float32"), (MULTI, "float16"), (SINGLE, "csr")])
@pytest.mark.parametrize("labeled", [4, 60])
def test_cal_scores_as_every_neighbour_by_itself(layout: Layout, kind: str, labeled: int) -> None:
    view = pool(layout, 300, 2, kind, labeled, 16)
    said = pool(layout, labeled, 3).probabilities
    full = PoolView(layout, view.probabilities, view.features, view.labeled, said=said)
    wanted = contrasts(view, np.asarray(said, np.float64), cal.NEIGHBOURS)
    picks = cal.pick(full, 12, 0)
    assert np.allclose(wanted[picks.rows], np.sort(wanted)[::-1][:12], rtol=1e-4)
    taught = PoolView(layout, view.probabilities, view.features, view.labeled, targets=said)
    assert cal.pick(taught, 12, 0).rows.tolist() == picks.rows.tolist()


def test_cal_looks_at_the_doubtful_alone_where_all_would_be_too_many() -> None:
    m = 2_000
    view = pool(SINGLE, cal.MOST // m + 500, 2, labeled=m, width=2)
    full = PoolView(SINGLE, view.probabilities, view.features, view.labeled, said=pool(SINGLE, m, 3).probabilities)
    ordered = np.sort(view.probabilities, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    picks = cal.pick(full, 50, 0)
    assert margins[picks.rows].max() <= np.sort(margins)[cal.MOST // m]


@pytest.mark.parametrize("strategy", [badge, cal, k_center, kmeans, typiclust])
@settings(max_examples=20, deadline=None)
@given(
    total=st.integers(0, 60),
    n=st.integers(0, 70),
    seed=st.integers(0, 2**40),
    labeled=st.sampled_from([0, 1, 30]),
    layout=st.sampled_from([SINGLE, MULTI]),
    kind=st.sampled_from(["float32", "float16", "csr"]),
    features=st.booleans(),
)
def test_rows_are_distinct_and_the_seed_decides(
    strategy: Any, total: int, n: int, seed: int, labeled: int, layout: Layout, kind: str, features: bool
) -> None:
    made = pool(layout, total, 7, kind, labeled)
    said = pool(layout, labeled, 8).probabilities if labeled else None
    view = made if features else PoolView(layout, made.probabilities)
    view = PoolView(layout, view.probabilities, view.features, view.labeled, said=said)
    first, second = strategy.pick(view, n, seed), strategy.pick(view, n, seed)
    check(first, total, n)
    assert first.rows.tolist() == second.rows.tolist()


def check(picks: Picks, total: int, n: int) -> None:
    assert len(picks.rows) == len(picks.probabilities) == min(n, total) == len(set(picks.rows.tolist()))
    assert picks.rows.dtype == np.int64 and picks.probabilities.dtype == np.float32
    assert ((picks.rows >= 0) & (picks.rows < total)).all()
    assert ((picks.probabilities > 0) & (picks.probabilities <= 1)).all()


@pytest.mark.parametrize("strategy", [badge, cal, k_center, kmeans, typiclust])
def test_memory_mapped_rows_are_picked_as_those_in_memory(strategy: Any, tmp_path: Any) -> None:
    view = pool(SINGLE, 3_000, 4, "float16", 20)
    said = pool(SINGLE, 20, 8).probabilities
    maps = []
    for name, rows in (("p", view.probabilities), ("x", view.features)):
        np.save(tmp_path / f"{name}.npy", rows)
        maps.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    there = PoolView(SINGLE, view.probabilities, view.features, view.labeled, said=said)
    mapped = PoolView(SINGLE, maps[0], maps[1], view.labeled, said=said)
    assert strategy.pick(mapped, 25, 3).rows.tolist() == strategy.pick(there, 25, 3).rows.tolist()
