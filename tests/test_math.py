"""Pooling, calibration and routing: laws on arrays, and what they do to known votes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import aggregate, calibrate
from agent.route import ABSTAIN, ACCEPT, ASK, route
from agent.types import Floats, Layout

TWO = Layout(("label",), (("a", "b"),))
MANY = Layout(("x", "y"), (("no", "yes"), ("no", "yes")))
FOUR = Layout(("label",), (("a", "b", "c", "d"),))


def votes(n: int, layout: Layout, lean: Floats, noise: float, seed: int) -> tuple[Floats, np.ndarray]:
    """Log-probabilities of a model that knows something and leans: right choice +1.5, plus `lean`, plus noise."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, layout.width, n)
    logits = rng.normal(0, noise, (n, layout.width)) + lean
    logits[np.arange(n), truth] += 1.5
    return np.asarray(logits, np.float32), truth


@given(st.sampled_from([TWO, MANY, FOUR]), st.integers(0, 10**6), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_batch_calibration_gives_distributions_and_does_not_see_a_constant(layout: Layout, seed: int, n: int) -> None:
    logits, _ = votes(n, layout, np.zeros(layout.width), 2.0, seed)
    out = calibrate.batch(logits, layout)
    for s in layout.slices:
        assert np.allclose(out[:, s].sum(axis=1), 1, atol=1e-5)
    leaning = logits + np.linspace(-3, 3, layout.width).astype(np.float32)
    assert np.allclose(calibrate.batch(leaning, layout), out, atol=1e-4)


def test_batch_calibration_undoes_a_lean_without_any_gold() -> None:
    logits, truth = votes(2000, FOUR, np.array([3.0, 0, 0, -1]), 1.0, 0)
    raw = (FOUR.normalise(logits).argmax(axis=1) == truth).mean()
    mended = (calibrate.batch(logits, FOUR).argmax(axis=1) == truth).mean()
    assert raw < 0.5 < 0.7 < mended


@given(st.sampled_from([TWO, MANY, FOUR]), st.integers(0, 10**6), st.integers(0, 60))
def test_shares_are_shares_and_do_not_depend_on_the_order(layout: Layout, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    said = np.concatenate([np.eye(s.stop - s.start)[rng.integers(0, s.stop - s.start, n)] for s in layout.slices], 1)
    found = calibrate.shares(said.astype(np.float32), layout)
    assert (found > 0).all()
    for s in layout.slices:
        assert np.isclose(found[s].sum(), 1, atol=1e-5)
    assert np.array_equal(found, calibrate.shares(said[::-1].astype(np.float32), layout))


def test_shares_stay_even_by_chance_and_move_when_people_say_so() -> None:
    evenly = np.eye(2, dtype=np.float32)[[0] * 47 + [1] * 53]
    rare = np.eye(2, dtype=np.float32)[[0] * 88 + [1] * 12]
    assert np.allclose(calibrate.shares(evenly, TWO), 0.5, atol=1e-3)
    assert np.allclose(calibrate.shares(rare, TWO), [0.88, 0.12], atol=0.02)
    assert np.allclose(calibrate.shares(rare[:0], TWO), 0.5)


def test_people_keep_batch_calibration_from_flattening_a_pool() -> None:
    """One choice in eight is rare and the model knows little: batch calibration alone finds it everywhere."""
    rng = np.random.default_rng(4)
    truth = (rng.random(1200) < 0.125).astype(int)
    logits = rng.normal(0, 1.5, (1200, 2)) + np.array([-2.0, 2.0])
    logits[np.arange(1200), truth] += 0.8
    asked = np.arange(100)
    said = np.eye(2, dtype=np.float32)[truth[asked]]
    raw = np.asarray(logits, np.float32)
    even = calibrate.batch(raw, TWO)
    better = calibrate.damped(raw, TWO, asked, said, calibrate.shares(said, TWO))

    def right(p: Floats) -> float:
        return float((p[100:].argmax(axis=1) == truth[100:]).mean())

    def gap(p: Floats) -> float:
        return abs(float(p[100:].max(axis=1).mean()) - right(p))

    assert right(even) < 0.7 < 0.84 < right(better)
    assert gap(better) < 0.08 < gap(even)


def test_without_answers_damping_keeps_the_order_of_batch_calibration() -> None:
    logits, _ = votes(300, FOUR, np.array([3.0, 0, 0, -1]), 1.0, 5)
    none = np.zeros((0, 4), np.float32)
    out = calibrate.damped(logits, FOUR, np.zeros(0, np.int64), none, calibrate.shares(none, FOUR))
    assert np.array_equal(out.argmax(axis=1), calibrate.batch(logits, FOUR).argmax(axis=1))


def test_what_a_model_says_of_every_item_does_not_matter_to_damping() -> None:
    logits, truth = votes(400, FOUR, np.zeros(4), 1.0, 6)
    rows, said = np.arange(80), np.eye(4, dtype=np.float32)[truth[:80]]
    share = calibrate.shares(said, FOUR)
    leaning = logits + np.array([-3, 0, 2, 5], np.float32)
    one, other = (calibrate.damped(x, FOUR, rows, said, share) for x in (logits, leaning))
    assert np.allclose(one, other, atol=1e-3)


def test_weights_find_out_who_is_to_be_believed() -> None:
    good, truth = votes(400, FOUR, np.zeros(4), 0.7, 2)
    noise = np.random.default_rng(3).normal(0, 2, good.shape).astype(np.float32)
    said = np.eye(4, dtype=np.float32)[truth]
    sources = [calibrate.logs(FOUR.normalise(x)) for x in (good, noise)]
    w = calibrate.fit_weights(sources, said, FOUR, [0.5, 0.5])
    assert w[0] > 0.8 and w[1] < 0.15
    everyone = np.ones(400, bool)
    pooled = aggregate.soft_pool(sources, [everyone, everyone], w, FOUR)
    right = (pooled.argmax(axis=1) == truth).mean()
    # Calibrated: what is said to be right with chance p is, within four standard errors of 400 coin flips.
    assert abs(aggregate.confidence(pooled, FOUR).mean() - right) < 4 * 0.5 / 20


def test_without_answers_the_weights_stay_where_they_start() -> None:
    assert calibrate.fit_weights([np.zeros((0, 4), np.float32)], np.zeros((0, 4), np.float32), FOUR, [0.7]) == [0.7]


def test_the_fit_is_at_a_minimum() -> None:
    logits, truth = votes(60, FOUR, np.zeros(4), 1.0, 5)
    source, said = calibrate.logs(FOUR.normalise(logits)), np.eye(4, dtype=np.float32)[truth]
    (w,) = calibrate.fit_weights([source], said, FOUR, [1.0], spread=0.5)

    def loss(x: float) -> float:
        logp = calibrate.logs(FOUR.normalise(np.float32(x) * source))
        return float(-(said * logp).sum() + (x - 1) ** 2 / (2 * 0.25))

    assert loss(w) <= min(loss(w + 0.05), loss(max(w - 0.05, 0))) + 1e-3


def test_a_coin_read_from_votes_gives_its_own_accuracy_back() -> None:
    counts = np.eye(4, dtype=np.float32)
    p = FOUR.normalise(calibrate.vote_logs(counts, np.ones(4, np.float32), 0.8, FOUR))
    assert np.allclose(p.max(axis=1), 0.8, atol=1e-5)
    twice = FOUR.normalise(calibrate.vote_logs(2 * counts, np.full(4, 2, np.float32), 0.8, FOUR))
    assert np.allclose(twice, p), "samples of one model are one vote"
    assert calibrate.coin(np.zeros(0, bool)) == 0.75
    assert calibrate.coin(np.ones(400, bool)) > 0.99


def test_who_was_not_heard_says_nothing() -> None:
    rows = np.log(np.array([[0.9, 0.1], [0.9, 0.1]], np.float32))
    out = aggregate.soft_pool([rows], [np.array([True, False])], [1.0], TWO)
    assert np.allclose(out, [[0.9, 0.1], [0.5, 0.5]], atol=1e-5)


def test_confidence_is_of_the_whole_label() -> None:
    rows = np.array([[0.9, 0.1, 0.2, 0.8]], np.float32)
    assert aggregate.confidence(rows, MANY) == pytest.approx(0.72)
    assert aggregate.choices(rows, MANY).tolist() == [[0, 1]]


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_the_router_climbs_only_as_far_as_needed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, rungs = 30, 3
    heard, open_to = rng.random((n, rungs)) < 0.5, rng.random((n, rungs)) < 0.7
    sure, doubt = rng.random(n).astype(np.float32), rng.random(n) < 0.1
    out = route(sure, heard, [0.9, 0.8, 0.0], open_to, doubt)
    for i in range(n):
        level = max((r for r in range(rungs) if heard[i, r]), default=-1)
        further = [r for r in range(level + 1, rungs) if open_to[i, r]]
        if doubt[i]:
            assert out.action[i] == ABSTAIN
        elif level >= 0 and sure[i] >= [0.9, 0.8, 0.0][level]:
            assert (out.action[i], out.rung[i]) == (ACCEPT, level)
        elif further:
            assert (out.action[i], out.rung[i]) == (ASK, further[0])
        else:
            assert out.action[i] == ABSTAIN


def test_a_higher_bar_never_accepts_more() -> None:
    sure = np.linspace(0, 1, 50).astype(np.float32)
    heard, yes, no = np.ones((50, 1), bool), np.ones((50, 1), bool), np.zeros(50, bool)
    counts = [(route(sure, heard, [bar], yes, no).action == ACCEPT).sum() for bar in (0.0, 0.5, 0.9, 1.0)]
    assert counts == sorted(counts, reverse=True) and counts[0] == 50
