"""Audits by cluster: every order of tiny populations of unequal clusters, and worlds of copies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.certify import clusters, strata
from tests.test_strata import chance_of_falsehood


@given(st.lists(st.integers(-3, 8), min_size=1, max_size=40))
def test_units_are_the_clusters(numbers: list[int]) -> None:
    cluster = np.array(numbers)
    units = clusters.gather(cluster)
    assert units.size.sum() == len(numbers) and units.unit[0] == 0
    assert np.array_equal(units.unit[:, None] == units.unit[None], cluster[:, None] == cluster[None])
    assert np.array_equal(np.bincount(units.unit), units.size)


@pytest.mark.parametrize("delta", [0.1, 0.4])
@pytest.mark.parametrize("allowed", [0, 2])
@pytest.mark.parametrize("risk", [(0.1,) * 5, (0.01, 0.01, 0.05, 0.3, 0.3)])
def test_no_order_of_unequal_clusters_makes_false_certificates_likelier_than_delta(
    risk: tuple[float, ...], allowed: int, delta: float
) -> None:
    size = np.array([1.0, 1, 2, 3, 6])
    plan = strata.plan(np.array(risk), allowed, delta, strata=2, size=size)
    for loss in ((0, 0, 0, 0, 0.5), (1, 1, 0.5, 0, 0), (0, 0, 1, 1 / 3, 0), (0, 0, 0, 0, 1), (1, 0, 0.5, 1 / 3, 1 / 6)):
        assert chance_of_falsehood(plan, np.array(loss, dtype=float)) <= delta + 1e-9, loss


def test_false_certificates_of_copies_stay_below_delta() -> None:
    # Sizes from 1 to about 50; whole clusters are wrong, 3 items more than allowed (the last cluster in part).
    rng = np.random.default_rng(0)
    size = np.ceil(rng.pareto(1.3, 300)).clip(1, 50)
    units = clusters.gather(np.repeat(np.arange(300), size.astype(int)))
    items = len(units.unit)
    risk = np.full(items, 0.05)
    allowed, delta, runs, most = items // 20, 0.1, 300, 200
    plan = clusters.plan(units, risk, allowed, delta)
    losses, orders = np.zeros((runs, 300)), []
    for row in losses:
        left = allowed + 3.0
        for unit in rng.permutation(300):
            row[unit] = min(1.0, left / size[unit])
            left -= row[unit] * size[unit]
            if left <= 0:
                break
        orders.append(strata.order(plan, rng.random(300))[:most])
    false = 0
    for row, order in zip(losses[:80], orders[:80], strict=True):
        test, total = strata.Test(plan), float((row * size).sum())
        for unit in order[:120].tolist():
            test.hear(unit, row[unit])
            if test.certified and total - test.found > allowed + 1e-6:
                false += 1
                break
    # Binomial with chance ≤ .1: more than .1 + 3.1·√(.09/80) of 80 once in a thousand.
    assert false / 80 <= delta + 3.1 * math.sqrt(delta * (1 - delta) / 80)


def test_an_answer_settles_all_copies() -> None:
    cluster = np.array([5, 5, 5, 9, 9, 1, 2, 3, 4, 6])
    units = clusters.gather(cluster)
    wrong = np.array([True, True, False, False, False, True, False, False, False, False])
    assert clusters.share(units, 0, wrong) == pytest.approx(2 / 3)
    assert clusters.share(units, 1, wrong) == 0 and clusters.share(units, 2, wrong) == 1
    plan = clusters.plan(units, np.full(10, 0.1), 1, 0.05)
    test = strata.Test(plan)
    for unit in strata.order(plan, np.random.default_rng(0).random(7)).tolist():
        test.hear(unit, clusters.share(units, unit, wrong))
    assert test.certified and test.found == pytest.approx(3) and test.wrong_at_most == 0


def test_good_labels_of_unequal_clusters_are_certified() -> None:
    rng = np.random.default_rng(3)
    units = clusters.gather(np.repeat(np.arange(800), rng.integers(1, 8, 800)))
    plan = clusters.plan(units, np.full(len(units.unit), 0.02), len(units.unit) // 20, 0.05)
    test = strata.Test(plan)
    for unit in strata.order(plan, rng.random(800))[:120].tolist():
        test.hear(unit, 0.0)
    assert test.certified
