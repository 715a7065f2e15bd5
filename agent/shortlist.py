"""Which of many labels are shown, and what an answer to a few says of all. Works on arrays; knows no model or ledger.

A model that is shown the likeliest labels and "none of these" answers a question it can read. What it says is worth no
more than the list is complete, so the share of lists that hold the label people gave (the recall) is measured on the
pilot, and what the list may have missed is spread over the labels that were not shown.
"""

from __future__ import annotations

import numpy as np

from agent.types import Bools, Floats, Ints

SHOWN = 20
"""Labels shown where nothing else is said."""

MOST = 26
"""Labels up to which all are shown where nothing else is said: beyond it a code is no single letter."""

GUESS, STRENGTH = 0.98, 20.0
"""Recall before it is measured, and for how many pilot answers that guess counts."""


def size(wanted: int | None, labels: int) -> int:
    """How many labels are shown; 0 is all of them. `wanted`: the rung's setting."""
    if wanted is None:
        return SHOWN if labels > MOST else 0
    return wanted if wanted < labels else 0


def likeliest(scores: Floats, k: int) -> Ints:
    """The k best columns of each row, best first, ties to the first. (n, width) -> (n, k)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)


def hits(said: Floats, seen: Bools) -> tuple[int, int]:
    """In how many of the rows the label that people gave was shown: (hits, rows). Both (m, width), `said` one-hot."""
    return int((seen & (said > 0.5)).any(axis=1).sum()), len(said)


def estimate(found: int, of: int) -> float:
    """Recall from `found` hits in `of` rows, drawn towards `GUESS` while they are few."""
    return (found + GUESS * STRENGTH) / (of + STRENGTH)


def spread(probabilities: Floats, seen: Bools, recall: float) -> Floats:
    """What is believed of all labels after an answer about those shown.

    Args:
        probabilities: (n, width), rows sum to one. seen: (n, width) labels that were shown; a row without any is left
            alone (all were shown). recall: chance that the right one was among them, in (0, 1).
    """
    hidden = ~seen & seen.any(axis=1, keepdims=True)
    count = hidden.sum(axis=1, keepdims=True)
    mixed = recall * probabilities + (1.0 - recall) * hidden / np.maximum(count, 1)
    return np.where(count > 0, mixed, probabilities).astype(np.float32)
