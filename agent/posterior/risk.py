"""Predicted error held against what people said. Knows chances and outcomes, no labels.

A posterior's own 1 − max P is right on average only where the pool fits; what counts for a certificate is how often
labels of such a rank were wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agent.types import Floats

Doubles = NDArray[np.float64]

PRIOR = 40.0
"""Imaginary answers that say the predicted error is right: with few real ones it is changed little."""
KEEP = 1e-3
"""Share of the predicted error that is kept as it was, so that no two ranks fall together."""


def recalibrate(predicted: Doubles, seen: Doubles, wrong: Doubles, weights: Doubles, prior: float = PRIOR) -> Doubles:
    """Monotone regression of error on the rank of the predicted error (Ayer et al. 1955), with imaginary answers.

    Args:
        predicted: (n,) predicted chance of error of each item. seen: (m,) predicted for answered ones, by a fit that
            did not see them. wrong: (m,) 0 to 1. weights: (m,).
    Returns:
        (n,) in [0, 1], strictly increasing in `predicted`.
    """
    if len(predicted) == 0 or len(seen) == 0:
        return predicted.astype(np.float64)
    from scipy.optimize import isotonic_regression

    imagined = np.quantile(predicted, (np.arange(int(prior)) + 0.5) / int(prior))
    x = np.concatenate([seen, imagined])
    y = np.concatenate([wrong, imagined])
    v = np.concatenate([weights, np.ones(len(imagined))])
    at, where = np.unique(x, return_inverse=True)
    total = np.bincount(where, v)
    level = isotonic_regression(np.bincount(where, v * y) / total, weights=total).x
    # A step function would throw items of unlike confidence together: lines between the middles of the steps.
    block = np.cumsum(np.concatenate([[0], np.diff(level) > 1e-12]))
    mass = np.bincount(block, total)
    middle, height = np.bincount(block, total * at) / mass, np.bincount(block, total * level) / mass
    found = np.interp(predicted, np.concatenate([[0.0], middle]), np.concatenate([[min(height[0], 0.0)], height]))
    out: Doubles = np.clip((1 - KEEP) * found + KEEP * predicted, 0.0, 1.0)
    return out


def error(posterior: Floats, slices: tuple[slice, ...]) -> Doubles:
    """Chance that the whole label is wrong, 1 − Π max over atoms. (n, width) -> (n,)."""
    kept = np.ones(len(posterior))
    for s in slices:
        kept *= posterior[:, s].max(axis=1)
    out: Doubles = 1.0 - kept
    return out
