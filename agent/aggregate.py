"""Votes to posteriors. Works on arrays and a `Layout`; knows no kind of label and no annotator by name.

Three ways: `majority` and `dawid_skene` need no people's labels; `soft_pool` takes exponents that they decide.
Samples of one model average to one vote: they share its mistakes. Different models are pooled by the product of
their distributions, each to its own exponent, which says how much it is to be believed (`calibrate.fit_weights`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent.types import Bools, Floats, Ints, Layout

Doubles = NDArray[np.float64]


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


def majority(votes: Ints, choices: int) -> Floats:
    """Share of an item's votes for each choice. (n, J) with -1 where silent -> (n, choices); uniform without votes."""
    out = np.full((len(votes), choices), np.float32(0))
    for column in votes.T:
        spoke = np.flatnonzero(column >= 0)
        out[spoke, column[spoke]] += 1
    total = out.sum(axis=1, keepdims=True)
    return np.where(total > 0, out / np.maximum(total, 1), np.float32(1 / choices)).astype(np.float32)


def dawid_skene(
    votes: Ints, choices: int, smoothing: float = 0.01, steps: int = 100, tolerance: float = 1e-4
) -> tuple[Floats, Doubles]:
    """Dawid and Skene (1979): who is believed follows from who agrees with whom; no people's label is needed.

    Expectation maximisation from majority votes. It takes annotators to err independently of one another, which
    language models do not: hold it against people's labels before it is believed.

    Args:
        votes: (n, J) choice numbers, -1 where an annotator said nothing. choices: k.
        smoothing: imaginary votes in each cell of each annotator's confusion matrix, > 0.
        steps: rounds at most; the end comes sooner where the likelihood of a vote grows by less than `tolerance`.
            Where annotators err together the likeliest model is not the truest one: going on does not help.
    Returns:
        (n, k) posterior, and (J, k, k) the chance that annotator j names choice v of an item that is c, at [j, c, v].
    Raises:
        ValueError: a vote is not a choice's number.
    """
    from scipy.sparse import csr_array

    if votes.size and (votes.max() >= choices or votes.min() < -1):
        raise ValueError(f"votes lie between {votes.min()} and {votes.max()}, not between -1 and {choices - 1}")
    patterns, member, times = _patterns(votes, choices)
    row, column = np.nonzero(patterns >= 0)
    at = column * choices + patterns[row, column]
    shape = (len(patterns), patterns.shape[1] * choices)
    named = csr_array((np.ones(len(row)), (row, at)), shape=shape)
    weighted = csr_array((times[row], (at, row)), shape=shape[::-1])
    belief, before = majority(patterns, choices).astype(np.float64), -np.inf
    logs = np.zeros((shape[1], choices))
    for _ in range(steps):
        counts = (weighted @ belief).reshape(-1, choices, choices) + smoothing
        logs = np.log(counts / counts.sum(axis=1, keepdims=True)).reshape(shape[1], choices)
        prior = times @ belief + smoothing
        joint = named @ logs + np.log(prior / prior.sum())
        top = joint.max(axis=1, keepdims=True)
        belief = np.exp(joint - top)
        total = belief.sum(axis=1, keepdims=True)
        belief /= total
        likelihood = float(times @ (np.log(total) + top)[:, 0]) / max(float(times[row].sum()), 1.0)
        if likelihood - before < tolerance:
            break
        before = likelihood
    confusion = np.exp(logs).reshape(-1, choices, choices).transpose(0, 2, 1)
    return belief[member].astype(np.float32), confusion


def _patterns(votes: Ints, choices: int) -> tuple[Ints, Ints, Doubles]:
    """Rows that differ, which of them each item is, and how often each occurs; all rows where they are too long."""
    n, many = votes.shape
    if many * np.log2(choices + 1) >= 62:
        return votes, np.arange(n), np.ones(n)
    code = (votes + 1) @ (choices + 1) ** np.arange(many)
    _, first, member, times = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    return votes[first], member, times.astype(np.float64)
