"""How a student's error falls with labels, and where it is heading. Knows numbers only.

The forecast is the power law that learning curves of classifiers follow over wide ranges (Cortes et al. 1993; survey
by Viering & Loog 2022): error(n) = c + a · n^-b, with a, b, c ≥ 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.types import Doubles

POINTS = 3
"""Points from which on there is a forecast."""

POWERS = np.linspace(0.1, 1.5, 29)
"""Values of b that are tried; below, a curve does not bend within any budget, above, it has bent already."""

DRAWS = 200
"""Curves drawn with the errors of the points, for the band."""


@dataclass(frozen=True)
class Forecast:
    """rate: (k,) expected error at each of the numbers of labels asked for; low, high: (k,) a band of nine in ten."""

    rate: Doubles
    low: Doubles
    high: Doubles


def forecast(
    labels: Sequence[int], wrong: Sequence[float], of: int, ahead: Sequence[int], seed: int = 0
) -> Forecast | None:
    """Where the curve goes on.

    Args:
        labels: labels the student had, ascending. wrong: its error rate then, on the same `of` items drawn at random.
        ahead: numbers of labels to say the error for.
    Returns:
        None with fewer than POINTS different numbers of labels. The band holds the uncertainty of the level (the items
        are the same at all points, so it is common to them) and that of the shape.
    """
    n, rate = _merged(labels, wrong)
    if len(n) < POINTS or of < 1:
        return None
    at = np.asarray(ahead, float)
    middle = _fit(n, rate, at)
    rng = np.random.default_rng(seed)
    level = np.sqrt(max(rate[-1] * (1 - rate[-1]), 1 / of) / of)
    spread = max(float(np.std(rate - _fit(n, rate, n))), 0.25 * level)
    drawn = np.array([
        _fit(n, np.clip(rate + spread * rng.standard_normal(len(n)), 0, 1), at) + level * rng.standard_normal()
        for _ in range(DRAWS)
    ])  # fmt: skip
    low, high = np.quantile(np.clip(drawn, 0, 1), [0.05, 0.95], axis=0)
    return Forecast(middle, np.minimum(low, middle), np.maximum(high, middle))


def _merged(labels: Sequence[int], wrong: Sequence[float]) -> tuple[Doubles, Doubles]:
    """Points with labels, ascending; several at one number of labels become their mean."""
    n, rate = np.asarray(labels, float), np.asarray(wrong, float)
    n, rate = n[n > 0], rate[n > 0]
    known, which = np.unique(n, return_inverse=True)
    return known, np.bincount(which, rate, len(known)) / np.maximum(np.bincount(which, minlength=len(known)), 1)


def _fit(n: Doubles, rate: Doubles, at: Doubles) -> Doubles:
    """The power law of least squares at `at`; later points, of more labels, weigh more."""
    weight = np.sqrt(n / n[-1])
    best, out = np.inf, np.full(len(at), rate[-1])
    for b in POWERS:
        x = n**-b
        mean_x, mean_y = np.average(x, weights=weight), np.average(rate, weights=weight)
        slope = max(float((weight * (x - mean_x) * (rate - mean_y)).sum() / (weight * (x - mean_x) ** 2).sum()), 0.0)
        floor = mean_y - slope * mean_x
        if floor < 0:  # no error is below none: through zero, then
            slope, floor = float((weight * x * rate).sum() / (weight * x * x).sum()), 0.0
        lost = float((weight * (rate - floor - slope * x) ** 2).sum())
        if lost < best - 1e-12:
            best, out = lost, floor + slope * at**-b
    return np.asarray(np.clip(out, 0, 1))
