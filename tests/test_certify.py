"""The exact bound, the draw and the seals, checked against the distribution itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from agent import certify


@pytest.mark.parametrize("population,audited,delta", [(40, 10, 0.05), (200, 30, 0.1), (200, 200, 0.05), (57, 1, 0.2)])
def test_the_bound_fails_no_more_often_than_delta_whatever_the_truth(
    population: int, audited: int, delta: float
) -> None:
    bounds = [certify.wrong_at_most(population, audited, k, delta) for k in range(audited + 1)]
    for truth in range(population + 1):
        misses = [k for k in range(audited + 1) if bounds[k] < truth]
        assert hypergeom.pmf(misses, population, truth, audited).sum() <= delta + 1e-9, truth


@given(st.integers(1, 300), st.data())
@settings(max_examples=60, deadline=None)
def test_the_bound_is_the_tightest_of_its_kind(population: int, data: st.DataObject) -> None:
    audited = data.draw(st.integers(0, population))
    wrong = data.draw(st.integers(0, audited))
    bound = certify.wrong_at_most(population, audited, wrong, 0.05)
    assert wrong <= bound <= population - (audited - wrong)
    if bound < population - (audited - wrong):
        assert hypergeom.cdf(wrong, population, bound + 1, audited) <= 0.05
    if bound > wrong:
        assert hypergeom.cdf(wrong, population, bound, audited) > 0.05


def test_more_errors_never_make_a_better_claim_and_a_full_audit_is_the_truth() -> None:
    bounds = [certify.wrong_at_most(500, 100, k, 0.05) for k in range(101)]
    assert bounds == sorted(bounds)
    assert certify.wrong_at_most(500, 500, 37, 0.05) == 37
    assert certify.wrong_at_most(500, 0, 0, 0.05) == 500


@pytest.mark.parametrize("counts", [(10, 11, 0), (10, 5, 6), (10, 5, -1)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        certify.wrong_at_most(*counts, 0.05)


def test_labels_as_right_as_needed_are_certified_with_the_promised_chance() -> None:
    population, audited, target, delta = 2000, 240, 0.95, 0.05
    needed = certify.accuracy_needed(population, audited, target, delta)
    assert needed is not None and target < needed < 1
    allowed = math.floor((1 - target) * population)

    def chance(bad: int) -> float:
        good = [k for k in range(audited + 1) if certify.wrong_at_most(population, audited, k, delta) - k <= allowed]
        return float(hypergeom.pmf(good, population, bad, audited).sum())

    bad = round((1 - needed) * population)
    assert chance(bad) >= 0.8 > chance(bad + 1)
    assert certify.accuracy_needed(population, 20, 0.99, delta) is None, "no error found in 20 says little"


def test_the_draw_is_a_permutation_that_depends_on_seed_and_ids_alone() -> None:
    ids = [f"item-{i}" for i in range(500)]
    order = certify.draw(ids, 7)
    assert sorted(order) == list(range(500))
    assert order != certify.draw(ids, 8)
    backwards = certify.draw(ids[::-1], 7)
    assert [ids[i] for i in order] == [ids[::-1][i] for i in backwards]


def test_every_item_is_as_likely_to_be_drawn() -> None:
    ids = [f"item-{i}" for i in range(20)]
    counts = np.zeros(20)
    for seed in range(2000):
        counts[certify.draw(ids, seed)[:5]] += 1
    # Binomial(2000, 1/4): sd 19.4; five of them is a chance of one in a million an item.
    assert np.abs(counts - 500).max() < 5 * 19.4


def test_looks_together_spend_no_more_than_delta() -> None:
    spent = sum(certify.risk_of_look(0.05, look) for look in range(1, 100_000))
    assert 0.0499 < spent <= 0.05


def test_a_seal_tells_fields_apart() -> None:
    assert certify.sha256_of([("ab", "c")]) != certify.sha256_of([("a", "bc")])
    assert certify.sha256_of([("a",), ("b",)]) != certify.sha256_of([("b",), ("a",)])
