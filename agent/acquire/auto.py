"""The default: doubtful items that stand for many, typical ones before the student knows anything. Knows no texts.

In turn: a cold start, as long as the student knows nothing of the labels; choices nobody has seen are sought; doubt in
clusters, away from items that are ambiguous to everybody; another strategy where what was measured says it gains more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.acquire import _bandit, _cluster, _needs, _noise, _score
from agent.types import Floats, Ints, Picks, PoolView

LABELS_A_CHOICE = 2
"""The cold start ends when there are so many labels a choice."""
EXPECTED = 0.5
"""The share of the answers so far that a student with knowledge must have expected to go without a cold start."""
SOUGHT = 8
"""One of so many picks at most goes to choices nobody has seen."""
WIDE, EARLY = 20, 5
"""Out of WIDE times the items wanted, the most doubtful, those that differ and stand for many are taken; out of twice
as many while there are few labels a choice, and less from then on until there are EARLY."""
PART = 0.25
"""The most doubtful are this share of the pool at most (but for twice the items wanted), lest a big batch is typical
only."""
WEAK = 0.2
"""While the student's mean confidence in the pool is no further above a guess than this share of the way to certain,
its doubt says nothing of what it should learn."""
ROWS = 20_000
"""Rows at most by which that is told, evenly spaced."""
ARMS = ("margin", "typiclust", "random")
"""What may choose a batch, in the order they are believed in beforehand."""


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """n candidates; `by` says which strategy chose them, one of `ARMS`, by `_bandit.choose` of `view.history`.

    "typiclust", and the cold start: as that strategy. "random": a uniform draw. "margin": the most typical one of each
    of n clusters of those with the smallest margins (WIDE · n, early more), each counted less where
    answers are ambiguous (`_noise.ambiguity`) and, with `view.balance`, more where its choices are rare; and where
    there is knowledge of the labels, for up to an eighth of n, the likeliest items of choices nobody has seen. The
    chance is 1 given all these, but for the uniform draw. Without features doubt alone decides.
    """
    total = len(view.probabilities)
    n = min(n, total)
    if n <= 0 or n == total:
        return _score.uniform(np.arange(total), n, seed)
    by = _arm(view, n)
    if by == "random":
        return replace(_score.uniform(np.arange(total), n, seed), by=by)
    if by == "typiclust":
        rows = _cluster.typical(view.features, view.labeled, n, seed)
    else:
        sought = _sought(view, n, seed)
        rows = np.concatenate([sought, _doubtful(view, n - len(sought), sought, seed)])
    return Picks(rows.astype(np.int64), np.ones(len(rows), dtype=np.float32), by)


def _arm(view: PoolView, n: int) -> str:
    if view.features is not None and cold(view, n):
        return "typiclust"
    if weak(view):
        return "random"
    return _bandit.choose(view.history, ARMS if view.features is not None else [a for a in ARMS if a != "typiclust"])


def cold(view: PoolView, n: int) -> bool:
    """Are there fewer than LABELS_A_CHOICE labels a choice, and does the student not know the labels without them?

    It does where there is knowledge of them (rows that are not uniform), as long as half of the answers were expected.
    What one batch of n does is done in any case.
    """
    labeled, enough = _labels(view), LABELS_A_CHOICE * view.layout.width
    if labeled >= enough:
        return False
    if view.knowledge is None or not _tells(view.knowledge[: _score.BLOCK], view) or enough <= n:
        return True
    right = _right(view)
    return right is not None and right < EXPECTED


def weak(view: PoolView) -> bool:
    """Does a student that was taught something hardly know more of the pool than a guess?

    With so little to go by uncertain items are worse than others (Hacohen, Dekel & Weinshall 2022, §2). While there are
    fewer than EARLY labels a choice by how many answers it expected, then by its confidence in ROWS candidates.
    """
    labeled = _labels(view)
    if labeled == 0:
        return False
    guess = float(np.mean([1 / len(choices) for choices in view.layout.choices]))
    knows = _right(view) if labeled < EARLY * view.layout.width else None
    if knows is None:
        p = np.asarray(view.probabilities[:: max(1, len(view.probabilities) // ROWS)], dtype=np.float32)
        knows = float(np.mean([p[:, atom].max(axis=1).mean() for atom in view.layout.slices]))
    return knows - guess < WEAK * (1 - guess)


def _labels(view: PoolView) -> int:
    return 0 if view.labeled is None else int(view.labeled.shape[0])


def _right(view: PoolView) -> float | None:
    """The share of the answers so far that a student not taught them expected, where that is known."""
    m = _labels(view)
    if m == 0 or view.targets is None or view.said is None:
        return None
    of_atoms = [
        np.asarray(view.said[:, atom], np.float32).argmax(axis=1) == view.targets[:, atom].argmax(axis=1)
        for atom in view.layout.slices
    ]
    return float(np.mean(of_atoms))


def _tells(knowledge: Floats, view: PoolView) -> bool:
    return any(
        bool(np.ptp(np.asarray(knowledge[:, atom], np.float32), axis=1).max(initial=0) > 0.01)
        for atom in view.layout.slices
    )


def _sought(view: PoolView, n: int, seed: int) -> Ints:
    """The likeliest item of each of some choices that nobody has seen, n / SOUGHT of them at most."""
    if view.knowledge is None or view.targets is None:
        return np.zeros(0, dtype=np.int64)
    free = np.ones(len(view.probabilities), dtype=bool)
    rows = list[int]()
    for column in np.random.default_rng(seed).permutation(_needs.missing(view))[: n // SOUGHT].tolist():
        rows.append(int(np.argmax(np.where(free, _needs.likely(view, column), -1))))
        free[rows[-1]] = False
    return np.array(rows, dtype=np.int64)


def _doubtful(view: PoolView, n: int, taken: Ints, seed: int) -> Ints:
    """n rows, none of `taken`: the most typical of n clusters of the most doubtful."""
    more = np.clip(EARLY * view.layout.width / max(_labels(view), 1), 1, 2)
    wide = max(2 * n, int(min(more * WIDE * n, PART * len(view.probabilities))))
    rows, scores = _doubts(view, 2 * wide + len(taken), seed)
    left = ~np.isin(rows, taken)
    rows, scores = rows[left], scores[left] * (1 - _noise.ambiguity(view, rows[left], seed))
    if view.features is None:
        return _score.top(scores, n, seed, rows).rows
    rows = _score.top(scores, wide, seed, rows).rows
    return rows[_cluster.typical(view.features[rows], None, n, seed)]


def _doubts(view: PoolView, n: int, seed: int) -> tuple[Ints, Floats]:
    """The n most doubtful rows, and how doubtful each is: by margin, times how rare its choices are for balance."""
    if not view.balance:
        rows = _score.highest(view, _score.MARGIN, n, seed).rows
        block = np.asarray(view.probabilities[rows], dtype=np.float32)
        return rows, _score.of_rows(block, view.layout, _score.margin)
    scores, counts = _score.doubt(view, _score.margin), _needs.seen(view)
    for start in range(0, len(scores), _score.BLOCK):
        block = np.asarray(view.probabilities[start : start + _score.BLOCK], dtype=np.float32)
        scores[start : start + _score.BLOCK] *= _needs.rarity(block, counts, view.layout)
    rows = _score.top(scores, n, seed).rows
    return rows, scores[rows]
