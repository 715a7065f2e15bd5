"""Scores of doubt and the choice of the highest. Shared by the strategies; knows only arrays.

With several atoms an item's score is that of its least sure atom. Every score lies in [0, 1], 1 = no idea, so atoms
with different numbers of choices compare.

The n highest of a large pool are found without scoring it (`highest`): a row whose Σp² is large cannot be in much
doubt, Σp² costs one pass of multiplications, and what it lets through is scored. The picks are those of scoring all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.types import Bools, Floats, Ints, Layout, Picks, PoolView

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
    """A score, and limit(doubt, choices): the largest Σp² that a distribution of at least that doubt can have."""

    score: Score
    limit: Callable[[float, int], float]


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


def margin_limit(doubt: float, choices: int) -> float:
    """Of all distributions with p₁ − p₂ = m the most concentrated has p₁ + p₂ = 1: Σp² = (1 + m²) / 2."""
    return (1 + max(0.0, 1 - doubt) ** 2) / 2


def entropy(p: Floats) -> Floats:
    """Shannon entropy divided by its maximum log C (Settles 2009, §3.1)."""
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    logs = np.log(np.maximum(p, np.finfo(np.float32).tiny))
    return np.asarray(-np.einsum("ij,ij->i", p, logs) / np.log(p.shape[1]), dtype=np.float32)


def entropy_limit(doubt: float, choices: int) -> float:
    """Of all distributions with one Σp² the flattest has one choice of p₁ = a and the others alike (Harremoës & Topsøe
    2001, theorem II.3): its entropy is h(a) + (1 − a) log(C − 1), which falls with a and so with Σp²."""
    if choices < 2 or doubt <= 0:
        return 1.0
    rest, low, high = choices - 1, 1 / choices, 1.0
    for _ in range(40):
        a = (low + high) / 2
        spread = 0.0 if a >= 1 else -a * np.log(a) - (1 - a) * np.log((1 - a) / rest)
        low, high = (a, high) if spread >= doubt * np.log(choices) else (low, a)
    return high**2 + (1 - high) ** 2 / rest


def least_confidence(p: Floats) -> Floats:
    """(1 − p₁) · C / (C − 1) (Lewis & Gale 1994)."""
    if p.shape[1] < 2:
        return np.zeros(len(p), dtype=np.float32)
    return np.asarray((1 - p.max(axis=1)) * (p.shape[1] / (p.shape[1] - 1)), dtype=np.float32)


def least_confidence_limit(doubt: float, choices: int) -> float:
    """Σp² ≤ p₁ Σp = p₁."""
    return 1 - doubt * (choices - 1) / choices


MARGIN = Measure(margin, margin_limit)
ENTROPY = Measure(entropy, entropy_limit)
LEAST_CONFIDENCE = Measure(least_confidence, least_confidence_limit)


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
        rows = np.flatnonzero(may_reach(block, view.layout, measure.limit, floor))
        kept = np.asarray(block if len(rows) == len(block) else block[rows], dtype=np.float32)
        return rows + start, of_rows(kept, view.layout, measure.score)

    return search(len(view.probabilities), step(view.probabilities), n, seed, candidates)


def step(rows: Any) -> int:
    """How many rows of an array to look through at a time."""
    return int(np.clip(BYTES // max(1, rows.shape[1] * rows.dtype.itemsize), 256, BLOCK))


def may_reach(block: Floats, layout: Layout, limit: Callable[[float, int], float], floor: float) -> Bools:
    """Which rows of a block, (rows, width), may be in a doubt of `floor` or more; never leaves one out that is."""
    if floor <= 0:
        return np.ones(len(block), dtype=np.bool_)
    slack = 1.01 if block.dtype == np.float16 else 1.0001  # stored probabilities sum to one within their rounding
    sizes = {atom.stop - atom.start for atom in layout.slices}
    if len(sizes) == 1 and block.flags.c_contiguous:
        size = sizes.pop()
        held = concentration(block.reshape(-1, size)) <= limit(floor, size) * slack
        return held if size == block.shape[1] else np.asarray(held.reshape(len(block), -1).any(axis=1))
    alive = np.zeros(len(block), dtype=np.bool_)
    for atom in layout.slices:
        alive |= concentration(block[:, atom]) <= limit(floor, atom.stop - atom.start) * slack
    return alive


def concentration(p: Floats) -> Floats:
    """Σp² of each row, (rows,); of float16 rows what it is at least, from the highest alone.

    Numpy reckons with float16 at a tenth of its speed, but the bits of positive ones sort as whole numbers do.
    """
    if p.dtype != np.float16:
        return np.asarray(np.einsum("ij,ij->i", p, p))
    first = p.view(np.uint16).max(axis=1).view(np.float16).astype(np.float32)
    return np.asarray(first**2 + np.maximum(1 - first, 0) ** 2 / max(1, p.shape[1] - 1))


Found = Callable[[int, int, float], tuple[Ints, Floats]]
"""(start, stop, floor) -> rows of start..stop, among them all that score `floor` or more, and their scores."""


def search(total: int, rows: int, n: int, seed: int, found: Found) -> Picks:
    """The n highest scores of `total` rows, looked for in blocks of `rows`: what `top` picks of all scores."""
    n = min(n, total)
    kept, scores, floor = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), -np.inf
    new: list[tuple[Ints, Floats]] = []
    held, room = 0, max(2 * n, 1_024)
    for start in range(0, total if n > 0 else 0, rows):
        new.append(found(start, min(start + rows, total), float(floor)))
        held += len(new[-1][0])
        if held < room and start + rows < total:
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
