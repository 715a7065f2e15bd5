"""Rounds of people's labels: only what is people's anyway is asked early, and what the rounds do keeps the promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.certify import paced, rounds
from agent.types import Bools, Doubles


def risks(n: int, seed: int, power: float = 3.0) -> Doubles:
    return np.random.default_rng(seed).random(n) ** power * 0.6


SHARE = paced.shares(50, 0.05)


def nobody(n: int) -> Bools:
    return np.zeros(n, bool)


@given(st.integers(0, 2**31), st.integers(30, 400), st.integers(1, 60), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_step_is_of_open_items_each_once(seed: int, n: int, size: int, explore: float) -> None:
    rng = np.random.default_rng(seed)
    spoken, walked, risk = rng.random(n) < 0.3, rng.random(n) < 0.2, risks(n, seed)
    step = rounds.next_step(risk, spoken, walked, SHARE, seed % (len(SHARE) + 1), 50, size, seed, explore)
    assert len(step.rows) == len(step.chances) == len(set(step.rows.tolist()))
    assert not (spoken | walked)[step.rows].any() and ((step.chances > 0) & (step.chances <= 1)).all()
    assert step.kind != "people" or 1 <= len(step.rows) <= size
    again = rounds.next_step(risk, spoken, walked, SHARE, seed % (len(SHARE) + 1), 50, size, seed, explore)
    assert step.kind == again.kind and step.rows.tolist() == again.rows.tolist()


def test_without_exploration_only_items_behind_the_walk_are_asked() -> None:
    risk = risks(1_000, 1)
    step = rounds.next_step(risk, nobody(1_000), nobody(1_000), SHARE, 0, 50, 100, 1, explore=0.0)
    place = np.argsort(np.argsort(risk))
    assert step.kind == "people" and place[step.rows].min() >= step.aim.surely
    assert sorted(place[step.rows]) == list(range(900, 1_000)) and (step.chances == 1).all()


def test_a_stretch_is_of_the_surest_and_both_ends_meet() -> None:
    risk, spoken, walked = risks(1_000, 2), nobody(1_000), nobody(1_000)
    kinds: list[str] = []
    while (step := rounds.next_step(risk, spoken, walked, SHARE, 0, 50, 100, len(kinds))).kind != "end":
        kinds.append(step.kind)
        open_still = ~(spoken | walked)
        if step.kind == "walk":
            assert (np.diff(risk[step.rows]) >= 0).all() and risk[step.rows[0]] == risk[open_still].min()
            walked[step.rows] = True
        else:
            spoken[step.rows] = True
    assert kinds[0] == "people" and "walk" in kinds and len(kinds) < 60
    assert len(step.rows) == 0 and 500 < walked.sum() < 1_000


def test_a_sure_pool_is_walked_at_once_and_a_hopeless_one_keeps_what_is_free() -> None:
    sure = rounds.next_step(np.full(1_000, 0.002), nobody(1_000), nobody(1_000), SHARE, 0, 50, 100, 0)
    assert sure.kind == "walk" and sure.aim.saved > 800
    first = rounds.next_step(risks(1_000, 4, 6.0), nobody(1_000), nobody(1_000), SHARE, 0, 50, 100, 0)
    assert first.kind == "people"  # nobody has taught anything yet
    spoken, asked = nobody(1_000), 0
    while (step := rounds.next_step(np.full(1_000, 0.9), spoken, nobody(1_000), SHARE, 0, 50, 100, asked)).rows.size:
        if step.kind == "free":
            break
        spoken[step.rows] = True
        asked += 1
    assert step.kind == "free" and len(step.rows) == 50  # as many as may be wrong: they need nobody


def test_where_no_walk_pays_or_all_errors_were_found_people_get_the_rest() -> None:
    none = rounds.next_step(risks(300, 1), nobody(300), nobody(300), SHARE[:0], 0, 0, 30, 0)
    assert none.kind == "people"
    walked = nobody(300)
    walked[:100] = True
    over = rounds.next_step(risks(300, 1), nobody(300), walked, SHARE, len(SHARE), 50, 30, 0)
    assert over.kind == "end" and len(over.rows) == 200


def test_where_a_walk_ends_is_foretold() -> None:
    """A pool of equal risks, 400 walks: the median end lies within 6 standard errors of the one foretold.

    The end's sd over the luck of coins is about a sixth of its mean, the median's standard error 1.25/√400 of that.
    """
    risk, rng = np.full(4_000, 0.05), np.random.default_rng(5)
    goal = rounds.aim(risk, SHARE)
    runs = [paced.walk(SHARE, rng.random(4_000), rng.random(4_000) < 0.05) for _ in range(400)]
    ends = np.array([length for length, _ in runs])
    assert abs(np.median(ends) - goal.likely) < 6 * 1.25 * ends.std() / 20
    saved = np.mean([length - audited[:length].sum() for length, audited in runs])
    assert abs(saved / goal.saved - 1) < 0.1
    assert goal.likely <= goal.surely


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
        rounds.next_step(np.zeros(3), nobody(4), nobody(3), SHARE, 0, 0, 1, 0)


def test_rounds_and_walk_together_break_the_promise_seldom() -> None:
    """A third of the labels is wrong, predictions are noise, far too sure, and drawn anew at every step: δ = .05 all
    the same, and used up, since errors do not run out.

    400 runs, 20 broken expected, sd √(400·.05·.95) = 4.4: fewer than 5 or more than 36 less than once in 1,000.
    """
    broken, n, share = 0, 400, paced.shares(20, 0.05)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        wrong, coin = rng.random(n) < 1 / 3, rng.random(n)
        spoken, walked, found, missed = nobody(n), nobody(n), 0, 0
        for number in range(n):
            shown = rng.random(n) ** 2 * 0.2
            step = rounds.next_step(shown, spoken, walked, share, found, 20, 80, number)
            rows = step.rows
            if step.kind == "walk":
                length, audited = paced.walk(share[found:], coin[rows], wrong[rows])
                missed += int((wrong[rows] & ~audited)[:length].sum())
                found += int((wrong[rows] & audited).sum())
                spoken[rows[audited]], walked[rows] = True, True
            elif step.kind == "people":
                spoken[rows] = True
            else:
                missed += int(wrong[rows].sum()) if step.kind == "free" else 0
                break
            if found >= len(share):
                break
        broken += missed > 20
    assert 5 <= broken <= 36, broken
