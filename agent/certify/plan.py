"""Where to cut, how many to audit and what to count on: chosen by predicted risks. Knows arrays, no ledger, no people.

Nothing here can break the promise of `agent.certify.gate`, which holds for any plan that is fixed before the audit; bad
predictions only waste people's labels. So does a pilot that is larger than the predictions need: a walk (exact test,
the rest to people) counts on no prediction but for its reach and the size of its audit, and needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agent.certify.draw import salted
from agent.certify.gate import Plan, last_in_a_row
from agent.certify.walk import fewest_draws, may_find
from agent.types import Doubles, Ints

CUTS = 50
CERTAIN = {"exact": 1.75, "anytime": 1.9}  # standard deviations that a prefix keeps clear of what is allowed
COUNTED_ON = 0.9  # of the errors the audit is expected to find
BETWEEN = (1e-6, 1 - 1e-6)  # so that no formula divides by nothing
LOOKING = 4  # by how much an any-time test needs more than an exact one, in chances
ASTRAY = (0.6, 1.0, 1.5)  # times which predicted risks may be wrong; a walk should not end at its reach for that
FRACTIONS = np.geomspace(0.004, 0.6, 48)  # of the reach that is audited
GRID = 4000


def order_of(risk: Doubles, ids: Sequence[str], seed: int) -> Ints:
    """Positions, surest first; equal risks in an order that depends on nothing but the ids and the seed."""
    keys = list(salted("order", seed, ids))
    rank = np.empty(len(keys), np.int64)
    rank[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return np.lexsort((rank, np.asarray(risk, np.float64))).astype(np.int64)


def plan(
    risk: Doubles,
    n: int,
    eps: float,
    delta: float,
    *,
    people: int = 0,
    mode: Literal["exact", "anytime"],
    left: Literal["people", "open"],
    draws: int | None = None,
    share: float | None = None,
) -> Plan:
    """The plan that is predicted to leave people the least work.

    risk: (U,) predicted chance of error of the items without a person's label, in the frozen order. n: labels delivered
    in all if left = "people" (what lies behind the accepted prefix goes to people). people: labels by people that are
    delivered besides the prefix if left = "open" (what lies behind it is not delivered). draws: as many audits; None:
    as many as pay. share: the audit was drawn from all `risk`, so that this share of any prefix is audited.

    Raises:
        ValueError: eps or delta outside (0, 1), or more items than n.
    """
    if not (0 < eps < 1 and 0 < delta < 1):
        raise ValueError(f"eps {eps} and delta {delta} must lie between 0 and 1")
    units = len(risk)
    if left == "people" and units + people > n:
        raise ValueError(f"{units} items without and {people} with a person's label are more than {n}")
    grows = eps if left == "open" else 0.0
    start = eps * (n if left == "people" else people)
    sizes = np.unique(np.linspace(min(1, units), units, min(units, GRID) or 1).astype(np.int64))
    free = int(last_in_a_row(sizes <= np.floor(start + grows * sizes + 1e-9)))
    if units == 0 or free == len(sizes) - 1:
        whole = np.array([units], np.int64)
        return Plan(whole, _floor(start + grows * whole), 0, np.zeros(1, np.int64), grows)
    if mode == "exact" and left == "people":
        return _walk(np.asarray(risk, np.float64), int(start + 1e-9), delta, draws, share)
    errors = np.concatenate([[0.0], np.cumsum(np.asarray(risk, np.float64))])[sizes]
    allowed = np.floor(start + grows * sizes + 1e-9)
    outcome = _open_outcome if left == "open" else _outcome
    fractions = _fractions(draws, units) if share is None else np.clip([share], *BETWEEN)
    best = max(
        (outcome(sizes, errors, allowed, f, mode, delta) for f in fractions),
        key=lambda found: found[0],
    )
    _, fraction, first, reach = best
    count = int(np.ceil(fraction * reach)) if draws is None else min(draws, reach)
    cuts = np.unique(np.linspace(first, reach, min(CUTS, reach - first + 1)).astype(np.int64))
    expected = np.concatenate([[0.0], np.cumsum(np.asarray(risk, np.float64))])[cuts] * count / max(reach, 1)
    return Plan(cuts, _floor(start + grows * cuts), count, _floor(COUNTED_ON * expected), grows)


def _floor(values: NDArray[np.floating[Any]]) -> Ints:
    return np.asarray(np.floor(values + 1e-9), np.int64)


def _fractions(draws: int | None, units: int) -> Doubles:
    if draws is None:
        return FRACTIONS
    return np.clip(draws / np.geomspace(max(draws, 1), max(units, 2), 40), *BETWEEN)


def _outcome(
    sizes: Ints, errors: Doubles, allowed: Doubles, fraction: float, mode: str, delta: float
) -> tuple[float, float, int, int]:
    """(labels that people need not give, fraction, first cut, reach) if this fraction is audited."""
    credit = np.floor(COUNTED_ON * fraction * errors)
    rate = np.clip(errors / sizes, 1e-9, 1 - 1e-9)
    spread = np.sqrt(sizes * rate * (1 - rate) * (1 - fraction) / fraction)
    room = allowed + credit - errors
    fits = np.flatnonzero(room >= CERTAIN[mode] * spread)
    if len(fits) == 0:
        clear = int(np.argmax(room / (spread + 1e-9)))
        return -1.0 / (1 + fraction), fraction, int(sizes[clear]), int(sizes[clear])
    aim = fits[-1]
    further = np.flatnonzero(room >= -spread)[-1]
    short = np.flatnonzero(sizes <= allowed + credit)
    first = int(sizes[short[-1]]) if len(short) else int(sizes[0])
    return float(sizes[aim] * (1 - fraction)), fraction, first, int(sizes[max(aim, further)])


def _open_outcome(
    sizes: Ints, errors: Doubles, allowed: Doubles, fraction: float, mode: str, delta: float
) -> tuple[float, float, int, int]:
    """The same where the rest is left open: all hangs on the first cut, which has to be one that almost surely passes.

    A cut passes if what is found would be too little for a bad one: a Poisson law, drawn together as the
    hypergeometric is.
    """
    from scipy.special import gammaincc

    least = allowed + np.floor(COUNTED_ON * fraction * errors) + 1
    narrow = (1 - fraction) * (1 - np.minimum(least / sizes, 0.3))
    mean = fraction * errors

    def tail(found: Doubles) -> Doubles:
        return np.asarray(gammaincc(found / narrow + 1, fraction * least / narrow), np.float64)

    likely, worst = tail(mean), tail(mean + 1.645 * np.sqrt(mean))
    level = delta / (1 if mode == "exact" else LOOKING)
    # Where the draw might pass over a prefix altogether nothing is tested.
    testable = (sizes >= least) & ((1 - fraction) ** sizes <= min(level, 0.01))
    if not testable.any():
        return -2.0, fraction, int(sizes[-1]), int(sizes[-1])
    fits = np.flatnonzero((likely <= level) & testable)
    if len(fits) == 0:
        clear = int(sizes[np.argmin(np.where(testable, worst, 2.0))])
        return -1.0 / (1 + fraction), fraction, clear, clear
    aim = fits[-1]
    before = testable & (sizes <= sizes[aim])
    sure = np.flatnonzero(before & (worst <= level / 5))
    # From where on all are sure to pass, up to the last that is.
    first = sure[-1 - int(np.argmin(np.append(np.diff(sure[::-1]) == -1, False)))] if len(sure) else -1
    if first < 0:
        first = int(np.argmin(np.where(before, worst, 2.0)))
    further = np.flatnonzero(tail(np.maximum(mean - np.sqrt(mean), 0.0)) <= level)[-1]
    return float(sizes[aim] * (1 - fraction)), fraction, int(sizes[first]), int(sizes[max(aim, further)])


def _walk(risk: Doubles, allowed: int, delta: float, draws: int | None, share: float | None) -> Plan:
    """The plan of `agent.certify.walk`: the reach and the audit with which it is expected to leave people the least.

    The walk ends at the (K + 1)st error found: where the errors that are predicted to be found reach a gamma variable
    of that order.
    """
    from scipy.special import gammaincinv

    units = len(risk)
    total = np.concatenate([[0.0], np.cumsum(risk)])
    reaches = np.unique(np.round(units * np.append(np.geomspace(0.08, 0.95, 24), 1.0)).astype(np.int64))
    reach = reaches[reaches > allowed][:, None]
    if draws is not None:
        fraction = np.clip(draws / reach, *BETWEEN)
    else:
        one = FRACTIONS if share is None else np.clip([share], *BETWEEN)
        fraction = np.broadcast_to(one, (len(reach), len(one)))
    each, back = np.unique(fraction, return_inverse=True)
    most = np.array([_may_find_about(allowed, f, delta) for f in each.tolist()])[back.reshape(fraction.shape)]
    # Without replacement the number found scatters less than a binomial one, the denser the errors the less.
    mean = (allowed + 1 + most) * fraction
    most = mean - (mean - most) * np.sqrt(np.clip(1 - (allowed + 1 + most) / reach, 0.0, 1.0))
    found = gammaincinv(np.maximum(most, 0.0)[..., None] + 1, (np.arange(9) + 0.5) / 9)
    errors = (found / fraction[..., None])[..., None] / np.array(ASTRAY)
    ends = np.minimum(np.searchsorted(total, errors), reach[..., None, None]).mean(axis=(-1, -2))
    value = np.where(most < 0, float(allowed), ends) * (1 - fraction)
    row, column = np.unravel_index(int(np.argmax(value)), value.shape)
    size = int(reach[row, 0])
    count = min(int(np.ceil(fraction[row, column] * size)), size) if draws is None else min(draws, size)
    limit = may_find(size, count, allowed, delta)
    if draws is None and share is None:
        count = fewest_draws(size, limit, allowed, delta)  # none at all where no audit that pays would prove a thing
    cuts = np.unique(np.linspace(min(allowed, size) or 1, size, min(CUTS, size)).astype(np.int64))
    return Plan(cuts, np.full(len(cuts), allowed), count, np.zeros(len(cuts), np.int64), 0.0, limit)


def _may_find_about(allowed: int, fraction: float, delta: float) -> float:
    """`walk.may_find` for an audit that takes each item by a coin, between two whole numbers on a straight line."""
    from scipy.special import bdtr

    counts = np.arange(int(allowed * fraction / max(1 - fraction, 0.1)) + 8)
    chance = np.append(0.0, bdtr(counts, allowed + 1 + counts, fraction))
    after = int(np.searchsorted(chance, delta, side="right"))
    if after == len(chance):
        return float(counts[-1])
    return float(after - 2 + (delta - chance[after - 1]) / (chance[after] - chance[after - 1]))
