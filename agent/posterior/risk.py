"""Predicted error held against what people said. Knows chances and outcomes, no labels.

A posterior's own 1 − max P is right on average only where the pool fits; what counts for a certificate is how often
labels of such a rank were wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agent.certify.rounds import honest
from agent.types import Floats

Doubles = NDArray[np.float64]

SPREAD = (0.3, 0.2)
"""How far, in log-odds, predicted errors may be off as a whole and in their slope: the pool's temperature was held
against the same answers already. Isotonic regression with 40 to 400 imaginary answers (Ayer et al. 1955) foretold
errors worse than no change at all, up to 300 answers (eval/LOG.md)."""
KEEP = 1e-3
"""Share of the predicted error that is kept as it was, so that no two ranks fall together."""


def recalibrate(predicted: Doubles, seen: Doubles, wrong: Doubles, weights: Doubles) -> Doubles:
    """A line in log-odds through what people's answers showed, drawn towards no change (Platt 1999, penalised).

    Right on average only where the answers were drawn at random, or are weighed by the chance with which they were. Of
    items sought out because they seemed doubtful, they say little about the others.

    Args:
        predicted: (n,) predicted chance of error of each item. seen: (m,) predicted for answered ones, by a fit that
            did not see them. wrong: (m,) 0 to 1. weights: (m,).
    Returns:
        (n,) in [0, 1], strictly increasing in `predicted`.
    """
    if len(predicted) == 0 or len(seen) == 0:
        return predicted.astype(np.float64)
    found = honest(seen, wrong, predicted, weights, SPREAD)
    out: Doubles = np.clip((1 - KEEP) * found + KEEP * predicted, 0.0, 1.0)
    return out


def error(posterior: Floats, slices: tuple[slice, ...]) -> Doubles:
    """Chance that the whole label is wrong, 1 − Π max over atoms. (n, width) -> (n,)."""
    kept = np.ones(len(posterior))
    for s in slices:
        kept *= posterior[:, s].max(axis=1)
    out: Doubles = 1.0 - kept
    return out
