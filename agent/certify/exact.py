"""The exact bound for one set of labels, looked at once: Clopper and Pearson's construction for a finite population.

Knows no ledger and no people. The argument stands in `agent.certify`.
"""

from __future__ import annotations

import math


def wrong_at_most(population: int, audited: int, wrong: int, delta: float) -> int:
    """Upper confidence bound on the number of wrong labels in a finite population, exact.

    The largest T with P(Hypergeom(population, T, audited) ≤ wrong) > delta, so that P(T_true > bound) ≤ delta.

    Args:
        population: labels in all, M ≥ 0. audited: drawn uniformly without replacement, 0 ≤ n ≤ M.
        wrong: found wrong among them, 0 ≤ k ≤ n. delta: risk in (0, 1).
    Raises:
        ValueError: counts that cannot be.
    """
    from scipy.stats import hypergeom

    if not 0 <= wrong <= audited <= population:
        raise ValueError(f"0 ≤ wrong {wrong} ≤ audited {audited} ≤ population {population} does not hold")
    if not 0 < delta < 1:
        raise ValueError(f"delta {delta} is not between 0 and 1")
    low, high = wrong, population - (audited - wrong)
    # P(X ≤ k) falls as T grows: find the last T at which it is still above delta.
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeom.cdf(wrong, population, middle, audited) > delta:
            low = middle
        else:
            high = middle - 1
    return low


def wrong_allowed(population: int, audited: int, target: float, delta: float) -> int:
    """How many of the audited labels may be wrong (they are mended) for one look to certify `target`; -1: none will do.

    Args: as `wrong_at_most`; target: share of right labels, in (0, 1).
    """
    allowed, most = math.floor((1 - target) * population + 1e-9), -1
    while most < audited and wrong_at_most(population, audited, most + 1, delta) - (most + 1) <= allowed:
        most += 1
    return most


def accuracy_needed(population: int, audited: int, target: float, delta: float, power: float = 0.8) -> float | None:
    """How right labels must be for an audit of this size to certify `target` with chance `power`; None: it cannot.

    One look at `population` machine labels, `audited` of them drawn. The audit certifies with up to k errors found,
    where the bound less the k mended ones is within the target; the answer is the largest number of wrong labels
    with which so few are found with chance `power`, as an accuracy.
    """
    from scipy.stats import hypergeom

    if (most := wrong_allowed(population, audited, target, delta)) < 0:
        return None
    low, high = 0, population
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeom.cdf(most, population, middle, audited) >= power:
            low = middle
        else:
            high = middle - 1
    return 1 - low / population


def risk_of_look(delta: float, look: int) -> float:
    """What look number `look` (from 1) may spend of `delta`: δ · 6 / (π² look²)."""
    return delta * 6 / (math.pi**2 * look**2)
