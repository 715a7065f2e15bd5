"""Claims about classes hold together: every outcome of small audits, and running tests of parts of one audit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import hypergeom

from agent.certify import classes, strata


def lost(found: tuple[int, ...]) -> NDArray[np.int64]:
    """Of the first class every third item found wrong is one that nobody could tell."""
    return np.array([found[0] // 3, 0])


@pytest.mark.parametrize("allowed", [(0, 0), (1, 2), (2, 2)])
@pytest.mark.parametrize("population,audited", [((12, 9), (9, 7)), ((20, 20), (12, 12)), ((8, 30), (8, 15))])
@pytest.mark.parametrize("delta", [0.1, 0.4])
def test_all_promises_hold_together_whatever_is_true(
    population: tuple[int, int], audited: tuple[int, int], allowed: tuple[int, int], delta: float
) -> None:
    counts = list(itertools.product(*(range(n + 1) for n in audited)))
    arrays = [np.array(x) for x in (population, audited, allowed)]
    verdicts = {k: classes.counted(arrays[0], arrays[1], np.array(k), lost(k), arrays[2], delta) for k in counts}
    for truth in itertools.product(*(range(M + 1) for M in population)):
        pmf = [hypergeom.pmf(np.arange(n + 1), M, T, n) for M, n, T in zip(population, audited, truth, strict=True)]
        broken = sum(
            pmf[0][k[0]] * pmf[1][k[1]]
            for k in counts
            if any(truth[c] - k[c] + lost(k)[c] > v.wrong_at_most for c, v in enumerate(verdicts[k]))
        )
        assert broken <= delta + 1e-9, truth
    assert all(v.certified == (v.wrong_at_most <= allowed[c]) for k in counts for c, v in enumerate(verdicts[k]))


def test_holm_goes_further_than_one_level_for_all() -> None:
    p = np.array([0.2, 0.001, 0.024, 0.9])
    assert classes.holm(p, 0.05).tolist() == [False, True, False, False]  # .05/4 lets one pass, .05/3 not another
    assert classes.holm(p, 0.1).tolist() == [False, True, True, False]
    assert classes.holm(np.array([0.04, 0.01, 0.02]), 0.05).tolist() == [True, True, True]


def test_a_class_seen_whole_is_certified_by_what_was_found() -> None:
    seen = classes.counted(
        np.array([10, 100]), np.array([10, 5]), np.array([4, 0]), np.zeros(2, int), np.array([0, 5]), 0.05
    )
    assert seen[0].certified and seen[0].wrong_at_most == 0
    assert not seen[1].certified


@pytest.mark.parametrize("audited,wrong", [((5,), (6,)), ((11,), (0,))])
def test_counts_that_cannot_be_are_refused(audited: tuple[int], wrong: tuple[int]) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        classes.counted(np.array([10]), np.array(audited), np.array(wrong), np.array([0]), np.array([1]), 0.05)


def test_a_good_class_is_certified_from_the_common_audit_and_a_bad_one_is_not() -> None:
    rng = np.random.default_rng(4)
    n = 2000
    named = (rng.random(n) < 0.4).astype(int)
    wrong = np.where(named == 1, rng.random(n) < 0.25, rng.random(n) < 0.005)
    risk = np.clip(np.where(wrong, 0.1, 0.03) + rng.normal(0, 0.01, n), 0, 1)
    plan, delta = strata.plan(risk, 100, 0.05), 0.05
    members = [np.flatnonzero(named == c) for c in (0, 1)]
    tests = [strata.Test(strata.part(plan, risk, units, len(units) // 20)) for units in members]
    for unit in strata.order(plan, rng.random(n))[:300]:
        c = named[unit]
        tests[c].hear(int(np.searchsorted(members[c], unit)), float(wrong[unit]))
    good, bad = classes.watched(tests, np.zeros(2, int), delta)
    assert good.certified and good.wrong_at_most <= len(members[0]) // 20 and good.p < 0.025
    assert not bad.certified and bad.wrong_at_most > len(members[1]) // 20
