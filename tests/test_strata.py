"""The audit by strata: every order of tiny populations, laws of the bets, and worlds that must not be certified."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.certify import strata
from agent.certify._betting import Bets, Game, nearest

Doubles = NDArray[np.float64]


def every_order(plan: strata.Plan, loss: Doubles) -> tuple[NDArray[np.int64], Doubles]:
    """All orders of a tiny population that a test can tell apart, and their chances under the draw by weights left."""
    orders = np.array(list(itertools.permutations(range(len(loss)))))
    eager = (plan.size * plan.weight[plan.stratum])[orders]
    left = np.cumsum(eager[:, ::-1], axis=1)[:, ::-1]
    alike = np.unique(np.stack([plan.stratum, plan.size, loss]), axis=1, return_inverse=True)[1].ravel()
    _, first, at = np.unique(alike[orders], axis=0, return_index=True, return_inverse=True)
    return orders[first], np.bincount(at.ravel(), (eager / left).prod(1))


def chance_of_falsehood(plan: strata.Plan, loss: Doubles) -> float:
    """The exact chance that, looking after every answer, more is ever claimed than is so."""
    orders, chance = every_order(plan, loss)
    assert chance.sum() == pytest.approx(1)
    truth = float((plan.size * loss).sum())
    bets, false = Bets(plan.game(), len(orders)), np.zeros(len(orders), dtype=bool)
    for unit in orders.T:
        bets.hear(plan.stratum[unit], loss[unit], plan.size[unit])
        false |= (bets.bound(plan.delta) < truth - 1e-6) | (
            (bets.bound(plan.delta) - bets.found <= plan.allowed) & (truth - bets.found > plan.allowed + 1e-6)
        )
    return float(chance[false].sum())


@pytest.mark.parametrize("delta", [0.1, 0.4])
@pytest.mark.parametrize("allowed", [0, 1, 2])
@pytest.mark.parametrize("risk", [(0.02, 0.02, 0.02, 0.4, 0.4, 0.4), (0.2,) * 6])
def test_no_order_of_a_tiny_population_makes_false_certificates_likelier_than_delta(
    risk: tuple[float, ...], allowed: int, delta: float
) -> None:
    plan = strata.plan(np.array(risk), allowed, delta, strata=2)
    for wrong in ((5,), (0,), (0, 1), (4, 5), (0, 5), (0, 1, 2), (0, 4, 5)):
        loss = np.zeros(6)
        loss[list(wrong)] = 1
        assert chance_of_falsehood(plan, loss) <= delta + 1e-9, wrong


def test_much_of_delta_is_used() -> None:
    # A test that never certifies would pass the one above.
    plan = strata.plan(np.array((0.02, 0.02, 0.02, 0.4, 0.4, 0.4)), 0, 0.4, strata=2)
    assert 0.1 < chance_of_falsehood(plan, np.array([0.0, 0, 0, 0, 0, 1])) <= 0.4


@given(st.data())
@settings(max_examples=80)
def test_no_bet_gains_on_average_while_its_null_is_true(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    n, layers = 12, data.draw(st.integers(1, 3))
    stratum = np.concatenate([np.arange(layers), rng.integers(0, layers, n - layers)])
    size = rng.integers(1, 4, n).astype(float) if data.draw(st.booleans()) else np.ones(n)
    loss = rng.choice([0, 0, 0.5, 1], n) if data.draw(st.booleans()) else (rng.random(n) < 0.3).astype(float)
    truth, weight = float((size * loss).sum()), rng.uniform(0.2, 1, layers)
    limits = np.unique(np.maximum(1.0, np.floor([truth, truth / 2, truth / 3])))
    limits = limits[limits <= truth]
    if len(limits) == 0:
        return
    mass = np.bincount(stratum, size)
    game = Game(mass, weight, rng.uniform(0.01, 0.5, (2, layers)), np.array([0.5, 0.5]), limits, every=4)
    order = rng.permutation(n)
    past, left = np.split(order, [data.draw(st.integers(0, 9))])
    # One history, and beside it all that can come next, each from that same past.
    before, after = Bets(game), Bets(game, len(left))
    for unit in past:
        before.hear(stratum[[unit]], loss[[unit]], size[[unit]])
        after.hear(*(np.repeat(x[unit], len(left)) for x in (stratum, loss, size)))
    after.hear(stratum[left], loss[left], size[left])
    eager = size[left] * weight[stratum[left]]
    mean = (np.exp(after.wealth()) * (eager / eager.sum())[:, None]).sum(0)
    assert np.all(mean <= np.exp(before.wealth()[0]) * (1 + 1e-9))


@given(st.floats(1e-6, 0.999), st.floats(1e-9, 1e6))
def test_the_nearest_null_solves_its_equation(p: float, pull: float) -> None:
    q = float(nearest(np.array(p), np.array(pull)))
    assert p <= q <= 1
    assert q - p == pytest.approx(pull * q * (1 - q), rel=1e-6, abs=1e-9 * max(1, pull))


def world(name: str, n: int, wrong: int, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Risks, and the chance by which wrong labels lie where they do."""
    risk = np.exp(rng.normal(-4.2, 1.3, n)).clip(1e-4, 0.9)
    truth = {
        "as predicted": risk,
        "useless": rng.permutation(risk),
        "reversed": 1e-3 / risk,
        "cliff": np.where(risk < np.median(risk), 1.0, 1e-6),
        "where it is sure": np.where(risk < np.quantile(risk, 0.1), 1.0, 1e-6),
    }[name]
    return risk, truth / truth.sum()


@pytest.mark.parametrize("more", [1, 12])
@pytest.mark.parametrize("name", ["as predicted", "useless", "reversed", "cliff", "where it is sure"])
def test_false_certificates_stay_below_delta_with_a_look_after_every_answer(name: str, more: int) -> None:
    n, allowed, delta, runs, most = 600, 30, 0.1, 300, 250
    rng = np.random.default_rng(len(name) + more)
    risk, where = world(name, n, allowed + more, rng)
    wrong = np.zeros((runs, n), dtype=bool)
    for row in wrong:
        row[rng.choice(n, allowed + more, replace=False, p=where)] = True
    plan = strata.plan(risk, allowed, delta)
    orders = np.stack([strata.order(plan, rng.random(n))[:most] for _ in range(runs)])
    answers, found = strata.rehearse(plan, orders, np.take_along_axis(wrong, orders, 1))
    false = (answers <= most) & (allowed + more - found > allowed)
    # Binomial with chance ≤ δ: above δ + 3.1 standard deviations once in a thousand.
    assert false.mean() <= delta + 3.1 * math.sqrt(delta * (1 - delta) / runs)


def test_strata_save_answers_where_risks_are_true_and_cost_few_where_they_are_not() -> None:
    n, allowed, runs, most = 4000, 200, 100, 800
    rng = np.random.default_rng(5)
    risk, where = world("as predicted", n, 120, rng)
    wrong = np.zeros((runs, n), dtype=bool)
    for row in wrong:
        row[rng.choice(n, 110, replace=False, p=where)] = True

    def median(risk: Doubles) -> float:
        plan = strata.plan(risk, allowed, 0.05)
        orders = np.stack([strata.order(plan, rng.random(n))[:most] for _ in range(runs)])
        return float(np.median(strata.rehearse(plan, orders, np.take_along_axis(wrong, orders, 1))[0]))

    uniform, good, level = median(np.full(n, 0.5)), median(risk), median(strata.shifted(risk, np.ones(n), 700.0))
    # Measured .66 and .68 of uniform; medians of 150 scatter by about a tenth.
    assert good < 0.85 * uniform and level < 0.9 * uniform
    assert median(rng.permutation(risk)) < 1.35 * uniform


@pytest.mark.parametrize("size", [np.ones(10), np.array([1.0, 2, 1, 1, 5, 1, 1, 3, 1, 2])])
def test_the_order_draws_in_proportion_to_sizes_and_weights_left(size: Doubles) -> None:
    plan = strata.plan(np.array([0.01] * 6 + [0.3] * 4), 1, 0.05, strata=2, size=size)
    rng = np.random.default_rng(1)
    first = np.array([strata.order(plan, rng.random(10))[:2] for _ in range(6000)])
    eager = size * plan.weight[plan.stratum] / (size * plan.weight[plan.stratum]).sum()
    seen = np.bincount(first[:, 0], minlength=10) / 6000
    assert np.all(np.abs(seen - eager) < 4 * np.sqrt(eager / 6000))
    after = first[first[:, 0] == 9, 1]
    rest = np.where(np.arange(10) == 9, 0, eager) / (1 - eager[9])
    assert np.all(np.abs(np.bincount(after, minlength=10) / len(after) - rest) < 4.5 * np.sqrt(0.25 / len(after)))


def test_a_part_is_drawn_as_an_audit_of_its_own() -> None:
    rng = np.random.default_rng(2)
    risk = rng.uniform(0, 0.3, 200)
    plan, chance, units = strata.plan(risk, 8, 0.05), rng.random(200), np.sort(rng.choice(200, 70, replace=False))
    part = strata.part(plan, risk, units, 3)
    among = [unit for unit in strata.order(plan, chance) if unit in set(units.tolist())]
    assert units[strata.order(part, chance[units])].tolist() == among
    assert part.allowed == 3 and part.delta == plan.delta


def test_the_order_depends_on_ids_and_seed_alone() -> None:
    ids = [f"item {i}" for i in range(50)]
    chance = strata.chances(ids, 7)
    assert np.array_equal(chance, strata.chances(ids, 7))
    assert not np.array_equal(chance, strata.chances(ids, 8))
    assert np.array_equal(chance[::-1], strata.chances(ids[::-1], 7))
    assert chance.min() > 0 and chance.max() < 1


def test_an_audit_as_it_goes() -> None:
    risk = np.random.default_rng(3).uniform(0, 0.08, 1000)
    plan = strata.plan(risk, 50, 0.05)
    test, bounds = strata.Test(plan), []
    for unit in strata.order(plan, strata.chances([str(i) for i in range(1000)], 0))[:200].tolist():
        test.hear(unit, 0.0)
        bounds.append(test.wrong_at_most)
        if test.certified:
            break
    assert test.certified and test.heard < 120 and test.found == 0
    assert bounds == sorted(bounds, reverse=True) and bounds[-1] <= 50
    assert test.p <= 0.05
    with pytest.raises(ValueError, match="heard already"):
        test.hear(unit, 0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        test.hear(999 if unit != 999 else 998, 2.0)


def test_wrong_answers_never_help_and_an_audit_of_everything_is_the_truth() -> None:
    plan = strata.plan(np.linspace(0, 0.5, 40), 2, 0.05, strata=4)
    test = strata.Test(plan)
    for unit in strata.order(plan, np.random.default_rng(0).random(40)).tolist():
        test.hear(unit, 1.0)
        assert test.wrong_at_most == 40 - test.heard  # all that was not asked may be wrong
    assert test.certified and test.wrong_at_most == 0


def test_equal_risks_share_a_stratum_and_one_risk_is_a_uniform_audit() -> None:
    risk = np.repeat([0.01, 0.02, 0.05, 0.2], [500, 300, 150, 50])
    plan = strata.plan(risk, 30, 0.05)
    assert all(len(set(plan.stratum[risk == value].tolist())) == 1 for value in np.unique(risk))
    assert np.all(np.diff(plan.weight[plan.stratum]) >= -1e-9), "riskier items are drawn more eagerly"
    assert strata.plan(np.full(100, 0.03), 5, 0.05).weight.tolist() == [1.0]


@pytest.mark.parametrize(
    "risk,allowed,delta",
    [((), 1, 0.05), ((1.5,), 1, 0.05), ((0.1,), -1, 0.05), ((0.1,), 1, 0.0), ((math.nan,), 1, 0.05)],
)
def test_plans_that_cannot_be_are_refused(risk: tuple[float, ...], allowed: int, delta: float) -> None:
    with pytest.raises(ValueError):
        strata.plan(np.array(risk), allowed, delta)


def test_the_forecast_is_what_happens_when_risks_are_true() -> None:
    risk = np.random.default_rng(9).beta(0.3, 12, 3000)
    plan = strata.plan(risk, 150, 0.05)
    half, high = strata.forecast(plan, risk, seed=1, runs=60, most=1000)
    assert 40 < half < high < 1000


def test_one_audit_as_it_goes_is_what_many_at_once_are() -> None:
    rng = np.random.default_rng(4)
    risk = rng.beta(0.5, 20, 400)
    plan = strata.plan(risk, 24, 0.05)
    orders = np.stack([strata.order(plan, rng.random(400)) for _ in range(4)])
    wrong = rng.random(400) < 0.03
    answers, found = strata.rehearse(plan, orders, wrong[orders])
    assert found.max() > 1
    for row, many, errors in zip(orders, answers, found, strict=True):
        test = strata.Test(plan)
        for unit in row[:many].tolist():
            assert not test.certified
            test.hear(unit, float(wrong[unit]))
        assert test.certified and test.found == errors
