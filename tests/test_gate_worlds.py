"""The promise on thousands of draws of adversarial worlds; the mutation test runs this file on broken copies.

Tolerance: a test at level δ, watched R times, is false k ~ Binomial(R, ≤ δ) times; the limit is the quantile that a
sound test exceeds with chance 1e-5 per case, so that some forty cases stay green but once in 2,500 seeds (the seed is
fixed).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from agent import certify
from agent.certify import gate
from eval import _worlds
from eval._worlds import WORLDS, World

DELTA, EPS, RUNS = 0.1, 0.05, 1000
NAMED = {world.name: world for world in WORLDS}


def limit(runs: int, delta: float = DELTA) -> int:
    return int(binom.ppf(1 - 1e-5, runs, delta))


@pytest.mark.parametrize("world", [w for w in WORLDS if w.size <= 1000], ids=lambda w: w.name)
def test_one_look_delivers_too_many_errors_no_more_often_than_delta(world: World) -> None:
    for left in ("people", "open") if not world.whole else ("people",):
        assert _worlds.exact(world, EPS, DELTA, left, RUNS)[0] <= limit(RUNS), left  # type: ignore[arg-type]


@pytest.mark.parametrize("world", [w for w in WORLDS if w.size <= 1000], ids=lambda w: w.name)
def test_looking_after_every_answer_is_fooled_no_more_often_than_delta(world: World) -> None:
    for left in ("people", "open") if not world.whole else ("people",):
        assert _worlds.anytime(world, EPS, DELTA, left, RUNS)[0] <= limit(RUNS), left  # type: ignore[arg-type]


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)
def test_a_paced_walk_passes_too_many_errors_no_more_often_than_delta(world: World) -> None:
    assert _worlds.pacing(world, EPS, DELTA, RUNS)[0] <= limit(RUNS)


@pytest.mark.parametrize("name", ["one error too many, spread", "finished file, one too many"])
def test_the_whole_risk_is_spent_where_it_is_hardest(name: str) -> None:
    # A test far below δ wastes people's labels. What K errors may cost is δ less one step of a discrete law: > δ / 2.
    false, _ = _worlds.exact(NAMED[name], EPS, DELTA, "people", RUNS)
    assert false >= binom.ppf(1e-5, RUNS, DELTA / 2)


def test_cuts_that_are_each_bad_by_one_error_are_not_fished_through() -> None:
    plan, wrong = _worlds.doubling(0.1)
    rng, false = np.random.default_rng(0), 0
    for ranks in _worlds.draws(plan, RUNS, rng):
        drawn, bad = _worlds.counts(plan, ranks, wrong[ranks])
        false += int((gate.last_in_a_row(gate.chances(plan, drawn, bad) <= DELTA) >= 0).sum())
    assert false <= limit(RUNS)


@pytest.mark.parametrize("surest_are_wrong", [True, False])
def test_the_draw_of_the_house_finds_errors_wherever_they_stand(surest_are_wrong: bool) -> None:
    """Ids that ascend with the order, errors at one end of it: any draw that follows ids or order is fooled at once."""
    size, audits, runs = 300, 60, 600
    ids = [f"item {i:04d}" for i in range(size)]
    allowed = 15
    plan = certify.Plan(np.array([size]), np.array([allowed]), audits, np.array([2]))
    errors = np.zeros(size, bool)
    bad = int(plan.least[0])
    errors[:bad] = surest_are_wrong
    errors[size - bad :] = not surest_are_wrong
    false, finds = 0, 0
    for seed in range(runs):
        places = np.array(certify.draw(ids, seed)[:audits], np.int64)
        seen = certify.found(plan, places, errors[places])
        false += certify.exact(plan, seen, DELTA) == 0
        finds += int(seen.wrong[0])
    assert false <= limit(runs)
    # Hypergeometric mean audits · bad / size per run; five of its standard deviations.
    share = bad / size
    assert abs(finds / runs - audits * share) <= 5 * np.sqrt(audits * share * (1 - share) / runs)


def test_a_credit_counts_what_was_planned_not_what_was_found() -> None:
    """Audits that find more or less than the credit, settled to the end, in a world with just as many errors as the
    accepted hypothesis leaves room for: never one more than allowed may stay."""
    size, draws, risk = 200, 60, np.linspace(0.01, 0.3, 260)
    plan = certify.Plan(np.array([size]), np.array([10]), draws, np.array([4]))
    rng = np.random.default_rng(3)
    for _ in range(300):
        errors = np.zeros(260, bool)
        errors[rng.choice(size, 14, replace=False)] = True
        errors[size:] = True  # whatever is delivered behind the cut is wrong
        places = rng.permutation(size)[:draws]
        seen = certify.found(plan, places, errors[places])
        assert _worlds.finish(plan, risk, errors, seen, 0, None) <= 0


def test_skipping_never_helps_even_who_skips_all_errors() -> None:
    world = World("all skipped", 400, NAMED["one error too many, spread"].wrong, silent=1.0)
    for left in ("people", "open"):
        assert _worlds.exact(world, EPS, DELTA, left, RUNS)[0] <= limit(RUNS), left  # type: ignore[arg-type]
