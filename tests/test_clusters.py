"""Audits by cluster: every order of tiny populations of unequal clusters, and worlds of copies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent.certify import strata
from tests.test_strata import chance_of_falsehood


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
    # Sizes from 1 to 50; whole clusters are wrong, 3 items more than allowed (the last cluster in part).
    rng = np.random.default_rng(0)
    size = np.ceil(rng.pareto(1.3, 300)).clip(1, 50)
    allowed, delta, runs, most = int(size.sum()) // 20, 0.1, 300, 120
    plan = strata.plan(np.full(300, 0.05), allowed, delta, size=size)
    losses = np.zeros((runs, 300))
    for row in losses:
        order = rng.permutation(300)
        row[order] = np.clip((allowed + 3 - np.cumsum(size[order]) + size[order]) / size[order], 0, 1)
    orders = np.stack([strata.order(plan, rng.random(300))[:most] for _ in range(runs)])
    answers, found = strata.rehearse(plan, orders, np.take_along_axis(losses, orders, 1))
    false = (answers <= most) & (allowed + 3 - found > allowed + 1e-6)
    # Binomial with chance ≤ .1: more than .1 + 3.1·√(.09/300) once in a thousand.
    assert false.mean() <= delta + 3.1 * math.sqrt(delta * (1 - delta) / runs)


def test_what_is_found_and_left_counts_items_not_clusters() -> None:
    size, wrong = np.array([3.0, 2, 1, 1, 1, 1, 1]), [2 / 3, 0, 1, 0, 0, 0, 0]
    plan = strata.plan(np.full(7, 0.1), 1, 0.05, size=size)
    test = strata.Test(plan)
    for unit in strata.order(plan, np.random.default_rng(0).random(7)).tolist():
        test.hear(unit, wrong[unit])
    assert test.certified and test.found == pytest.approx(3) and test.wrong_at_most == 0


def test_good_labels_of_unequal_clusters_are_certified() -> None:
    rng = np.random.default_rng(3)
    size = rng.integers(1, 8, 800).astype(float)
    plan = strata.plan(np.full(800, 0.02), int(size.sum()) // 20, 0.05, size=size)
    test = strata.Test(plan)
    for unit in strata.order(plan, rng.random(800))[:120].tolist():
        test.hear(unit, 0.0)
    assert test.certified
