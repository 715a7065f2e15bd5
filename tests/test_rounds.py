"""Rounds of people's labels: only what is people's anyway is asked early, and what the rounds do keeps the promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.certify import rounds, walk
from agent.types import Doubles


def risks(n: int, seed: int, power: float = 3.0) -> Doubles:
    return np.random.default_rng(seed).random(n) ** power * 0.6


@given(st.integers(0, 2**31), st.integers(30, 400), st.integers(1, 60), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_round_is_of_items_nobody_labeled_each_once(seed: int, n: int, size: int, explore: float) -> None:
    spoken = np.random.default_rng(seed).random(n) < 0.3
    risk = risks(n, seed)
    turn = rounds.next_round(risk, spoken, n, 0.05, 0.05, size, seed, explore)
    assert len(turn.rows) == len(turn.chances) <= size
    assert len(set(turn.rows.tolist())) == len(turn.rows) and not spoken[turn.rows].any()
    assert ((turn.chances > 0) & (turn.chances <= 1)).all()
    again = rounds.next_round(risk, spoken, n, 0.05, 0.05, size, seed, explore)
    assert turn.rows.tolist() == again.rows.tolist()


def test_without_exploration_only_items_behind_the_prefix_are_asked() -> None:
    risk, spoken = risks(1_000, 1), np.zeros(1_000, bool)
    turn = rounds.next_round(risk, spoken, 1_000, 0.05, 0.05, 100, 1, explore=0.0)
    place = np.argsort(np.argsort(risk))
    assert len(turn.rows) == 100 and place[turn.rows].min() >= turn.aim.length
    assert sorted(place[turn.rows]) == list(range(900, 1_000)) and (turn.chances == 1).all()


def test_rounds_end_and_freeze_where_nothing_is_left_behind_the_prefix() -> None:
    risk, spoken, turns = risks(1_000, 2), np.zeros(1_000, bool), 0
    while len((turn := rounds.next_round(risk, spoken, 1_000, 0.05, 0.05, 100, turns)).rows):
        spoken[turn.rows] = True
        turns += 1
    assert 1 <= turns < 10
    assert 0 < turn.aim.saved < turn.aim.length <= (~spoken).sum()
    assert turn.aim.most == walk.may_find(int((~spoken).sum()), turn.aim.draws, 50, 0.05)


def test_a_sure_pool_is_frozen_at_once_and_a_hopeless_one_keeps_what_is_free() -> None:
    sure = rounds.next_round(np.full(1_000, 0.002), np.zeros(1_000, bool), 1_000, 0.05, 0.05, 100, 0)
    assert len(sure.rows) == 0 and sure.aim.saved > 800
    first = rounds.next_round(risks(1_000, 4, 6.0), np.zeros(1_000, bool), 1_000, 0.05, 0.05, 100, 0)
    assert len(first.rows) == 100  # nobody has taught anything yet
    spoken = np.ones(1_000, bool)
    spoken[:50] = False  # as many as may be wrong: they need nobody
    free = rounds.next_round(np.full(1_000, 0.9), spoken, 1_000, 0.05, 0.05, 100, 0)
    assert len(free.rows) == 0 and free.aim == rounds.Aim(50, 0, 0, 50.0)


def test_honest_risks_follow_answers_and_keep_the_order() -> None:
    """5,000 answers whose odds of error are half again what was predicted: the mean risk is off by less than .02.

    The standard error of the observed share is √(.25/5,000) = .007; .02 is nearly three of them.
    """
    rng = np.random.default_rng(3)
    risk = rng.random(5_000) * 0.4 + 0.01
    odds = 1.5 * risk / (1 - risk)
    truth = odds / (1 + odds)
    found = rounds.honest(risk, rng.random(5_000) < truth, risk)
    assert abs(found.mean() - truth.mean()) < 0.02
    assert (np.diff(found[np.argsort(risk)]) >= 0).all()
    few = rounds.honest(risk[:0], np.zeros(0, bool), risk)
    assert np.allclose(few, risk)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        rounds.next_round(np.zeros(3), np.zeros(4, bool), 4, 0.05, 0.05, 1, 0)


def test_rounds_and_walk_together_break_the_promise_seldom() -> None:
    """Predictions that are far too sure, and no better than noise in their upper half: δ = .05 all the same.

    300 runs: more than 28 broken (.093 = .05 + 3.4 · √(.05·.95/300)) has a chance below 1 in 1,000 where δ holds.
    """
    broken, n = 0, 400
    for seed in range(300):
        rng = np.random.default_rng(seed)
        truth = risks(n, seed, 2.0)
        wrong = rng.random(n) < truth
        shown = np.where(truth > 0.2, rng.random(n) * 0.3, truth) / 3
        spoken = np.zeros(n, bool)
        while len((turn := rounds.next_round(shown, spoken, n, 0.05, 0.05, 80, seed)).rows):
            spoken[turn.rows] = True
        left = np.flatnonzero(~spoken)
        order = left[np.argsort(shown[left], kind="stable")]
        ranks = np.sort(rng.choice(len(order), turn.aim.draws, replace=False))
        most = walk.may_find(len(order), turn.aim.draws, 20, 0.05)
        end = int(walk.end_of(len(order), most, ranks, wrong[order][ranks]))
        escaped = int(wrong[order][:end].sum()) - int(wrong[order][ranks[ranks < end]].sum())
        broken += escaped > 20
    assert broken <= 28
