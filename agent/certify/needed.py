"""How many audits one look will take, if so many labels are wrong. Knows counts, no ledger and no people.

Told before anybody is asked: a plan for people's time, which promises nothing. `agent.certify.strata.forecast` says the
same of an audit that may be looked at after every answer.
"""

from __future__ import annotations

POWER = 0.8
"""The chance with which an audit of the size that is told will do."""


def audits_needed(population: int, allowed: int, wrong: int, delta: float, power: float = POWER) -> int | None:
    """The smallest uniform audit of frozen labels that certifies with chance `power`; None: none does.

    One look by the exact test (`agent.certify.exact`), errors found being mended. With k errors allowed to be found the
    smallest audit that bears them is the likeliest to find no more, so that only these sizes are tried, k = 0, 1, ….

    Args:
        population: labels. allowed: wrong ones that may stay. wrong: how many there are. delta: risk, in (0, 1).
    Raises:
        ValueError: counts that cannot be.
    """
    if not 0 <= wrong <= population or allowed < 0 or not 0 < delta < 1:
        raise ValueError(f"{wrong} wrong of {population}, {allowed} allowed, delta {delta} cannot be")
    from scipy.stats import hypergeom

    if population <= allowed:
        return 0
    audits = 0
    for may in range(wrong + 1):
        audits = _fewest(population, may, allowed, delta, audits)
        if hypergeom.cdf(may, population, wrong, audits) >= power:
            return audits
    return None


def _fewest(population: int, may: int, allowed: int, delta: float, least: int) -> int:
    """The smallest audit, of `least` answers or more, in which so many errors may be found."""
    from scipy.stats import hypergeom

    enough = population - allowed  # then no more are unseen than may be wrong
    worst = min(allowed + 1 + may, population)
    low, high = least, min(least + 32, enough)
    while high < enough and hypergeom.cdf(may, population, worst, high) > delta:
        low, high = high, min(2 * high, enough)
    while low < high:
        middle = (low + high) // 2
        if hypergeom.cdf(may, population, worst, middle) <= delta:
            high = middle
        else:
            low = middle + 1
    return low
