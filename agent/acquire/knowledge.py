"""Items that names and descriptions of the labels point at, the least seen label first. Knows no texts."""

from __future__ import annotations

import numpy as np

from agent.acquire import _cluster, _needs, _score
from agent.types import Bools, Doubles, Ints, Picks, PoolView

WIDE = 5
"""Out of so many times the items wanted of a choice, the likeliest, those that differ are taken."""


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """n candidates, shared out so that the choice seen least is served first (`shares`).

    Those of a choice: of its WIDE · share likeliest by `view.knowledge` and the student together (the geometric mean:
    what was answered since counts, too), the ones nearest to the centres of as many clusters; without features the
    likeliest. So a rare choice is found before anything of it was seen. The chance is 1 given all these. Without
    `view.knowledge` a uniform draw.
    """
    total = len(view.probabilities)
    n = min(n, total)
    if n <= 0 or n == total or view.knowledge is None:
        return _score.uniform(np.arange(total), n, seed)
    seen = _needs.seen(view)
    free = np.ones(total, dtype=bool)
    given, rows = shares(seen, n, seed), list[Ints]()
    for column in np.lexsort((_score.shuffle_keys(np.arange(len(seen)), seed), seen)):
        share = int(given[column])
        if share:
            rows.append(_of(view, int(column), share, free, seed))
            free[rows[-1]] = False
    found = np.concatenate(rows)
    return Picks(found, np.ones(len(found), dtype=np.float32))


def shares(seen: Doubles, n: int, seed: int) -> Ints:
    """How many of n items each choice gets, (choices,): one by one to the choice with least seen and got so far.

    Of choices with as many, a seeded hash decides.
    """
    order = np.lexsort((_score.shuffle_keys(np.arange(len(seen)), seed), seen))
    low = seen[order]
    room = np.arange(1, len(low) + 1) * low - np.cumsum(low)  # items that lift all lower ones to this one's level
    count = int(np.searchsorted(room, n, side="right"))  # so many choices get some
    level = (n + low[:count].sum()) / count
    exact = level - low[:count]
    got = np.floor(exact).astype(np.int64)
    rest = np.argsort(-(exact - got), kind="stable")[: n - int(got.sum())]
    got[rest] += 1
    out = np.zeros(len(seen), dtype=np.int64)
    out[order[:count]] = got
    return out


def _of(view: PoolView, column: int, share: int, free: Bools, seed: int) -> Ints:
    """`share` free rows of one choice."""
    scores = np.where(free, _needs.likely(view, column), np.float32(-1))
    wide = _score.top(scores, min(WIDE * share, int(free.sum())), seed).rows
    wide = wide[: max(share, int((scores[wide] >= scores[wide[0]] / 2).sum()))]  # no more than there are of a rare one
    if view.features is None or len(wide) <= share:
        return wide[:share]
    points = _cluster.dense(view.features[wide], seed)
    rows = wide[_cluster.nearest(points, share, seed)]
    rest = wide[~np.isin(wide, rows)]  # some clusters were empty: the likeliest of the rest
    return np.concatenate([rows, rest[: share - len(rows)]])
