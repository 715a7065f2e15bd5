"""The walk that audits the denser the more it found: its law, its bookkeeping, and worlds that would break it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.certify.paced import coins, due, reached, risk_of, shares, walk
from agent.types import Bools

FEW = st.lists(st.floats(0.05, 0.95), min_size=1, max_size=4)


def chance_of_bad(share: list[float], wrong: list[bool], allowed: int) -> float:
    """By following every coin: the chance that a walk over these labels passes too many wrong ones unseen."""
    now, bad = {(0, 0): 1.0}, 0.0  # (errors found, errors passed unseen): chance
    for is_wrong in wrong:
        after: dict[tuple[int, int], float] = {}
        for (found, unseen), chance in now.items():
            steps = [(found, unseen, 1.0)]
            if is_wrong and found < len(share):
                steps = [(found + 1, unseen, share[found]), (found, unseen + 1, 1 - share[found])]
            for k, missed, times in steps:
                if missed > allowed:
                    bad += chance * times
                else:
                    after[k, missed] = after.get((k, missed), 0.0) + chance * times
        now = after
    return bad


@settings(max_examples=150, deadline=None)
@given(FEW, st.lists(st.booleans(), max_size=25), st.integers(0, 6))
def test_no_labels_are_worse_than_the_law_says(share: list[float], wrong: list[bool], allowed: int) -> None:
    assert chance_of_bad(share, wrong, allowed) <= risk_of(np.array(share), allowed) + 1e-12


@settings(max_examples=30, deadline=None)
@given(FEW, st.integers(0, 6))
def test_the_bound_is_attained_where_errors_do_not_run_out(share: list[float], allowed: int) -> None:
    law = risk_of(np.array(share), allowed)
    assert chance_of_bad(share, [True] * 400, allowed) == pytest.approx(law, abs=1e-6)


def test_one_share_is_the_geometric_tail_by_hand() -> None:
    assert risk_of(np.array([0.3]), 4) == pytest.approx(0.7**5)
    assert risk_of(np.array([]), 0) == 0.0


@pytest.mark.parametrize("delta", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("allowed", [3, 5, 20, 114, 500])
def test_shares_use_delta_up_and_grow(allowed: int, delta: float) -> None:
    share = shares(allowed, delta)
    assert risk_of(share, allowed) <= delta
    if len(share):
        assert risk_of(share, allowed) == pytest.approx(delta, rel=1e-3)
    # The last one only makes delta fit and may stand on either side.
    assert np.all(np.diff(share[:-1]) >= 0)
    assert np.all((share > 0) & (share < 1))


def test_where_hardly_an_error_may_stay_no_walk_is_planned() -> None:
    assert len(shares(0, 0.05)) == len(shares(1, 0.05)) == 0
    assert walk(shares(0, 0.05), np.zeros(5), np.zeros(5, bool))[0] == 0
    assert reached(shares(0, 0.05), np.zeros(5), np.array([], int), np.array([], int)) == 0
    with pytest.raises(ValueError, match="delta 1"):
        shares(5, 1.0)
    with pytest.raises(ValueError, match="allowed -1"):
        shares(-1, 0.5)


@settings(max_examples=60, deadline=None)
@given(FEW, st.integers(0, 2**32), st.integers(0, 80), st.floats(0, 1))
def test_answers_one_by_one_end_where_the_whole_walk_ends(
    share: list[float], seed: int, units: int, rate: float
) -> None:
    draw = np.random.default_rng(seed)
    coin, wrong, given_shares = draw.random(units), draw.random(units) < rate, np.array(share)
    length, audited = walk(given_shares, coin, wrong)
    answered, found, before = np.array([], int), np.array([], int), -1
    while True:
        now = reached(given_shares, coin, answered, found)
        assert now >= before, "what was proved stays proved"
        before = now
        ask = np.setdiff1d(due(given_shares, coin, found), answered)
        if not len(ask):
            break
        answered = np.append(answered, ask[0])
        found = np.append(found, ask[0]) if wrong[ask[0]] else found
    assert before == length
    assert np.array_equal(np.sort(answered), np.flatnonzero(audited))


def test_asking_ahead_is_never_in_vain_but_behind_the_end() -> None:
    draw = np.random.default_rng(5)
    share, coin, wrong = shares(60, 0.05), draw.random(3000), draw.random(3000) < 0.08
    share[-1] = share.max()
    length, audited = walk(share, coin, wrong)
    ahead = due(share, coin, np.array([], int))
    assert audited[ahead[ahead < length]].all()


def test_coins_hang_on_id_and_seed_alone_and_are_even() -> None:
    ids = [f"item {i}" for i in range(4000)]
    coin = coins(ids, 7)
    assert np.array_equal(coin[::-1], coins(ids[::-1], 7))
    assert not np.array_equal(coin, coins(ids, 8))
    # Kolmogorov: above 1.95/√n with chance 0.001.
    assert np.abs(np.sort(coin) - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / math.sqrt(4000)


WORLDS: dict[str, Callable[[int, np.random.Generator], Bools]] = {
    "useless score": lambda u, draw: draw.random(u) < 0.12,
    "cliff": lambda u, draw: np.arange(u) > 0.3 * u,
    "reversed": lambda u, draw: draw.random(u) < np.linspace(0.5, 0, u),
    "first ones wrong": lambda u, draw: np.arange(u) < 0.06 * u,
    "all wrong": lambda u, draw: np.ones(u, bool),
    "in runs": lambda u, draw: np.repeat(draw.random(u // 20) < 0.15, 20),
    "good score": lambda u, draw: draw.random(u) < np.linspace(0, 0.6, u) ** 2,
}


@pytest.mark.parametrize("world", WORLDS)
def test_no_world_breaks_the_promise(world: str) -> None:
    units, delta, runs = 1000, 0.1, 1500
    allowed = 50
    share, draw = shares(allowed, delta), np.random.default_rng(11)
    bad = 0
    for _ in range(runs):
        wrong = WORLDS[world](units, draw)
        length, audited = walk(share, draw.random(units), wrong)
        bad += int((wrong & ~audited)[:length].sum() > allowed)
    # 0.1 + 4 standard deviations of a share among 1,500 at 0.1.
    assert bad / runs <= delta + 4 * math.sqrt(delta * (1 - delta) / runs)


def test_leaving_early_and_skips_do_not_break_it() -> None:
    """Unlimited looks: a user who stops wherever most was passed; a tenth of the audits nobody answers."""
    units, allowed, delta, runs = 600, 30, 0.1, 1500
    share, draw = shares(allowed, delta), np.random.default_rng(3)
    bad = 0
    for _ in range(runs):
        wrong, skipped = draw.random(units) < 0.15, draw.random(units) < 0.1
        length, audited = walk(share, draw.random(units), wrong | skipped)
        bad += int(((wrong & ~audited)[:length].cumsum() > allowed).any())
    assert bad / runs <= delta + 4 * math.sqrt(delta * (1 - delta) / runs)
