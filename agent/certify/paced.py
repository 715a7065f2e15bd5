"""A walk that audits the denser the more errors it has found, and is proved at every step. Knows no ledger, no people.

Setting. Labels stand in a frozen order, surest first; behind the accepted prefix people label everything, and what an
audit finds wrong is mended. A prefix is good as long as no more than B wrong labels in it were not audited. For every
item a coin u in [0, 1) is drawn beforehand. Shares f_0, …, f_K are fixed beforehand, too. Walk up the order; while k
errors have been found, audit an item where u < f_k. The walk ends at the error found last of K + 1.

Theorem. The wrong labels that were passed unseen number at most G_0 + … + G_K in law, where the G_k are independent and
P(G_k = j) = f_k (1 − f_k)^j. So if P(G_0 + … + G_K > B) ≤ δ, then with probability at least 1 − δ every prefix that
the walk ever stood at is good: it may be looked at, and left, at any time.

Proof. Which labels are wrong was frozen before the coins. While k errors have been found, each wrong label that the
walk comes to is found with chance f_k, whatever was seen before, since its coin is independent of all the coins that
brought the walk there. So the wrong ones passed unseen in that state are a geometric number, cut short where the labels
or the walk end, independent of the states before. What was passed unseen only grows along the walk. Where the errors
lie does not enter at all, hence no order, no prediction and no cut can break it; and where they do not run out the
bound is attained. Going on to the next share earlier than at an error only cuts a geometric number short: who does not
answer is counted as an error found (and the item set aside, to be labeled before it is delivered).

Why shares that grow. In a region with risk p it takes 1/p audits to find an error, whatever the share, and the error
found frees 1/p_end labels at the far end, where the risk is p_end; so state k costs about 1/p − 1/p_end and adds
x = (1 − f)/f unseen errors with variance near x². Least cost for the same spread: x in proportion to
√(1/p − 1/p_end), sparse where labels are sure and dense near the end. How far the walk has come is told by the unseen
errors y expected so far: `shares` takes p/p_end = √(y/B), a guess that costs labels where it fails, never the promise.

Source: ours. `agent.certify.walk` is the case of equal shares, drawn without replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.certify.draw import salted
from agent.types import Bools, Doubles, Ints

SCALE = 0.45  # of √B: unseen errors a state, where risks are half way to those at the end
STEEP = 0.5  # predicted risk grows like this power of the unseen errors so far
EVEN = 0.05  # keeps states from becoming endlessly short near the end
DENSEST = 0.6
LAST = 0.7  # a last state that had to be audited more densely than this does not pay


def coins(ids: Sequence[str], seed: int) -> Doubles:
    """(U,) A coin in [0, 1) for each item, in the random-oracle sense: from nothing but its id and the seed."""
    raw = salted("coin", seed, ids)
    return np.array([(int.from_bytes(r[:8], "big") >> 11) / 2**53 for r in raw], np.float64)


def risk_of(share: Doubles, allowed: int) -> float:
    """P(G_0 + … + G_K > allowed), exact: the chance that more wrong labels are passed unseen. 0 for no shares."""
    law = _start(allowed)
    for f in share.tolist():
        law = _after(law, f)
    return float(max(1 - law.sum(), 0.0))


def shares(allowed: int, delta: float) -> Doubles:
    """(K + 1,) What to audit after 0, 1, … errors found so that at most `allowed` stay with probability 1 − delta.

    Empty where so few may stay that no walk pays. The last share is raised so that delta is used up.

    Raises:
        ValueError: allowed below 0, or delta outside (0, 1).
    """
    if allowed < 0 or not 0 < delta < 1:
        raise ValueError(f"allowed {allowed} must not be negative and delta {delta} must lie between 0 and 1")
    law, unseen, found = _start(allowed), 0.0, []
    before = law
    while 1 - _after(law, f := _share(unseen, allowed)).sum() <= delta:
        before, law = law, _after(law, f)
        unseen += (1 - f) / f
        found.append(f)
    if (last := _fitting(law, f, 1.0, delta)) < LAST:
        return np.array([*found, last], np.float64)
    return np.array([*found[:-1], _fitting(before, 0.0, found[-1], delta)] if found else [], np.float64)


def due(share: Doubles, coin: Doubles, found: Ints) -> Ints:
    """Places to audit, by what is known so far, ascending. Finding more only adds places behind what was found.

    share: from `shares`. coin: (U,) in the order of the walk. found: places of errors found, skipped ones among them.
    """
    state = np.searchsorted(np.sort(found), np.arange(len(coin)), side="left")
    return np.flatnonzero(coin < np.append(share, 0.0)[np.minimum(state, len(share))]).astype(np.int64)


def reached(share: Doubles, coin: Doubles, answered: Ints, found: Ints) -> int:
    """Length of the prefix that is proved by the answers so far: it ends at the first due place that is open, or at the
    last error that may be found. answered: places with an answer or skipped; found: as in `due`, among them."""
    open_still = np.setdiff1d(due(share, coin, found), answered)
    ends = [int(open_still[0])] if len(open_still) else []
    if len(found) >= max(len(share), 1):
        ends.append(int(np.sort(found)[len(share) - 1]) if len(share) else 0)
    return min(ends, default=len(coin) if len(share) else 0)


def walk(share: Doubles, coin: Doubles, wrong: Bools) -> tuple[int, Bools]:
    """The whole walk where every answer is known: (length of the prefix, (U,) audited in it).

    wrong: (U,) the label is wrong, or nobody answers.
    """
    place, audited = 0, np.zeros(len(coin), bool)
    for f in share.tolist():
        heard = coin[place:] < f
        hits = np.flatnonzero(heard & wrong[place:])
        end = place + int(hits[0]) if len(hits) else len(coin)
        audited[place : end + 1] = heard[: end + 1 - place]
        place = end + 1
        if not len(hits):
            return len(coin), audited
    return max(place - 1, 0), audited


def _share(unseen: float, allowed: int) -> float:
    """The share of a state that begins with so many errors expected to have been passed unseen."""
    mean = SCALE * np.sqrt(allowed)
    for _ in range(3):  # the state's own errors count to half
        so_far = max(min(unseen + mean / 2, 0.999 * allowed), 0.5)
        mean = SCALE * np.sqrt(allowed) * np.sqrt(max((allowed / so_far) ** STEEP - 1, 0.0) + EVEN)
    return float(min(1 / (1 + mean), DENSEST))


def _fitting(law: NDArray[np.floating[Any]], low: float, high: float, delta: float) -> float:
    """The smallest share of a next and last state, up to `high`, that keeps the risk within delta."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - _after(law, middle).sum() > delta else (low, middle)
    return high


def _start(allowed: int) -> NDArray[np.floating[Any]]:
    law = np.zeros(allowed + 1)
    law[0] = 1.0
    return law


def _after(law: NDArray[np.floating[Any]], share: float) -> NDArray[np.floating[Any]]:
    """The law of errors passed unseen, up to what is allowed, one state later."""
    from scipy.signal import lfilter

    return np.asarray(lfilter([share], [1.0, share - 1.0], law))
