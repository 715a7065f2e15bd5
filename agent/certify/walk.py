"""GATE-X where all the rest goes to people: walk up the order until one error too many was found. Knows no ledger.

Setting. M labels stand in a frozen order, surest first; n of them, drawn uniformly without replacement, are audited and
what is wrong is mended. Behind the accepted prefix people label everything, so it is good as long as no more than B
wrong labels in it were not audited.

Theorem. Let K be the largest k with P(Hypergeometric(M, B + 1 + k, n) ≤ k) ≤ δ. Accept every prefix in whose audit at
most K errors were found. With probability at least 1 − δ none of them is bad.

Proof. How many errors of a prefix escaped the audit only grows with the prefix. If one that was accepted is bad, then
so is it at the place of the (B + 1)st error that escaped, where at most K were found before. Then among the first
B + 1 + K errors at most K were audited (fewer errors than that: the same holds for any that are thought behind them).
Which items these errors are was frozen before the draw, so the number audited is Hypergeometric(M, B + 1 + K, n).

This is the negative hypergeometric law of errors found before the (B + 1)st that was missed. Nothing but M, n, B and δ
has to be fixed: no cuts, no credit (what was found is counted at the very place where it is found), no model of risks.
The answers may be looked at as they come: as long as one is out it counts as wrong, which only makes the prefix
shorter. Who does not answer is counted as an error found, and the item is set aside: it is not delivered before a
person labels it.

The argument needs no more than that the draw knows nothing of errors. What lies behind the place where the walk stands
may be labeled and ordered anew by what was found before it, as long as no draw behind it was looked at.

Source: ours; the law in Johnson, Kemp & Kotz, Univariate Discrete Distributions, 6.2.2 (inverse sampling).
"""

from __future__ import annotations

import numpy as np

from agent.types import Bools, Ints


def may_find(reach: int, draws: int, allowed: int, delta: float) -> int:
    """How many errors may be found before the walk has to end, K of the theorem; −1: not even none proves enough.

    Args: reach: M. draws: n, in [0, M]. allowed: B, wrong labels that may stay. delta: risk in (0, 1).
    """
    from scipy.stats import hypergeom

    def passes(k: int) -> bool:
        return bool(hypergeom.cdf(k, reach, min(allowed + 1 + k, reach), draws) <= delta)

    if reach - draws <= allowed:
        return draws  # so few are left unseen that all of them may be wrong
    low, high = -1, draws
    # The chance grows with k: find the last that passes.
    while low < high:
        middle = (low + high + 1) // 2
        if passes(middle):
            low = middle
        else:
            high = middle - 1
    return low


def fewest_draws(reach: int, most: int, allowed: int, delta: float) -> int:
    """The smallest audit with which `most` errors may be found; `reach` where none is large enough."""
    low, high = 0, reach
    while low < high:
        middle = (low + high) // 2
        if may_find(reach, middle, allowed, delta) >= most:
            high = middle
        else:
            low = middle + 1
    return low


def end_of(reach: int, most: int, ranks: Ints, wrong: Bools) -> Ints:
    """Length of the longest prefix with at most `most` errors found in it; runs may stand in front.

    ranks: (…, s) ascending places of the audited items; wrong: (…, s) wrong, skipped or unanswered. Returns (…).
    """
    if most < 0:
        return np.zeros(ranks.shape[:-1], np.int64)
    over = np.cumsum(wrong, axis=-1) > most
    first = np.where(over, ranks, reach)
    return np.asarray(np.min(first, axis=-1, initial=reach), np.int64)
