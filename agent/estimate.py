"""Estimates for reporting: a share among all items, from answers at random sharpened by predictions.

Knows no ledger, no certificate and no target: an estimate is told, with its interval, and never passes or fails
anything. The intervals rest on large numbers; only `agent.certify` proves.

Three ways to the same number, the share θ of N items of which something is true (a label is wrong; people say "spam"):

- plain: the share among n items drawn at random;
- `ppi`: the mean of a prediction over all N items, corrected by how far predictions were off on the n
  (prediction-powered inference, Angelopoulos, Duchi & Zrnic 2023, PPI++, arXiv 2311.01453; for a finite pool that holds
  the n it is the difference estimator of survey sampling, Cochran 1977, §7; with inclusion probabilities it is active
  inference, Zrnic & Candès 2024, arXiv 2403.03208, with the residuals' mean in Hájek's form);
- `stratified`: items sorted into strata by predicted risk, the strata's shares weighed by their sizes (Cochran 1977,
  §5), where `neyman` says how many answers each stratum should get (Neyman 1934).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent.types import Doubles, Ints

STRATA = 10
"""Strata of a score: more of them gain nothing (STRATA × a few answers each is what a small audit can fill)."""
PRIOR = 1.0
"""Answers' worth of the overall share that a stratum's variance is smoothed with: none seen wrong is not none wrong."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its interval. `answers`: people's, it rests on; `worth`: uniform answers that would tell as much."""

    value: float
    low: float
    high: float
    answers: int
    worth: float


def ppi(
    seen: Doubles, predicted: Doubles, everywhere: Doubles, chance: Doubles | None = None, level: float = 0.95
) -> Estimate:
    """The share among N items by prediction-powered inference.

    With d = seen − λ·predicted on the n answered items, θ = λ·mean(everywhere) + mean(d). λ = Cov(seen, predicted) /
    Var(predicted), kept within [0, 1], makes the variance least (PPI++ §6; its factor 1/(1 + n/N) belongs to an
    unlabeled sample apart from the answers, here the pool holds them, and instead the variance has the finite factor
    1 − n/N). λ = 0 is the plain share: a useless prediction costs nothing.

    Args:
        seen: (n,) what people's answers showed, in [0, 1]. predicted: (n,) what was predicted there before, in [0, 1].
        everywhere: (N,) the prediction for every item, these n included.
        chance: (n,) inclusion probability of each answered item, drawn one by one; None: n drawn uniformly without
            replacement. level: of the interval.
    Raises:
        ValueError: no answer, shapes that differ, more answers than items, a chance outside (0, 1].
    """
    n, size = len(seen), len(everywhere)
    if not 0 < n <= size or len(predicted) != n or (chance is not None and len(chance) != n):
        raise ValueError(f"{n} answers, {len(predicted)} predictions for them, {size} items in all do not fit")
    if chance is not None and not ((chance > 0) & (chance <= 1)).all():
        raise ValueError("a chance to be drawn is above 0 and at most 1")
    pi = np.full(n, n / size) if chance is None else chance
    inverse = (1 / pi) / (1 / pi).sum()
    # Errors of the weighted mean weigh (1 − π)/π²: what was certain to be asked has none.
    weight = np.ones(n) if chance is None else (1 - pi) / pi**2
    tuned = _slope(seen, predicted, weight)
    off = seen - tuned * predicted
    mean = float(inverse @ off)
    value = tuned * float(everywhere.mean()) + mean
    if chance is None:
        spread = float(((off - mean) ** 2).sum()) / max(n - 1 - (tuned > 0), 1)
        variance = (1 - n / size) * spread / n
    else:
        variance = float(((1 - pi) * inverse**2 * (off - mean) ** 2).sum()) * n / max(n - 1 - (tuned > 0), 1)
    return _told(value, variance, n, size, level)


def _slope(seen: Doubles, predicted: Doubles, weight: Doubles) -> float:
    """λ: weighted least squares with a constant, kept within [0, 1]; 0 where the prediction does not vary."""
    if weight.sum() <= 0:
        return 0.0
    w = weight / weight.sum()
    x, y = predicted - w @ predicted, seen - w @ seen
    var = float(w @ (x * x))
    return min(max(float(w @ (x * y)) / var, 0.0), 1.0) if var > 1e-12 else 0.0


def strata(risk: Doubles, count: int = STRATA) -> Ints:
    """(N,) the stratum of each item: `count` groups of equal size by rank of predicted risk, ties by position.

    Fixed before the first answer, from nothing but the prediction.
    """
    order = np.argsort(risk, kind="stable")
    out = np.empty(len(risk), np.int64)
    out[order] = np.arange(len(risk)) * min(count, max(len(risk), 1)) // max(len(risk), 1)
    return out


def neyman(sizes: Ints, spread: Doubles, answers: int, least: int = 2) -> Ints:
    """(H,) answers for each stratum: as size × standard deviation (Neyman 1934), at least `least`, at most its size.

    Args:
        sizes: (H,) items. spread: (H,) predicted standard deviation of the outcome in each. answers: in all.
    Raises:
        ValueError: fewer answers than `least` for each, or more than there are items.
    """
    floor = np.minimum(sizes, least)
    if not floor.sum() <= answers <= sizes.sum():
        raise ValueError(f"{answers} answers for {len(sizes)} strata of {sizes.sum()} items in all")
    weight = sizes * np.maximum(spread, 1e-6)
    out = floor.astype(np.float64)
    free = np.ones(len(sizes), bool)
    # In proportion; a stratum that would get less than the floor, or more than it has, is settled first.
    while free.any():
        left = answers - out[~free].sum()
        ideal = weight * left / weight[free].sum()
        low, high = free & (ideal < floor), free & (ideal > sizes)
        # The side with more at stake is settled first (both at once could overshoot).
        short, over = (floor - ideal)[low].sum(), (ideal - sizes)[high].sum()
        settle = low if short >= over and low.any() else high
        if not settle.any():
            out[free] = ideal[free]
            break
        out[settle] = np.where(low, floor, sizes)[settle]
        free &= ~settle
    whole = np.floor(out + 1e-9).astype(np.int64)
    for i in np.argsort(-(out - whole), kind="stable")[: answers - int(whole.sum())]:
        whole[i] += 1
    return whole


def stratified(
    seen: Doubles, stratum: Ints, sizes: Ints, expected: Doubles | None = None, level: float = 0.95
) -> Estimate:
    """The share among N items from answers drawn uniformly without replacement within each stratum.

    θ = Σ W_h·mean_h, variance Σ W_h²·(1 − n_h/N_h)·s_h²/n_h; s_h² is smoothed by `PRIOR` answers of what was expected
    there (the overall share where nothing was): a stratum of few answers without an error is not known to have none.

    Args:
        seen: (n,) in [0, 1]. stratum: (n,) in 0..H−1. sizes: (H,) items of each stratum. expected: (H,) shares.
    Raises:
        ValueError: a stratum with items and without an answer, or with more answers than items.
    """
    drawn = np.bincount(stratum, minlength=len(sizes))
    if len(seen) != len(stratum) or len(drawn) != len(sizes) or (np.minimum(sizes, 1) > drawn).any():
        raise ValueError("each stratum needs at least one answer")
    if (drawn > sizes).any():
        raise ValueError("a stratum has more answers than items")
    some = sizes > 0
    sums = np.bincount(stratum, weights=seen, minlength=len(sizes))[some]
    squares = np.bincount(stratum, weights=seen * seen, minlength=len(sizes))[some]
    n, items, whole = drawn[some], sizes[some], int(sizes.sum())
    share = items / whole
    value = float(share @ (sums / n))
    prior = np.full(len(n), value) if expected is None else expected[some]
    smooth = (sums + PRIOR * prior) / (n + PRIOR)
    spread = np.maximum((squares + PRIOR * prior) / (n + PRIOR) - smooth**2, 0.0)
    variance = float((share**2 * (1 - n / items) * spread / n).sum())
    return _told(value, variance, len(seen), whole, level)


def plain(seen: Doubles, size: int, level: float = 0.95) -> Estimate:
    """The share among `size` items from n drawn uniformly without replacement, and nothing else."""
    return ppi(seen, np.zeros(len(seen)), np.zeros(size), level=level)


def corrected(delivered: float, gained: Estimate, lost: Estimate) -> Estimate:
    """The share of items that people would give a label: what is delivered, and what people would add and take away.

    θ = delivered + gained − lost, the latter two estimated as rare shares. The interval adds squares of distances to
    their intervals' ends (Newcombe 1998, method 10; their small negative correlation is left out), so that no change
    seen in few answers is not taken for no change at all, which it would be by the answers' variance.

    Args:
        delivered: share of items that carry the label. gained: of all items, those that people alone give it.
        lost: of all items, those that people do not give it, though it is delivered.
    """
    at = min(max(delivered + gained.value - lost.value, 0.0), 1.0)
    low = at - math.hypot(gained.value - gained.low, lost.high - lost.value)
    high = at + math.hypot(gained.high - gained.value, lost.value - lost.low)
    return Estimate(at, max(low, 0.0), min(high, 1.0), gained.answers, min(gained.worth, lost.worth))


def _told(value: float, variance: float, n: int, size: int, level: float) -> Estimate:
    """Wilson's interval (1927) at the effective number of answers θ(1 − θ)/variance (after Korn & Graubard 1998)."""
    from statistics import NormalDist

    value = min(max(value, 0.0), 1.0)
    if n >= size:
        return Estimate(value, value, value, n, math.inf)
    alone = n / (1 - n / size)
    worth = value * (1 - value) / variance if variance > 0 and 0 < value < 1 else alone
    z = NormalDist().inv_cdf((1 + level) / 2)
    square = z * z / worth
    middle = (value + square / 2) / (1 + square)
    half = z * math.sqrt(value * (1 - value) / worth + square / (4 * worth)) / (1 + square)
    low, high = max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value))
    return Estimate(value, low, high, n, worth * (1 - n / size))
