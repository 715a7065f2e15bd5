"""The gate's laws: counted out over all draws in small worlds, and by properties. Statistics on many draws stand in
test_gate_worlds.py."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from agent import certify
from agent.certify import Anytime, Plan, gate, walk
from eval._worlds import finish


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def patterns(size: int) -> Iterator[np.ndarray]:
    """Every way in which labels can be wrong."""
    for bits in itertools.product((False, True), repeat=size):
        yield np.array(bits)


def draws_of(size: int, draws: int) -> list[np.ndarray]:
    return [np.array(c, np.int64) for c in itertools.combinations(range(size), draws)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Plan, np.ndarray, np.ndarray]:
    """(plan with credits, wrong labels, places drawn in order)"""
    units = draw(st.integers(4, 60))
    cuts = np.array(sorted(draw(st.sets(st.integers(1, units), min_size=1, max_size=8))), np.int64)
    grows = draw(st.sampled_from([0.0, 0.1, 0.3]))
    allowed = draw(st.integers(0, 6)) + np.floor(grows * cuts).astype(np.int64)
    credit = np.sort(np.array(draw(st.lists(st.integers(0, 4), min_size=len(cuts), max_size=len(cuts))), np.int64))
    drawn = draw(st.integers(0, int(cuts[-1])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    wrong = rng.random(units) < draw(st.floats(0, 1))
    return Plan(cuts, allowed, drawn, credit, grows), wrong, rng.permutation(int(cuts[-1]))[:drawn]


# ---------------------------------------------------------------- every draw of small worlds, counted out


@pytest.mark.parametrize("draws,allowed,delta", [(3, 1, 0.35), (4, 0, 0.3), (2, 0, 0.6)])
def test_a_walk_delivers_too_many_errors_in_at_most_a_share_delta_of_all_draws(
    draws: int, allowed: int, delta: float
) -> None:
    size, risk = 7, np.linspace(0.1, 0.5, 7)
    limit = certify.may_find(size, draws, allowed, delta)
    plan = Plan(ints(1, 3, 4, 5, 7), np.full(5, allowed), draws, np.zeros(5, np.int64), 0.0, limit)
    every = draws_of(size, draws)
    worst = 0.0
    for errors in patterns(size):
        bad = 0
        for places in every:
            seen = certify.found(plan, places, errors[places])
            bad += finish(plan, risk, errors, seen, certify.exact(plan, seen, delta), delta) > 0
        worst = max(worst, bad / len(every))
    assert worst <= delta + 1e-12
    # And no more is to be had: the worst world uses up what K errors may cost, and one error more would cost too much.
    if 0 <= limit < draws:
        assert worst == pytest.approx(hypergeom.cdf(limit, size, allowed + 1 + limit, draws))
        assert hypergeom.cdf(limit + 1, size, min(allowed + 2 + limit, size), draws) > delta


@pytest.mark.parametrize(
    "grows,allowed,credit", [(0.0, (1, 1, 1), (0, 1, 1)), (0.34, (1, 2, 3), (0, 0, 0)), (0.34, (1, 2, 2), (1, 1, 2))]
)
def test_credits_deliver_too_many_errors_in_at_most_a_share_delta_of_all_draws(
    grows: float, allowed: tuple[int, ...], credit: tuple[int, ...]
) -> None:
    size, draws, delta, risk = 7, 3, 0.35, np.linspace(0.1, 0.5, 7)
    plan = Plan(ints(3, 5, 7), ints(*allowed), draws, ints(*credit), grows)
    every = draws_of(size, draws)
    for errors in patterns(size):
        total = np.concatenate([[0], np.cumsum(errors)])[plan.cuts]
        rejected = bad = 0
        for places in every:
            seen = certify.found(plan, places, errors[places])
            cut = certify.exact(plan, seen, delta)
            rejected += bool(np.any((total >= plan.least)[: cut + 1]))
            bad += finish(plan, risk, errors, seen, cut, delta) > 0
        assert rejected / len(every) <= delta + 1e-12
        assert bad / len(every) <= delta + 1e-12


def test_bets_looked_at_after_every_answer_are_wrong_in_at_most_a_share_delta_of_all_orders_of_draw() -> None:
    size, draws, delta = 5, 3, 0.45
    plan = Plan(ints(2, 3, 5), ints(0, 0, 0), draws, ints(0, 0, 1))
    orders = list(itertools.permutations(range(size), draws))
    worst = 0.0
    for errors in patterns(size):
        total = np.concatenate([[0], np.cumsum(errors)])[plan.cuts]
        false = 0
        for order in orders:
            bets, fooled = Anytime(plan, delta), False
            for rank in order:
                bets.hear(rank, float(errors[rank]))
                fooled |= bool(np.any((total >= plan.least)[: bets.accepted + 1]))
            false += fooled
        worst = max(worst, false / len(orders))
    assert 0 < worst <= delta + 1e-12


def test_a_prefix_with_as_many_errors_as_it_may_have_can_be_accepted_with_more_than_delta() -> None:
    # The null begins one error above allowed + credit, not at it: with exactly so many the chance must exceed delta.
    for draws in range(4, 12):
        plan = Plan(ints(12), ints(2), draws, ints(1))
        good = 0
        every = draws_of(12, draws)
        errors = np.arange(12) < 3
        for places in every:
            seen = certify.found(plan, places, errors[places])
            good += certify.exact(plan, seen, 0.1) == 0
        passing = hypergeom.cdf(np.arange(draws + 1), 12, 4, draws) <= 0.1
        assert good / len(every) == pytest.approx(hypergeom.pmf(np.arange(draws + 1)[passing], 12, 3, draws).sum())


# ---------------------------------------------------------------- counting


@given(worlds())
@settings(max_examples=150)
def test_what_was_found_is_what_a_slow_loop_counts(world: tuple[Plan, np.ndarray, np.ndarray]) -> None:
    plan, wrong, places = world
    missing = wrong[places] & (places % 3 == 0) | (places % 5 == 0)
    seen = certify.found(plan, places, wrong[places], missing)
    for j, cut in enumerate(plan.cuts):
        inside = [(p, m) for p, m in zip(places.tolist(), missing.tolist(), strict=True) if p < cut]
        assert seen.drawn[j] == len(inside)
        assert seen.wrong[j] == sum(bool(wrong[p]) or m for p, m in inside)
        assert seen.mended[j] == sum(bool(wrong[p]) and not m for p, m in inside)
    assert set(seen.answered.tolist()) == {p for p, m in zip(places.tolist(), missing.tolist(), strict=True) if not m}


def test_an_audit_that_cannot_be_is_refused() -> None:
    plan = Plan(ints(2, 5), ints(1, 1), 3, ints(0, 0))
    with pytest.raises(ValueError, match="twice"):
        certify.found(plan, ints(1, 1), np.zeros(2, bool))
    with pytest.raises(ValueError, match="outside"):
        certify.found(plan, ints(5), np.zeros(1, bool))
    for cuts, credit, draws in ((ints(2, 2), ints(0, 0), 1), (ints(2, 3), ints(0, -1), 1), (ints(2, 3), ints(0, 0), 4)):
        with pytest.raises(ValueError):
            Plan(cuts, ints(1, 1), draws, credit)
    walked = Plan(ints(2, 5), ints(0, 0), 3, ints(0, 0), limit=0)
    with pytest.raises(ValueError, match="3 audits"):
        certify.exact(walked, certify.found(walked, ints(0, 1), np.zeros(2, bool)), 0.5)
    with pytest.raises(ValueError, match="delta"):
        certify.exact(walked, certify.found(walked, ints(0, 1, 2), np.zeros(3, bool)), 0.001)


@given(worlds(), st.sampled_from([0.05, 0.1, 0.3]))
@settings(max_examples=150)
def test_chances_are_the_hypergeometric_tail_of_each_cut(
    world: tuple[Plan, np.ndarray, np.ndarray], delta: float
) -> None:
    plan, wrong, places = world
    seen = certify.found(plan, places, wrong[places])
    p = gate.chances(plan, seen.drawn, seen.wrong)
    for j, (cut, least) in enumerate(zip(plan.cuts.tolist(), plan.least.tolist(), strict=True)):
        slow = 0.0 if least > cut else float(hypergeom.cdf(seen.wrong[j], cut, least, seen.drawn[j]))
        assert p[j] == pytest.approx(slow)
    passed = list(itertools.takewhile(lambda q: q <= delta, p.tolist()))
    assert certify.exact(plan, seen, delta) == len(passed) - 1


# ---------------------------------------------------------------- monotone


@given(worlds())
@settings(max_examples=150)
def test_more_errors_found_never_prove_more_and_more_risk_never_less(
    world: tuple[Plan, np.ndarray, np.ndarray],
) -> None:
    plan, wrong, places = world
    seen = certify.found(plan, places, wrong[places])
    worse = certify.found(plan, places, wrong[places] | (places % 2 == 0))
    unanswered = certify.found(plan, places, wrong[places], places % 2 == 0)
    for delta in (0.05, 0.2):
        cut = certify.exact(plan, seen, delta)
        assert certify.exact(plan, worse, delta) <= cut
        assert certify.exact(plan, unanswered, delta) == certify.exact(plan, worse, delta)
        assert certify.exact(plan, seen, 2 * delta) >= cut
        looser = Plan(plan.cuts, plan.allowed + 1, plan.draws, plan.credit, plan.grows)
        assert certify.exact(looser, seen, delta) >= cut


@given(st.integers(2, 400), st.data())
@settings(max_examples=150)
def test_how_many_may_be_found_is_the_most_that_the_law_admits(reach: int, data: st.DataObject) -> None:
    draws, allowed = data.draw(st.integers(0, reach)), data.draw(st.integers(0, reach))
    delta = data.draw(st.sampled_from([0.02, 0.05, 0.2]))
    most = certify.may_find(reach, draws, allowed, delta)
    assert -1 <= most <= draws
    if reach - draws <= allowed:
        assert most == draws
        return
    if most >= 0:
        assert hypergeom.cdf(most, reach, allowed + 1 + most, draws) <= delta
        assert certify.may_find(reach, draws, allowed + 1, delta) >= most
        assert walk.fewest_draws(reach, most, allowed, delta) <= draws
    assert hypergeom.cdf(most + 1, reach, min(allowed + 2 + most, reach), draws) > delta


@given(st.integers(1, 60), st.integers(-1, 5), st.data())
@settings(max_examples=100)
def test_a_walk_ends_before_the_first_error_too_many(reach: int, most: int, data: st.DataObject) -> None:
    places = np.array(sorted(data.draw(st.sets(st.integers(0, reach - 1)))), np.int64)
    wrong = np.array([data.draw(st.booleans()) for _ in places], bool)
    end, met = 0 if most < 0 else reach, 0
    for place, bad in zip(places.tolist(), wrong.tolist(), strict=True):
        met += bad
        if most >= 0 and met > most:
            end = place
            break
    assert int(walk.end_of(reach, most, places, wrong)) == end
    both = walk.end_of(reach, most, np.stack([places, places]), np.stack([wrong, wrong]))
    assert both.tolist() == [end, end]


# ---------------------------------------------------------------- the credit


@given(worlds(), st.booleans())
@settings(max_examples=400)
def test_whenever_what_was_rejected_was_false_no_more_stay_wrong_than_allowed(
    world: tuple[Plan, np.ndarray, np.ndarray], silent: bool
) -> None:
    plan, wrong, places = world
    risk = np.sort(np.random.default_rng(0).random(len(wrong)))
    seen = certify.found(plan, places, wrong[places], (places % 4 == 0) & silent)
    total = np.concatenate([[0], np.cumsum(wrong)])[plan.cuts]
    for cut in np.flatnonzero(total < plan.least).tolist():  # a rejection of any other one is what delta pays for
        assert finish(plan, risk, wrong, seen, cut, None) <= 0
        settled = certify.settle(plan, cut, seen, risk)
        if not settled.owed:
            unseen = wrong.copy()
            unseen[seen.answered] = False
            assert unseen[: settled.accepted].sum() <= settled.wrong_at_most


@given(worlds(), st.booleans())
@settings(max_examples=300)
def test_a_walk_leaves_no_more_than_allowed_whenever_no_more_escaped_before_the_last_error_it_may_find(
    world: tuple[Plan, np.ndarray, np.ndarray], silent: bool
) -> None:
    before, wrong, places = world
    delta, reach, allowed = 0.2, int(before.cuts[-1]), int(before.allowed[0])
    risk = np.sort(np.random.default_rng(0).random(len(wrong)))
    limit = certify.may_find(reach, before.draws, allowed, delta)
    plan = Plan(before.cuts, np.full_like(before.cuts, allowed), before.draws, 0 * before.credit, 0.0, limit)
    seen = certify.found(plan, places, wrong[places], (places % 4 == 0) & silent)
    cut = certify.exact(plan, seen, delta)
    end = int(walk.end_of(reach, limit, seen.bad, np.ones(len(seen.bad), bool)))
    escaped = wrong.copy()
    escaped[places] = False
    inside = int(wrong[:reach].sum())
    true_bound = inside <= certify.wrong_at_most(reach, int(seen.drawn[-1]), int(seen.wrong[-1]), delta)
    if escaped[:end].sum() <= allowed and true_bound:
        assert finish(plan, risk, wrong, seen, cut, delta) <= 0
    settled = certify.settle(plan, cut, seen, risk, certify.bound(plan, cut, seen, delta) if cut >= 0 else None)
    assert settled.owed == 0
    assert set(settled.to_people.tolist()) <= set(places[(places % 4 == 0) & silent].tolist())


def test_the_credit_is_paid_back_in_both_directions() -> None:
    plan, risk = Plan(ints(10), ints(2), 5, ints(3)), np.linspace(0, 1, 20)
    errors = np.zeros(20, bool)
    errors[[0, 2, 4, 6, 8]] = True
    more = certify.found(plan, ints(0, 2, 4, 6, 9), errors[[0, 2, 4, 6, 9]])
    assert certify.settle(plan, 0, more, risk).accepted == 11  # four mended, three counted on: one label is free
    fewer = certify.found(plan, ints(0, 1, 3, 5, 7), errors[[0, 1, 3, 5, 7]])
    owing = certify.settle(plan, 0, fewer, risk)
    assert (owing.owed, owing.to_people.tolist()) == (2, [9, 8, 6, 4, 2])  # riskiest first
    paid = certify.settle(plan, 0, fewer, risk, after=(ints(9, 8, 6), errors[[9, 8, 6]]))
    assert (paid.owed, paid.accepted, paid.wrong_at_most) == (0, 10, 2)


def test_the_last_cut_forgives_a_credit_that_was_too_large() -> None:
    plan, risk = Plan(ints(50, 100), ints(10, 10), 60, ints(5, 9)), np.linspace(0, 1, 100)
    seen = certify.found(plan, np.arange(0, 100, 2)[:50], np.zeros(50, bool))
    assert certify.exact(plan, seen, 0.05) == 1
    assert certify.settle(plan, 1, seen, risk).owed == 9
    assert certify.settle(plan, 1, seen, risk, certify.bound(plan, 1, seen, 0.05)).owed == 0


# ---------------------------------------------------------------- bets


@given(worlds())
@settings(max_examples=100)
def test_bets_on_whole_errors_depend_on_counts_only(world: tuple[Plan, np.ndarray, np.ndarray]) -> None:
    plan, wrong, places = world
    bets, best = Anytime(plan, 0.05), np.zeros(len(plan.cuts))
    drawn, bad = np.zeros(len(plan.cuts), np.int64), np.zeros(len(plan.cuts), np.int64)
    best = certify.evidence(plan.cuts, plan.least, drawn, bad)
    for rank in places.tolist():
        bets.hear(rank, float(wrong[rank]))
        drawn += rank < plan.cuts
        bad += (rank < plan.cuts) & wrong[rank]
        best = np.maximum(best, certify.evidence(plan.cuts, plan.least, drawn, bad))
        assert bets.accepted == int(gate.last_in_a_row((best >= 20 * (1 - 1e-9)) & (bad < plan.least)))


@given(st.integers(1, 80), st.data())
@settings(max_examples=200)
def test_a_bet_is_fair_at_the_hypothesis_and_loses_above_it(size: int, data: st.DataObject) -> None:
    least = data.draw(st.integers(1, size))
    truth = data.draw(st.integers(least, size))
    drawn = data.draw(st.integers(0, size - 1))
    wrong = data.draw(st.integers(max(0, drawn - (size - truth)), min(drawn, truth)))
    if wrong >= least:
        return
    chance = (truth - wrong) / (size - drawn)
    now, lost, kept = (
        float(certify.evidence(*(np.array(a) for a in (size, least, s, k))))
        for s, k in ((drawn, wrong), (drawn + 1, wrong + 1), (drawn + 1, wrong))
    )
    after = (chance * lost if chance else 0.0) + ((1 - chance) * kept if chance < 1 else 0.0)
    assert after <= now * (1 + 1e-9)
    # An error that makes the prefix bad for sure ends the game, which only loses.
    if truth == least and wrong + 1 < least < size - drawn + wrong:
        assert after == pytest.approx(now)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=3, max_size=5), st.integers(0, 2))
@settings(max_examples=25)
def test_shares_of_errors_are_certified_falsely_in_at_most_a_share_delta_of_all_orders(
    losses: list[float], allowed: int
) -> None:
    plan, delta = Plan(ints(len(losses)), ints(allowed), len(losses) - 1, ints(0)), 0.4
    if sum(losses) <= allowed:
        return
    orders = list(itertools.permutations(range(len(losses)), len(losses) - 1))
    false = 0
    for order in orders:
        bets, fooled = Anytime(plan, delta, whole=False), False
        for rank in order:
            bets.hear(rank, losses[rank])
            fooled |= bets.accepted >= 0
        false += fooled
    assert false / len(orders) <= delta + 1e-12


def test_bets_refuse_what_cannot_be_heard() -> None:
    bets = Anytime(Plan(ints(5), ints(1), 3, ints(0)), 0.05)
    for rank, loss in ((5, 0.0), (-1, 0.0), (0, 1.5)):
        with pytest.raises(ValueError):
            bets.hear(rank, loss)


# ---------------------------------------------------------------- the plan


@given(
    st.lists(st.floats(0, 1), max_size=120),
    st.sampled_from([0.01, 0.05, 0.2]),
    st.sampled_from(["exact", "anytime"]),
    st.sampled_from(["people", "open"]),
    st.integers(0, 50),
    st.sampled_from([None, 0, 7, 60]),
)
@settings(max_examples=250)
def test_any_risks_make_a_plan_that_can_be_kept(
    risk: list[float], eps: float, mode: str, left: str, people: int, draws: int | None
) -> None:
    order = np.sort(np.array(risk, np.float64))
    made = certify.plan(order, len(risk) + people, eps, 0.05, people=people, mode=mode, left=left, draws=draws)  # type: ignore[arg-type]
    assert made.cuts[-1] <= len(risk)
    assert draws is None or made.draws <= draws
    start = len(risk) + people if left == "people" else people
    assert made.allowed.tolist() == [math.floor(eps * start + made.grows * c + 1e-9) for c in made.cuts]
    places = np.random.default_rng(1).permutation(int(made.cuts[-1]))[: made.draws]
    seen = certify.found(made, places, order[places] > 0.5)
    if mode == "exact":
        cut = certify.exact(made, seen, 0.05)
        certify.settle(made, cut, seen, order, certify.bound(made, cut, seen, 0.05) if cut >= 0 else None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 999)), unique_by=lambda t: t[1]), st.integers(0, 9))
def test_equal_risks_are_ordered_by_ids_and_seed_alone(rows: list[tuple[int, int]], seed: int) -> None:
    risk, ids = np.array([r for r, _ in rows], float), [str(i) for _, i in rows]
    first = [ids[i] for i in certify.order_of(risk, ids, seed)]
    again = [ids[::-1][i] for i in certify.order_of(risk[::-1], ids[::-1], seed)]
    assert first == again
    assert [risk[ids.index(i)] for i in first] == sorted(risk)
    assert len(rows) < 30 or first != [i for _, i in sorted(zip(risk, ids, strict=True))]


def test_a_plan_refuses_numbers_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        certify.plan(np.zeros(3), 3, 0.0, 0.05, mode="exact", left="people")
    with pytest.raises(ValueError, match="more than"):
        certify.plan(np.zeros(3), 2, 0.1, 0.05, mode="exact", left="people")
