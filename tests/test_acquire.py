"""Acquisition: laws that hold for every strategy, and what each promises of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from agent import plugins
from agent.acquire import _score, auto, entropy, least_confidence, margin, random, typiclust
from agent.types import Layout, Picks, PoolView

ALL = (auto, entropy, least_confidence, margin, random, typiclust)
DOUBT = (entropy, least_confidence, margin)
SINGLE = Layout(("label",), (("a", "b", "c"),))
MULTI = Layout(("x", "y", "z"), (("no", "yes"), ("no", "yes"), ("p", "q", "r")))


def pool(layout: Layout, n: int, seed: int, labeled: int = 0, sparse: bool = False, features: bool = True) -> PoolView:
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.dirichlet(np.ones(len(c)), n) for c in layout.choices], axis=1).astype(np.float32)
    points: Any = rng.normal(size=(n + labeled, 8)).astype(np.float32)
    points = csr_array(np.where(points > 0.8, points, 0)) if sparse else points
    seen = points[n:] if labeled else None
    return PoolView(layout, rows, points[:n] if features else None, seen if features else None)


def reversed_view(view: PoolView) -> PoolView:
    return PoolView(view.layout, view.probabilities[::-1].copy(), view.features, view.labeled)


def check(picks: Picks, total: int, n: int) -> None:
    assert len(picks.rows) == len(picks.probabilities) == min(n, total)
    assert len(set(picks.rows.tolist())) == len(picks.rows)
    assert picks.rows.dtype == np.int64 and picks.probabilities.dtype == np.float32
    assert ((picks.rows >= 0) & (picks.rows < total)).all()
    assert ((picks.probabilities > 0) & (picks.probabilities <= 1)).all()


@pytest.mark.parametrize("strategy", ALL)
@settings(max_examples=25, deadline=None)
@given(
    total=st.integers(0, 60),
    n=st.integers(0, 70),
    seed=st.integers(0, 2**40),
    labeled=st.sampled_from([0, 1, 30]),
    layout=st.sampled_from([SINGLE, MULTI]),
    sparse=st.booleans(),
    features=st.booleans(),
)
def test_rows_are_distinct_chances_valid_and_the_seed_decides(
    strategy: Any, total: int, n: int, seed: int, labeled: int, layout: Layout, sparse: bool, features: bool
) -> None:
    view = pool(layout, total, 7, labeled, sparse, features)
    first, second = strategy.pick(view, n, seed), strategy.pick(view, n, seed)
    check(first, total, n)
    assert first.rows.tolist() == second.rows.tolist()
    assert first.probabilities.tolist() == second.probabilities.tolist()


def test_every_strategy_is_found_by_its_name() -> None:
    assert set(plugins.names("acquire")) >= {"auto", "entropy", "least_confidence", "margin", "random", "typiclust"}
    assert plugins.load("acquire", "margin").pick is margin.pick


@pytest.mark.parametrize("strategy", DOUBT)
@settings(max_examples=25, deadline=None)
@given(total=st.integers(1, 80), n=st.integers(1, 20), seed=st.integers(0, 99), layout=st.sampled_from([SINGLE, MULTI]))
def test_doubt_does_not_depend_on_the_order_of_candidates(
    strategy: Any, total: int, n: int, seed: int, layout: Layout
) -> None:
    view = pool(layout, total, seed)
    forth = strategy.pick(view, n, seed).rows
    back = total - 1 - strategy.pick(reversed_view(view), n, seed).rows
    assert sorted(forth.tolist()) == sorted(back.tolist())


@settings(max_examples=40, deadline=None)
@given(total=st.integers(1, 80), n=st.integers(1, 20), seed=st.integers(0, 99), layout=st.sampled_from([SINGLE, MULTI]))
def test_margin_is_the_brute_force(total: int, n: int, seed: int, layout: Layout) -> None:
    view = pool(layout, total, seed)
    brute = []
    for row in view.probabilities:
        gaps = []
        for columns in layout.slices:
            first, second = sorted(row[columns].tolist(), reverse=True)[:2]
            gaps.append(first - second)
        brute.append(min(gaps))
    wanted = sorted(range(total), key=lambda i: brute[i])[:n]
    assert sorted(margin.pick(view, n, seed).rows.tolist()) == sorted(wanted)


@pytest.mark.parametrize("score", [_score.margin, _score.entropy, _score.least_confidence])
@pytest.mark.parametrize("choices", [1, 2, 5])
def test_scores_run_from_sure_to_no_idea(score: Any, choices: int) -> None:
    sure, even = np.eye(choices, dtype=np.float32)[:1], np.full((1, choices), 1 / choices, dtype=np.float32)
    assert score(sure)[0] == pytest.approx(0, abs=1e-6)
    assert score(even)[0] == pytest.approx(1 if choices > 1 else 0, abs=1e-6)


def test_scoring_in_blocks_is_scoring_at_once() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(3), _score.BLOCK + 10).astype(np.float32)
    assert np.array_equal(_score.doubt(PoolView(SINGLE, p), _score.margin), _score.margin(p))


@pytest.mark.parametrize("strategy", [random, margin])
def test_an_untrained_pool_is_drawn_from_uniformly(strategy: Any) -> None:
    """With all candidates tied the chance told is n / N, and it is the frequency seen."""
    view = PoolView(SINGLE, np.full((20, 3), 1 / 3, dtype=np.float32))
    counts = np.zeros(20)
    for seed in range(2_000):
        picks = strategy.pick(view, 5, seed)
        assert picks.probabilities.tolist() == [0.25] * 5
        counts[picks.rows] += 1
    assert abs(counts / 2_000 - 0.25).max() < 0.05  # 5 standard errors


def test_ties_at_the_last_place_have_their_chance_told() -> None:
    p = np.array([[0.5, 0.5, 0]] + [[0.7, 0.3, 0]] * 4 + [[1, 0, 0]] * 3, dtype=np.float32)
    counts = np.zeros(8)
    for seed in range(1_000):
        picks = margin.pick(PoolView(SINGLE, p), 3, seed)
        told = dict(zip(picks.rows.tolist(), picks.probabilities.tolist(), strict=True))
        assert told.pop(0) == 1 and set(told.values()) == {0.5} and set(told) <= {1, 2, 3, 4}
        counts[picks.rows] += 1
    assert counts[0] == 1_000 and abs(counts[1:5] / 1_000 - 0.5).max() < 0.08 and not counts[5:].any()


def blobs(sizes: list[int], seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    which = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.eye(len(sizes), 16) * 10
    return (centres[which] + rng.normal(scale=0.5, size=(len(which), 16))).astype(np.float32), which


def test_typiclust_visits_every_cluster_and_then_those_without_labels() -> None:
    points, which = blobs([40, 30, 20, 30, 40, 25])
    even = np.full((len(points), 3), 1 / 3, dtype=np.float32)
    picks = typiclust.pick(PoolView(SINGLE, even, points), 6, 0)
    assert sorted(which[picks.rows].tolist()) == [0, 1, 2, 3, 4, 5]
    seen = points[np.isin(which, [0, 1, 2])][::30]
    picks = typiclust.pick(PoolView(SINGLE, even, points, seen), 3, 0)
    assert len(set(which[picks.rows].tolist()) & {3, 4, 5}) >= 2  # k-means may split one and join two others


def test_typiclust_takes_the_typical_and_leaves_the_outlier() -> None:
    points, _ = blobs([60])
    points[17] += 30 * np.eye(16, dtype=np.float32)[3]
    view = PoolView(SINGLE, np.full((60, 3), 1 / 3, dtype=np.float32), points)
    assert all(17 not in typiclust.pick(view, 1, seed).rows for seed in range(10))
