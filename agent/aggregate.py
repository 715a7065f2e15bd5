"""Votes to posteriors. Works on arrays and a `Layout`; knows no kind of label and no annotator by name.

Samples of one model average to one vote: they share its mistakes. Different models are pooled by the product of
their distributions, each to its own exponent, which says how much it is to be believed (`calibrate.fit_weights`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.types import Bools, Floats, Layout


def soft_pool(sources: Sequence[Floats], heard: Sequence[Bools], weights: Sequence[float], layout: Layout) -> Floats:
    """Logarithmic opinion pool. A source that was not heard on a row says nothing there.

    Args:
        sources: J arrays (n, width) of log-probabilities; values where `heard` is false are ignored.
        heard: J arrays (n,). weights: J exponents ≥ 0.
    Returns:
        (n, width) probabilities; uniform where nothing was heard.
    """
    total = np.zeros_like(sources[0], dtype=np.float32)
    for source, ears, weight in zip(sources, heard, weights, strict=True):
        total += np.where(ears[:, None], np.float32(weight) * source, np.float32(0.0))
    return layout.normalise(total)


def confidence(probabilities: Floats, layout: Layout) -> Floats:
    """Probability that the whole label is right: the product over atoms of the likeliest choice. (n, width) -> (n,)."""
    out = np.ones(len(probabilities), dtype=np.float32)
    for s in layout.slices:
        out *= probabilities[:, s].max(axis=1)
    return out


def choices(probabilities: Floats, layout: Layout) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The likeliest choice of each atom. (n, width) -> (n, atoms), ties to the first."""
    return np.stack([probabilities[:, s].argmax(axis=1) for s in layout.slices], axis=1)
