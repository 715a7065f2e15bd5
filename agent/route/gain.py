"""What an answer does to a predicted error, learnt from items already asked. Knows no prices and no annotators.

An answer does not lower every error: it confirms some labels and puts others in doubt. What follows (stop, or climb
further) depends on which it was, so the whole distribution of the error afterwards is kept, not only its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.types import Floats

Doubles = NDArray[np.float64]

KNOWN = 20
"""Items asked from which on it is known what an answer does."""

BINS, A_BIN = 8, 25
"""The most bins of equal count, and the items that each must hold."""

POINTS = 16
"""Equally likely outcomes by which the error afterwards is told."""

PRIOR = 10
"""A bin of few items is mixed with so many pseudo-items that behave as all items do."""

SMALL = 1e-4
"""Errors are told apart down to this."""


@dataclass(frozen=True, slots=True)
class Step:
    """What asking does. `edges`: (bins − 1,) of the error before; `ratios`: (bins, POINTS) error after / before.

    `pairs`: from how many items it was learnt.
    """

    edges: Doubles
    ratios: Doubles
    pairs: int

    def after(self, error: Doubles) -> Doubles:
        """(n,) predicted errors before -> (n, POINTS) equally likely ones after the answer."""
        bins = np.searchsorted(self.edges, error)
        out: Doubles = np.clip(error[:, None] * self.ratios[bins], SMALL, 1.0)
        return out

    def mean(self, error: Doubles) -> Doubles:
        """(n,) the error expected after the answer; never more than before."""
        out: Doubles = np.minimum(self.after(error).mean(axis=1), error)
        return out


def nothing() -> Step:
    """Of an answer that changes nothing."""
    return Step(np.zeros(0), np.ones((1, POINTS)), 0)


def learn(before: Floats, after: Floats) -> Step | None:
    """Regress the error after an answer on the error before it, over items that were asked already.

    By equal-count bins of `before`, each mixed with PRIOR pseudo-items of all bins. In every bin the mean ratio is
    held at 1 or below: in expectation an answer cannot make the best guess worse, for E[max P(y|answer)] ≥ max P(y)
    (Jensen; the value of information is never negative, Howard 1966), so anything above is noise of few items.

    Args:
        before, after: (m,) predicted errors of the same items without and with the answer, in [0, 1].
    Returns:
        None when m < KNOWN: not known yet.
    """
    if len(before) < KNOWN:
        return None
    first = np.maximum(np.asarray(before, np.float64), SMALL)
    second = np.maximum(np.asarray(after, np.float64), SMALL)
    bins = int(np.clip(len(first) // A_BIN, 1, BINS))
    edges = np.quantile(first, np.linspace(0, 1, bins + 1)[1:-1])
    where = np.searchsorted(edges, first)
    every, overall = np.quantile(second / first, (np.arange(PRIOR) + 0.5) / PRIOR), second.sum() / first.sum()
    ratios = np.empty((bins, POINTS))
    for number in range(bins):
        here = where == number
        own, count = second[here] / first[here], int(here.sum())
        ratios[number] = np.quantile(np.concatenate([own, every]), (np.arange(POINTS) + 0.5) / POINTS)
        # Weighted by the error itself: forty times an error of .001 is still nothing.
        held = second[here].sum() / first[here].sum() if count else overall
        mean = (count * held + PRIOR * overall) / (count + PRIOR)
        ratios[number] *= min(mean, 1.0) / ratios[number].mean()
    return Step(edges, ratios, len(first))
