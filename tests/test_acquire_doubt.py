"""Strategies of doubt: the picks of a naive implementation, whatever the arrays are kept in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.special import rel_entr
from scipy.stats import spearmanr

from agent import plugins
from agent.acquire import (
    _score,
    bald,
    entropy,
    expected_change,
    expected_error,
    information_density,
    least_confidence,
    margin,
    random,
)
from agent.types import Layout, Picks, PoolView

LAYOUTS = {
    "single": Layout(("label",), (tuple("abcdefghijk"),)),
    "one class": Layout(("label",), (("only",),)),
    "two": Layout(("label",), (("no", "yes"),)),
    "many": Layout(("x", "y", "z"), (("no", "yes"), ("p", "q", "r", "s"), ("only",))),
    "alike": Layout(("x", "y", "z"), (("no", "yes"),) * 3),
}
WIDE = {
    "banking": Layout(("label",), (tuple(map(str, range(77))),)),
    "atoms": Layout(("x", "y", "z"), (tuple(map(str, range(60))), tuple("abcdefghijklmnop"), ("only",))),
    "tags": Layout(tuple(map(str, range(40))), (("no", "yes"),) * 40),
}
"""So wide that a few thousand rows fill several blocks."""
Array = np.ndarray[Any, Any]


def rows(layout: Layout, n: int, seed: int, peaked: float, grid: bool) -> Array:
    """Rows of distributions; grid: of tenths and halves, so that many tie."""
    rng = np.random.default_rng(seed)
    parts = []
    for choices in layout.choices:
        p = rng.standard_gamma(peaked, (n, len(choices))) + 1e-9
        p /= p.sum(axis=1, keepdims=True)
        if grid:
            p = np.eye(len(choices))[rng.integers(len(choices), size=n)] * 0.5 + 0.5 / len(choices)
            p[::3] = 1 / len(choices)
        parts.append(p)
    return np.concatenate(parts, axis=1).astype(np.float32)


@st.composite
def views(draw: st.DrawFn, members: int = 0, features: bool = False, wide: bool = False) -> PoolView:
    layouts = WIDE if wide else LAYOUTS
    layout = layouts[draw(st.sampled_from(sorted(layouts)))]
    n, seed = draw(st.integers(4_000, 9_000) if wide else st.integers(1, 300)), draw(st.integers(0, 2**32))
    peaked, grid = draw(st.sampled_from([0.02, 0.3, 1.0, 30.0])), draw(st.booleans())
    kind = draw(st.sampled_from([np.float32, np.float16]))
    every = [rows(layout, n, seed + k, peaked, grid).astype(kind) for k in range(members + 1)]
    points: Any = None
    if features:
        points = np.random.default_rng(seed).normal(size=(n, 6)).astype(kind)
        points[::7] = 0  # an empty text
        points /= np.maximum(np.linalg.norm(points.astype(np.float32), axis=1, keepdims=True), 1e-6).astype(kind)
        if draw(st.booleans()):
            points = csr_array(points.astype(np.float32))
    return PoolView(layout, every[0], points, members=every[1:])


def same(first: Picks, second: Picks) -> None:
    assert first.rows.tolist() == second.rows.tolist()
    assert first.probabilities.tolist() == second.probabilities.tolist()


def wanted(view: PoolView, scores: Array, n: int, seed: int) -> Picks:
    return _score.top(np.asarray(scores, dtype=np.float32), n, seed)


@pytest.mark.parametrize(
    ("strategy", "score"),
    [(margin, _score.margin), (entropy, _score.entropy), (least_confidence, _score.least_confidence)],
)
@settings(max_examples=25, deadline=None)
@given(view=st.one_of(views(wide=True), views()), n=st.integers(1, 600), seed=st.integers(0, 9))
def test_what_is_left_out_unscored_would_not_have_been_picked(
    strategy: Any, score: _score.Score, view: PoolView, n: int, seed: int
) -> None:
    same(strategy.pick(view, n, seed), wanted(view, _score.doubt(view, score), n, seed))


@pytest.mark.parametrize("measure", [_score.MARGIN, _score.ENTROPY, _score.LEAST_CONFIDENCE])
@settings(max_examples=60, deadline=None)
@given(view=views())
def test_no_score_exceeds_its_bound(measure: _score.Measure, view: PoolView) -> None:
    bounds = _score.bounds(view.probabilities, view.layout, measure.bound)
    assert (_score.doubt(view, measure.score) <= bounds).all()
    assert np.isfinite(bounds).all()


def naive_information(view: PoolView) -> Array:
    """Mean Kullback-Leibler divergence of the members from their mean, divided by log C: another form of the same."""
    members = np.stack([np.asarray(m, dtype=np.float64) for m in view.members])
    found = []
    for atom in view.layout.slices:
        p = members[:, :, atom]
        spread = rel_entr(p, np.broadcast_to(p.mean(axis=0), p.shape)).sum(axis=2).mean(axis=0)
        found.append(spread / np.log(p.shape[2]) if p.shape[2] > 1 else 0 * spread)
    return np.asarray(np.max(found, axis=0))


@settings(max_examples=12, deadline=None)
@given(view=st.one_of(views(members=3, wide=True), views(members=4)), n=st.integers(1, 300), seed=st.integers(0, 9))
def test_bald_picks_by_mutual_information(view: PoolView, n: int, seed: int) -> None:
    exact = bald.information([np.asarray(m, dtype=np.float32) for m in view.members], view.layout)
    same(bald.pick(view, n, seed), wanted(view, exact, n, seed))
    if view.probabilities.dtype == np.float32:  # what is stored as float16 does not sum to one
        assert np.allclose(exact, naive_information(view), atol=2e-5)


def test_bald_wants_members_that_are_sure_and_disagree() -> None:
    layout = Layout(("label",), (("a", "b"),))
    first = np.array([[1, 0], [0.5, 0.5], [1, 0], [0.9, 0.1]], dtype=np.float32)
    second = np.array([[1, 0], [0.5, 0.5], [0, 1], [0.6, 0.4]], dtype=np.float32)
    view = PoolView(layout, (first + second) / 2, members=(first, second))
    assert bald.pick(view, 2, 0).rows.tolist() == [2, 3]
    assert bald.information([first, second], layout)[2] == pytest.approx(1)
    alone = PoolView(layout, view.probabilities, members=(first,))
    same(bald.pick(alone, 2, 0), entropy.pick(alone, 2, 0))


def naive_change(view: PoolView) -> Array:
    """The length of the whole gradient matrix, for every choice, one by one."""
    x = view.features.toarray() if hasattr(view.features, "tocsr") else view.features
    out = []
    for i, p in enumerate(np.asarray(view.probabilities, dtype=np.float64)):
        own = np.ones(1) if x is None else x[i].astype(np.float64)
        total = 0.0
        for atom in view.layout.slices:
            q = p[atom]
            total += sum(q[c] * np.linalg.norm(np.outer(q - np.eye(len(q))[c], own)) for c in range(len(q)))
        out.append(total)
    return np.array(out)


@settings(max_examples=30, deadline=None)
@given(view=views(features=True), n=st.integers(1, 100), seed=st.integers(0, 9))
def test_expected_change_is_the_mean_length_of_the_gradient(view: PoolView, n: int, seed: int) -> None:
    naive = naive_change(view)
    picks = expected_change.pick(view, n, seed)
    n = min(n, len(naive))
    assert len(set(picks.rows.tolist())) == n
    # rows may trade places with those of the same score but for rounding
    assert np.allclose(np.sort(naive[picks.rows]), np.sort(naive)[len(naive) - n :], atol=2e-3)
    bare = PoolView(view.layout, view.probabilities)
    floats = np.asarray(view.probabilities, dtype=np.float32)
    same(expected_change.pick(bare, n, seed), wanted(bare, expected_change.length(floats, view.layout), n, seed))


@settings(max_examples=40, deadline=None)
@given(view=views(features=True), n=st.integers(1, 100), seed=st.integers(0, 9))
def test_information_density_is_doubt_times_mean_cosine(view: PoolView, n: int, seed: int) -> None:
    x = view.features.toarray() if hasattr(view.features, "tocsr") else np.asarray(view.features, dtype=np.float32)
    density = np.maximum((x @ x.T).mean(axis=1), 0)
    naive = _score.doubt(view, _score.entropy) * density
    picks = information_density.pick(view, n, seed)
    n = min(n, len(naive))
    assert len(set(picks.rows.tolist())) == n
    assert np.allclose(np.sort(naive[picks.rows]), np.sort(naive)[len(naive) - n :], atol=1e-4)
    bare = PoolView(view.layout, view.probabilities)
    same(information_density.pick(bare, n, seed), entropy.pick(bare, n, seed))


def test_an_outlier_is_doubtful_but_not_dense() -> None:
    rng = np.random.default_rng(0)
    x = np.eye(1, 8) + rng.normal(scale=0.1, size=(50, 8))
    x[9] = -np.eye(1, 8)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    p = np.tile(np.array([[0.7, 0.3]], dtype=np.float32), (50, 1))
    p[9] = 0.5
    view = PoolView(LAYOUTS["two"], p, x)
    assert entropy.pick(view, 1, 0).rows.tolist() == [9]
    assert 9 not in information_density.pick(view, 49, 0).rows


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def doubt_left(p: Array) -> float:
    return float(-(p * np.log(np.maximum(p, 1e-300))).sum())


def taught_world(seed: int, atoms: int = 1) -> tuple[Layout, Array, Array, Array]:
    """A layout, features of a pool, its logits by a linear head, and labelled features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 5))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    layout = Layout(tuple(f"a{k}" for k in range(atoms)), (("p", "q", "r"),) * atoms)
    weights = rng.normal(size=(5, 3 * atoms)) * 2
    return layout, x, x @ weights, rng.normal(size=(12, 5)) / 3


def brute_force(layout: Layout, x: Array, z: Array, taught: Array, scale: float) -> Array:
    """Expected entropy taken away by one Newton step for each label of each item, with the step `scale` times."""
    precision = expected_error.PENALTY * np.eye(x.shape[1]) + expected_error.CURVATURE * taught.T @ taught
    inverse = np.linalg.inv(precision)
    gain = np.zeros(len(x))
    for atom in layout.slices:
        p = softmax(z[:, atom])
        for i in range(len(x)):
            k = scale * (x @ inverse @ x[i]) / (1 + expected_error.CURVATURE * x[i] @ inverse @ x[i])
            for c in range(p.shape[1]):
                moved = z[:, atom] + np.outer(k, np.eye(p.shape[1])[c] - p[i])
                gain[i] += p[i, c] * (doubt_left(p) - doubt_left(softmax(moved)))
    return gain


@pytest.mark.parametrize("atoms", [1, 2])
def test_expected_error_is_the_second_order_of_one_newton_step(atoms: int) -> None:
    """Steps a hundredth as long gain a ten-thousandth, to the third order; whole ones rank nearly alike."""
    layout, x, z, taught = taught_world(1, atoms)
    p = np.concatenate([softmax(z[:, s]) for s in layout.slices], axis=1)
    found = expected_error.gains(x, p, x, p, taught, layout)
    assert np.allclose(found, 1e4 * brute_force(layout, x, z, taught, 0.01), rtol=0.02, atol=2e-3)
    assert spearmanr(found, brute_force(layout, x, z, taught, 1.0)).statistic > 0.9


def test_expected_error_prefers_what_teaches_about_many() -> None:
    """Two groups are equally doubtful; the bigger one gains more from a label."""
    rng = np.random.default_rng(0)
    home = np.repeat([0, 1], [90, 10])
    x = (np.eye(6)[home] + rng.normal(scale=0.05, size=(100, 6))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    p = np.tile(np.array([[0.8, 0.2]], dtype=np.float32), (100, 1))
    view = PoolView(LAYOUTS["two"], p, x, x[:0])
    assert (home[expected_error.pick(view, 20, 0).rows] == 0).all()


ALL = (bald, entropy, expected_change, expected_error, information_density, least_confidence, margin, random)


@pytest.mark.parametrize("strategy", ALL)
@settings(max_examples=15, deadline=None)
@given(view=views(members=3, features=True), n=st.integers(0, 1_000), seed=st.integers(0, 2**40))
def test_any_view_gives_distinct_rows_with_their_chances(strategy: Any, view: PoolView, n: int, seed: int) -> None:
    picks = strategy.pick(view, n, seed)
    total = len(view.probabilities)
    assert len(picks.rows) == len(picks.probabilities) == len(set(picks.rows.tolist())) == min(n, total)
    assert picks.rows.dtype == np.int64 and picks.probabilities.dtype == np.float32
    assert ((picks.rows >= 0) & (picks.rows < total)).all()
    assert ((picks.probabilities > 0) & (picks.probabilities <= 1)).all()  # and so none is NaN
    same(picks, strategy.pick(view, n, seed))


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_memory_map_gives_the_same_picks(strategy: Any, kind: Any, tmp_path: Path) -> None:
    layout = LAYOUTS["many"]
    arrays = {str(k): rows(layout, 500, k, 0.3, False).astype(kind) for k in range(4)}
    x = np.random.default_rng(0).normal(size=(500, 8))
    arrays["x"] = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(kind)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    load: Callable[[str], Any] = lambda name: np.load(tmp_path / f"{name}.npy", mmap_mode="r")  # noqa: E731
    views_ = [
        PoolView(layout, get("0"), get("x"), get("x")[:50], members=[get(str(k)) for k in (1, 2, 3)])
        for get in (arrays.__getitem__, load)
    ]
    same(strategy.pick(views_[0], 40, 5), strategy.pick(views_[1], 40, 5))
    assert type(strategy.pick(views_[1], 40, 5).rows) is np.ndarray


@settings(max_examples=20, deadline=None)
@given(view=views(wide=True), n=st.integers(1, 600), seed=st.integers(0, 9))
def test_expected_change_in_blocks_is_that_at_once(view: PoolView, n: int, seed: int) -> None:
    floats = np.asarray(view.probabilities, dtype=np.float32)
    same(expected_change.pick(view, n, seed), wanted(view, expected_change.length(floats, view.layout), n, seed))


@settings(max_examples=40, deadline=None)
@given(total=st.integers(1, 400), step=st.integers(1, 50), n=st.integers(1, 60), seed=st.integers(0, 9))
def test_a_search_in_blocks_of_any_size_is_the_top_of_all(total: int, step: int, n: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 40, total).astype(np.float32)

    def found(start: int, stop: int, floor: float) -> tuple[Any, Any]:
        kept = np.flatnonzero(scores[start:stop] >= floor) + start
        return kept, scores[kept]

    same(_score.search(total, step, n, seed, found), _score.top(scores, n, seed))


def test_the_strategies_are_found_by_their_names() -> None:
    for strategy in ALL:
        name = strategy.__name__.rsplit(".", 1)[-1]
        assert plugins.load("acquire", name).pick is strategy.pick
