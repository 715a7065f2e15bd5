"""Estimates beside the certificate: worked by hand, laws, and coverage in simulated worlds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.estimate import STRATA, Estimate, corrected, neyman, plain, ppi, strata, stratified
from agent.report import wilson
from agent.types import Doubles, Ints


def world(seed: int, size: int, a: float, b: float) -> tuple[Doubles, Doubles]:
    """(N,) wrong, (N,) predicted chance of it, which is the true one."""
    rng = np.random.default_rng(seed)
    risk = rng.beta(a, b, size)
    return (rng.random(size) < risk).astype(np.float64), risk


# By hand.


def test_ppi_by_hand() -> None:
    # Four answers of forty. Slope: Cov = 0.5 · 0.4 / 2 … with seen (1, 1, 0, 0), predicted (.6, .4, .2, .0):
    # means .5 and .3; Σxy = .5·.3 + .5·.1 + .5·.1 + .5·.3 = .4; Σxx = .09 + .01 + .01 + .09 = .2; slope 2, kept at 1.
    seen, predicted = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.6, 0.4, 0.2, 0.0])
    everywhere = np.full(40, 0.2)
    found = ppi(seen, predicted, everywhere)
    # θ = .2 + mean(.4, .6, −.2, 0) = .2 + .2
    assert found.value == pytest.approx(0.4) and found.answers == 4
    # residuals about their mean .2: .2, .4, −.4, −.2; Σ² = .4; over n − 2 = 2: .2; variance = .9 · .2 / 4 = .045;
    # worth = .24 / .045 = 5.333 as if of an endless pool, × .9 as answers of this one
    assert found.worth == pytest.approx(0.9 * 0.24 / 0.045)


def test_a_share_without_predictions_is_the_plain_one_with_wilsons_interval() -> None:
    found = plain(np.array([1.0] * 7 + [0.0] * 43), 10**9)
    assert found.value == pytest.approx(0.14)
    # the variance divides by n − 1, so that its Wilson interval is that of 49 answers
    z2 = 1.959964**2 / 49
    middle, half = (0.14 + z2 / 2) / (1 + z2), 1.959964 * math.sqrt(0.14 * 0.86 / 49 + z2 / (4 * 49)) / (1 + z2)
    assert (found.low, found.high) == (pytest.approx(middle - half, abs=1e-6), pytest.approx(middle + half, abs=1e-6))


def test_none_found_wrong_is_not_none_wrong() -> None:
    found = plain(np.zeros(60), 10**9)
    assert (found.value, found.low) == (0.0, 0.0) and found.high == pytest.approx(wilson(0, 60)[1], abs=1e-6)


def test_strata_by_hand() -> None:
    # Two strata of 30 and 10; answers 2 of 4 and 1 of 2 are wrong: θ = .75·.5 + .25·.5 = .5
    seen, of = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0]), np.array([0, 0, 0, 0, 1, 1])
    found = stratified(seen, of, np.array([30, 10]))
    # both smoothed shares are .5, variances .25: .5625·(1 − 4/30)·.25/4 + .0625·(1 − 2/10)·.25/2
    variance = 0.5625 * (26 / 30) * 0.25 / 4 + 0.0625 * 0.8 * 0.25 / 2
    assert found.value == pytest.approx(0.5) and found.worth == pytest.approx((1 - 6 / 40) * 0.25 / variance)


def test_neyman_by_hand() -> None:
    # size × spread: 100·.1, 100·.3, 100·.1 -> 10, 30, 10 of 50
    assert neyman(np.array([100, 100, 100]), np.array([0.1, 0.3, 0.1]), 50).tolist() == [10, 30, 10]
    # the second is full at 20, and what is left goes to the others
    assert neyman(np.array([100, 20, 100]), np.array([0.1, 0.9, 0.1]), 60).tolist() == [20, 20, 20]
    assert neyman(np.array([100, 100]), np.array([0.0, 0.5]), 50).tolist() == [2, 48]


def test_what_people_would_add_and_take_away_by_hand() -> None:
    gained, lost = Estimate(0.03, 0.01, 0.07, 60, 60), Estimate(0.05, 0.02, 0.11, 60, 70)
    found = corrected(0.4, gained, lost)
    assert found.value == pytest.approx(0.38) and found.worth == 60
    # √(.02² + .06²) downwards, √(.04² + .03²) upwards
    assert found.low == pytest.approx(0.38 - 0.0632456, abs=1e-6) and found.high == pytest.approx(0.43)


def test_with_equal_chances_inclusion_probabilities_change_little() -> None:
    wrong, risk = world(1, 2000, 1, 9)
    some = np.random.default_rng(2).choice(2000, 200, replace=False)
    one = ppi(wrong[some], risk[some], risk)
    other = ppi(wrong[some], risk[some], risk, chance=np.full(200, 0.1))
    assert other.value == pytest.approx(one.value) and other.low == pytest.approx(one.low, rel=0.02)


@pytest.mark.parametrize(
    ("seen", "predicted", "everywhere", "chance"),
    [([], [], [0.1], None), ([1.0], [0.1, 0.2], [0.1] * 3, None), ([1.0] * 3, [0.1] * 3, [0.1], None),
     ([1.0], [0.1], [0.1] * 3, [0.0])],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    seen: list[float], predicted: list[float], everywhere: list[float], chance: list[float] | None
) -> None:
    given_chance = None if chance is None else np.array(chance)
    with pytest.raises(ValueError, match=r"fit|chance"):
        ppi(np.array(seen), np.array(predicted), np.array(everywhere), given_chance)


def test_strata_without_an_answer_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        stratified(np.array([1.0]), np.array([0]), np.array([5, 5]))
    with pytest.raises(ValueError, match="more answers than items"):
        stratified(np.array([1.0, 0.0]), np.array([0, 0]), np.array([1]))
    with pytest.raises(ValueError, match="3 answers"):
        neyman(np.array([10, 10]), np.array([0.1, 0.1]), 3)


# Laws.


@given(st.data())
def test_an_estimate_lies_in_its_interval_and_all_items_answered_leave_none(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    size = data.draw(st.integers(n, 80))
    seen = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)))
    risk = np.array(data.draw(st.lists(st.floats(0, 1), min_size=size, max_size=size)))
    for found in (ppi(seen, risk[:n], risk), plain(seen, size)):
        assert 0 <= found.low <= found.value <= found.high <= 1
        if n == size:
            assert found.low == found.high
    if n == size:
        assert plain(seen, size).value == pytest.approx(seen.mean())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.integers(1, 12))
def test_strata_are_of_equal_size_and_in_order_of_risk(risk: list[float], count: int) -> None:
    found = strata(np.array(risk), count)
    sizes = np.bincount(found)
    assert len(sizes) == min(count, len(risk)) and sizes.max() - sizes.min() <= 1
    order = np.argsort(risk, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


@given(st.data())
def test_an_allocation_adds_up_and_no_stratum_gives_more_than_it_has(data: st.DataObject) -> None:
    sizes = np.array(data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=12)))
    spread = np.array(data.draw(st.lists(st.floats(0, 0.5), min_size=len(sizes), max_size=len(sizes))))
    floor = np.minimum(sizes, 2)
    answers = data.draw(st.integers(int(floor.sum()), int(sizes.sum())))
    found = neyman(sizes, spread, answers)
    assert found.sum() == answers and (found <= sizes).all() and (found >= floor).all()


# Worlds. 400 runs at a coverage of .95 have a standard error of .011; the intervals rest on large numbers and may fall
# somewhat short in small samples, so the line is .95 − .02 − 3 · .011 ≈ .895.

RUNS, LEAST = 400, 0.895


def _covered(found: list[Estimate], truth: float) -> float:
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.parametrize(("a", "b", "answers"), [(1.0, 30.0, 60), (0.3, 3.0, 150), (2.0, 4.0, 60)])
def test_intervals_cover_and_are_worth_more_than_plain_ones(a: float, b: float, answers: int) -> None:
    wrong, risk = world(7, 2000, a, b)
    truth, of = float(wrong.mean()), strata(risk)
    sizes: Ints = np.bincount(of)
    expected = np.bincount(of, weights=risk) / sizes
    each = neyman(sizes, np.sqrt(np.bincount(of, weights=risk * (1 - risk)) / sizes), answers)
    members = [np.flatnonzero(of == h) for h in range(STRATA)]
    spread = np.sqrt(risk * (1 - risk))
    chance = np.minimum(answers * (0.8 * spread / spread.sum() + 0.2 / len(risk)), 1.0)
    simple, sharper, layered, active = [], [], [], []
    rng = np.random.default_rng(3)
    for _ in range(RUNS):
        some = rng.choice(len(wrong), answers, replace=False)
        simple.append(plain(wrong[some], len(wrong)))
        sharper.append(ppi(wrong[some], risk[some], risk))
        drawn = np.concatenate([rng.choice(m, k, replace=False) for m, k in zip(members, each.tolist(), strict=True)])
        layered.append(stratified(wrong[drawn], of[drawn], sizes, expected))
        lots = np.flatnonzero(rng.random(len(wrong)) < chance)
        active.append(ppi(wrong[lots], risk[lots], risk, chance[lots]))
    width = [float(np.mean([one.high - one.low for one in found])) for found in (simple, sharper, layered, active)]
    for found in (simple, sharper, layered, active):
        assert _covered(found, truth) >= LEAST
        # standard error of a mean of RUNS estimates, times four
        assert abs(np.mean([one.value for one in found]) - truth) < 4 * width[0] / 4 / RUNS**0.5 + 0.002
    assert width[2] < width[1] < 1.01 * width[0] and width[3] < width[0]


def test_useless_predictions_cost_next_to_nothing() -> None:
    wrong, _ = world(5, 3000, 1, 9)
    noise = np.random.default_rng(6).random(3000)
    rng = np.random.default_rng(8)
    draws = [rng.choice(3000, 200, replace=False) for _ in range(RUNS)]
    misled = [ppi(wrong[some], noise[some], noise) for some in draws]
    simple = [plain(wrong[some], 3000) for some in draws]
    widths = [np.mean([one.high - one.low for one in found]) for found in (misled, simple)]
    assert _covered(misled, float(wrong.mean())) >= LEAST and widths[0] < 1.02 * widths[1]


def test_predictions_the_wrong_way_round_are_not_believed() -> None:
    wrong, risk = world(9, 3000, 0.5, 4)
    some = np.random.default_rng(1).choice(3000, 300, replace=False)
    assert ppi(wrong[some], 1 - risk[some], 1 - risk) == ppi(wrong[some], np.zeros(300), np.zeros(3000))


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_label_shares_cover_where_no_change_was_seen_and_are_sharper_than_plain_ones(rate: float) -> None:
    rng = np.random.default_rng(11)
    risk = rng.beta(5 * rate, 5 * (1 - rate), 3000)
    given = rng.random(3000) < 0.3
    said = np.where(rng.random(3000) < risk, ~given, given)
    gains, losses = np.where(given, 0, risk), np.where(given, risk, 0)
    found, simple = [], []
    for _ in range(RUNS):
        some = rng.choice(3000, 60, replace=False)
        gained = ppi((said & ~given)[some].astype(float), gains[some], gains)
        lost = ppi((~said & given)[some].astype(float), losses[some], losses)
        found.append(corrected(float(given.mean()), gained, lost))
        simple.append(plain(said[some].astype(float), 3000))
    widths = [np.mean([one.high - one.low for one in all_]) for all_ in (found, simple)]
    assert _covered(found, float(said.mean())) >= LEAST and widths[0] < 0.8 * widths[1]
