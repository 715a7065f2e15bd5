"""Scores of doubt and the choice of the highest. Shared by the strategies; knows only arrays.

With several atoms an item's score is that of its least sure atom. Every score lies in [0, 1], 1 = no idea, so atoms
with different numbers of choices compare.

The n highest of a large pool are found without scoring all of it (`highest`): what the highest probability and Σp² of a
row tell at once bounds its doubt, and only rows that may be among the n are scored. The picks are those of scoring all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.types import Floats, Ints, Layout, Picks, PoolView

BLOCK = 65_536
"""Rows scored at a time, so that the room needed does not grow with the pool."""
BYTES = 1 << 20
"""A block that is looked through stays in the processor's cache."""
FEW = 512
"""Fewer rows than this are partitioned; of more the two highest are found column by column."""

Score = Callable[[Floats], Floats]
"""From the probabilities of one atom, (rows, choices), to doubt, (rows,)."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A score of the doubt of one atom, and what no score of such a row exceeds, which costs less."""

    score: Score
    bound: Score


def margin(p: Floats) -> Floats:
    """1 − (p₁ − p₂) of the two likeliest choices (Scheffer et al. 2001)."""
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    if p.shape[1] == 2:
        return np.asarray(1 - np.abs(p[:, 0] - p[:, 1]), dtype=np.float32)
    if len(p) < FEW:
        top = np.partition(p, p.shape[1] - 2, axis=1)
        return np.asarray(1 - (top[:, -1] - top[:, -2]), dtype=np.float32)
    out = np.empty(len(p), dtype=np.float32)
    for start in range(0, len(p), 2_048):
        columns = np.ascontiguousarray(p[start : start + 2_048].T)
        first, second, lower = columns[0].copy(), np.full_like(columns[0], -np.inf), np.empty_like(columns[0])
        for column in columns[1:]:
            np.minimum(first, column, out=lower)
            np.maximum(second, lower, out=second)
            np.maximum(first, column, out=first)
        out[start : start + 2_048] = 1 - (first - second)
    return out


def margin_bound(p: Floats) -> Floats:
    """p₂ is at most 1 − p₁, at most p₁ and at most √(Σp² − p₁²)."""
    first = peak(p)
    second = np.minimum(first, 1 - first)
    if p.dtype != np.float16:
        second = np.minimum(second, np.sqrt(np.maximum(squares(p) - first * first, 0)))
    return np.asarray(1 - first + second)


def entropy(p: Floats) -> Floats:
    """Shannon entropy divided by its maximum log C (Settles 2009, §3.1)."""
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    logs = np.log(np.maximum(p, np.finfo(np.float32).tiny))
    return np.asarray(-np.einsum("ij,ij->i", p, logs) / np.log(p.shape[1]), dtype=np.float32)


def entropy_bound(p: Floats) -> Floats:
    """Of all distributions with one Σp² the flattest has one choice of p₁ = a and the others alike (Harremoës & Topsøe
    2001, theorem II.3), so none has more than h(a) + (1 − a) log(C − 1), divided by log C."""
    return np.asarray(nats_bound(squares(p), p.shape[1]) / max(np.log(p.shape[1]), 1e-9))


def nats_bound(squares: Floats, choices: int) -> Floats:
    """The most entropy in nats that a distribution over so many choices with such a Σp² can have, (rows,)."""
    if choices < 2:
        return np.zeros_like(squares)
    a = np.minimum((1 + np.sqrt((choices - 1) * np.maximum(choices * squares - 1, 0))) / choices, 1)
    rest, tiny = 1 - a, np.finfo(np.float32).tiny
    return np.asarray(-a * np.log(a) - rest * np.log(np.maximum(rest / (choices - 1), tiny)))


def least_confidence(p: Floats) -> Floats:
    """(1 − p₁) · C / (C − 1) (Lewis & Gale 1994)."""
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    return np.asarray((1 - peak(p)) * (p.shape[1] / (p.shape[1] - 1)), dtype=np.float32)


MARGIN = Measure(margin, margin_bound)
ENTROPY = Measure(entropy, entropy_bound)
LEAST_CONFIDENCE = Measure(least_confidence, least_confidence)


def peak(p: Floats) -> Floats:
    """p₁ of every row, (rows,) float32. The bits of positive floats sort as whole numbers do, and those are quicker."""
    if p.dtype == np.float16:
        return np.asarray(p.view(np.int16).max(axis=1).view(np.float16), dtype=np.float32)
    if p.dtype == np.float32:
        return np.asarray(p.view(np.int32).max(axis=1).view(np.float32))
    return np.asarray(p.max(axis=1), dtype=np.float32)


def squares(p: Floats) -> Floats:
    """Σp² of every row, (rows,); of float16, that numpy reckons with at a tenth of its speed, the least that p₁ lets
    it be."""
    if p.dtype != np.float16:
        return np.asarray(np.einsum("ij,ij->i", p, p))
    first = peak(p)
    return np.asarray(first**2 + np.maximum(1 - first, 0) ** 2 / max(1, p.shape[1] - 1))


def of_rows(p: Floats, layout: Layout, score: Score) -> Floats:
    """The score of every row's least sure atom, (rows,)."""
    if len(layout.slices) == 1:
        return score(p)
    return np.asarray(np.max([score(p[:, atom]) for atom in layout.slices], axis=0), dtype=np.float32)


def doubt(view: PoolView, score: Score) -> Floats:
    """The score of every candidate, (n,), in blocks."""
    out = np.empty(len(view.probabilities), dtype=np.float32)
    for start in range(0, len(out), BLOCK):
        block = np.asarray(view.probabilities[start : start + BLOCK], dtype=np.float32)
        out[start : start + BLOCK] = of_rows(block, view.layout, score)
    return out


def highest(view: PoolView, measure: Measure, n: int, seed: int) -> Picks:
    """What `top(doubt(view, measure.score), n, seed)` picks, with most rows never scored."""

    def candidates(start: int, stop: int, floor: float) -> tuple[Ints, Floats]:
        block = np.asarray(view.probabilities[start:stop])
        rows = np.arange(len(block))
        if measure.bound is measure.score:  # nothing is cheaper than the score itself
            scores = of_rows(block, view.layout, measure.score)
            rows = np.flatnonzero(scores >= floor)
            return rows + start, scores[rows]
        if start:
            rows = np.flatnonzero(bounds(block, view.layout, measure.bound) >= floor)
        kept = np.asarray(block if len(rows) == len(block) else block[rows], dtype=np.float32)
        return rows + start, of_rows(kept, view.layout, measure.score)

    return search(len(view.probabilities), step(view.probabilities), n, seed, candidates)


def bounds(block: Floats, layout: Layout, bound: Score) -> Floats:
    """What no row of a block, (rows, width), exceeds, (rows,): the bound of the atom that has the highest.

    A little is added for what rounding does to probabilities and to their sums.
    """
    spare = 0.02 if block.dtype == np.float16 else 0.002
    sizes = {atom.stop - atom.start for atom in layout.slices}
    if len(sizes) == 1 and block.flags.c_contiguous:  # all atoms at once, as rows of their own
        found = bound(block.reshape(-1, sizes.pop())).reshape(len(block), -1)
        return np.asarray((found[:, 0] if found.shape[1] == 1 else found.max(axis=1)) + spare)
    return np.asarray(np.max([bound(block[:, atom]) for atom in layout.slices], axis=0) + spare)


def step(rows: Any) -> int:
    """How many rows of an array to look through at a time."""
    return int(np.clip(BYTES // max(1, rows.shape[1] * rows.dtype.itemsize), 256, BLOCK))


Found = Callable[[int, int, float], tuple[Ints, Floats]]
"""(start, stop, floor) -> rows of start..stop, among them all that score `floor` or more, and their scores."""


def search(total: int, rows: int, n: int, seed: int, found: Found) -> Picks:
    """The n highest scores of `total` rows, looked for in blocks of `rows`: what `top` picks of all scores."""
    n = min(n, total)
    kept, scores, floor = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), -np.inf
    new: list[tuple[Ints, Floats]] = []
    held, room = 0, max(2 * n, 1_024)
    start = total if n <= 0 else 0
    while start < total:
        # nothing of the first block can be left out, so it is short
        stop = min(total, start + (rows if start else min(rows, room)))
        new.append(found(start, stop, float(floor)))
        held, start = held + len(new[-1][0]), stop
        if held < room and start < total:
            continue
        kept = np.concatenate([kept, *(found_rows for found_rows, _ in new)])
        scores = np.concatenate([scores, *(found_scores for _, found_scores in new)])
        new = []
        if len(kept) > n:  # all that tie with the last place stay: who of them is taken is drawn at the end
            floor = np.partition(scores, len(scores) - n)[len(scores) - n]
            stays = scores >= floor
            kept, scores = kept[stays], scores[stays]
        held, room = len(kept), max(2 * n, 1_024, 2 * len(kept))
    return top(scores, n, seed, kept)


def top(scores: Floats, n: int, seed: int, rows: Ints | None = None) -> Picks:
    """The n highest scores, highest first, in O(len(scores)). rows: whose they are; by default row i's is scores[i].

    Scores equal to the last one taken are chosen among by a seeded hash of the row number, so each of them had the
    chance taken / tied; all higher ones had 1. With all scores equal this is a uniform random draw.
    """
    n = min(n, len(scores))
    if n <= 0:
        return nothing()
    cut = np.partition(scores, len(scores) - n)[len(scores) - n]
    above, tied = np.flatnonzero(scores > cut), np.flatnonzero(scores == cut)
    taken, ties = n - len(above), len(tied)
    if taken < ties:
        hashes = shuffle_keys(tied if rows is None else rows[tied], seed)
        tied = tied[np.argpartition(hashes, taken - 1)[:taken]]
    places = np.concatenate([above, tied])
    named = places if rows is None else rows[places]
    chances = np.concatenate([np.ones(len(above)), np.full(taken, taken / ties)])
    order = np.lexsort((shuffle_keys(named, seed), -scores[places]))
    return Picks(named[order].astype(np.int64), chances[order].astype(np.float32))


def uniform(rows: Ints | int, n: int, seed: int) -> Picks:
    """n of `rows` (a number: of all rows below it), each with the same chance."""
    total = rows if isinstance(rows, int) else len(rows)
    n = max(0, min(n, total))
    if n == 0:
        return nothing()
    drawn = np.random.default_rng(seed).choice(rows, size=n, replace=False)
    return Picks(drawn.astype(np.int64), np.full(n, n / total, dtype=np.float32))


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
