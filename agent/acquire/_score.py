"""Scores of doubt and the choice of the highest. Shared by the strategies; knows only arrays.

With several atoms an item's score is that of its least sure atom. Every score lies in [0, 1], 1 = no idea, so atoms
with different numbers of choices compare.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agent.types import Floats, Ints, Picks, PoolView

BLOCK = 65_536
"""Rows scored at a time, so that the room needed does not grow with the pool."""

Score = Callable[[Floats], Floats]
"""From the probabilities of one atom, (rows, choices), to doubt, (rows,)."""


def margin(p: Floats) -> Floats:
    """1 − (p₁ − p₂) of the two likeliest choices (Scheffer et al. 2001)."""
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    if p.shape[1] == 2:
        return np.asarray(1 - np.abs(p[:, 0] - p[:, 1]), dtype=np.float32)
    top = np.partition(p, p.shape[1] - 2, axis=1)
    return np.asarray(1 - (top[:, -1] - top[:, -2]), dtype=np.float32)


def entropy(p: Floats) -> Floats:
    """Shannon entropy divided by its maximum log C (Settles 2009, §3.1)."""
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    logs = np.log(np.maximum(p, np.finfo(np.float32).tiny))
    return np.asarray(-np.einsum("ij,ij->i", p, logs) / np.log(p.shape[1]), dtype=np.float32)


def least_confidence(p: Floats) -> Floats:
    """(1 − p₁) · C / (C − 1) (Lewis & Gale 1994)."""
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    return np.asarray((1 - p.max(axis=1)) * (p.shape[1] / (p.shape[1] - 1)), dtype=np.float32)


def doubt(view: PoolView, score: Score) -> Floats:
    """The score of every candidate's least sure atom, (n,), in blocks."""
    out = np.empty(len(view.probabilities), dtype=np.float32)
    for start in range(0, len(out), BLOCK):
        block = view.probabilities[start : start + BLOCK]
        out[start : start + BLOCK] = np.max([score(block[:, atom]) for atom in view.layout.slices], axis=0)
    return out


def top(scores: Floats, n: int, seed: int) -> Picks:
    """The n highest scores, highest first, in O(len(scores)).

    Scores equal to the last one taken are chosen among by a seeded hash of the row number, so each of them had the
    chance taken / tied; all higher ones had 1. With all scores equal this is a uniform random draw.
    """
    n = min(n, len(scores))
    if n <= 0:
        return nothing()
    cut = np.partition(scores, len(scores) - n)[len(scores) - n]
    above = np.flatnonzero(scores > cut)
    tied = np.flatnonzero(scores == cut)
    taken = n - len(above)
    hashes = shuffle_keys(tied, seed)
    if taken < len(tied):
        tied = tied[np.argpartition(hashes, taken - 1)[:taken]]
    rows = np.concatenate([above, tied])
    chances = np.concatenate([np.ones(len(above)), np.full(taken, taken / len(hashes))])
    order = np.lexsort((shuffle_keys(rows, seed), -scores[rows]))
    return Picks(rows[order].astype(np.int64), chances[order].astype(np.float32))


def uniform(rows: Ints, n: int, seed: int) -> Picks:
    """n of `rows`, each with the same chance."""
    n = max(0, min(n, len(rows)))
    if n == 0:
        return nothing()
    drawn = np.random.default_rng(seed).choice(rows, size=n, replace=False)
    return Picks(drawn.astype(np.int64), np.full(n, n / len(rows), dtype=np.float32))


def join(first: Picks, second: Picks) -> Picks:
    """One after the other."""
    return Picks(np.concatenate([first.rows, second.rows]), np.concatenate([first.probabilities, second.probabilities]))


def nothing() -> Picks:
    return Picks(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


def shuffle_keys(rows: Ints, seed: int) -> NDArray[np.uint64]:
    """A 64-bit hash of (row, seed): splitmix64 (Steele et al. 2014), the same on every machine."""
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    x = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)
