"""Predicted error held against what people said. Knows chances and outcomes, no labels.

A posterior's own 1 − max P is right on average only where the pool fits; what counts for a certificate is how often
labels of such a rank were wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agent.types import Floats

Doubles = NDArray[np.float64]

SPREAD = (0.3, 0.2)
"""How far, in log-odds, predicted errors may be off as a whole and in their slope: the pool's temperature was held
against the same answers already. Isotonic regression with 40 to 400 imaginary answers (Ayer et al. 1955) foretold
errors worse than no change at all, up to 300 answers (eval/LOG.md)."""
FLATTEST = 0.05
"""The least slope: the order of the predicted errors is kept."""
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
    found = _expit(_line(_logit(seen), wrong, weights) @ np.stack([np.ones(len(predicted)), _logit(predicted)]))
    out: Doubles = np.clip((1 - KEEP) * found + KEEP * predicted, 0.0, 1.0)
    return out


def _line(x: Doubles, y: Doubles, weights: Doubles) -> Doubles:
    """Offset and slope of P(wrong) = 1 / (1 + exp(−offset − slope · x)), drawn towards 0 and 1 (`SPREAD`)."""
    rows, still, trust = np.stack([np.ones(len(x)), x], axis=1), np.array([0.0, 1.0]), np.array(SPREAD) ** -2.0

    def loss(line: Doubles) -> float:
        z = rows @ line
        return float(weights @ (np.logaddexp(0.0, z) - y * z) + trust @ (line - still) ** 2 / 2)

    line = still
    for _ in range(50):  # Newton, the step halved until the loss does not grow; strictly convex
        p = _expit(rows @ line)
        slope = rows.T @ (weights * (y - p)) - trust * (line - still)
        step = np.linalg.solve((rows.T * (weights * p * (1 - p))) @ rows + np.diag(trust), slope)
        while loss(line + step) > loss(line) and float(np.abs(step).max()) > 1e-9:
            step = step / 2
        line = line + step
        if float(np.abs(step).max()) < 1e-9:
            break
    return np.array([line[0], max(float(line[1]), FLATTEST)])


def _logit(p: Doubles) -> Doubles:
    clipped = np.clip(np.asarray(p, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _expit(x: Doubles) -> Doubles:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def error(posterior: Floats, slices: tuple[slice, ...]) -> Doubles:
    """Chance that the whole label is wrong, 1 − Π max over atoms. (n, width) -> (n,)."""
    kept = np.ones(len(posterior))
    for s in slices:
        kept *= posterior[:, s].max(axis=1)
    out: Doubles = 1.0 - kept
    return out
