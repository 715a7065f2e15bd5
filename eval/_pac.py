"""PAC labeling, written from its paper (Candès, Ilyas & Zrnic, arXiv 2506.10908, algorithm 1). Knows arrays only.

K items are drawn uniformly with replacement and people label them. Candidate thresholds on the uncertainty are tried
from the surest on; the last before the first at which an upper bound on mean(error · 1{uncertainty < u}) exceeds ε is
taken. People label all behind it. Bounds: "betting" (Waudby-Smith & Ramdas, arXiv 2010.09686, predictable plug-in bets,
truncated at 3/4, the running intersection), which holds at any sample size; "clt", the paper's asymptotic variant.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Bound = Literal["betting", "clt"]
SHARES = (0.04, 0.07, 0.1, 0.15, 0.2)
"""K as shares of the set, among which the best in hindsight is looked for."""


def authors(n: int) -> int:
    """K of the authors' experiments: a tenth of the images, a fifth of the texts (told apart by size here)."""
    return n // 10 if n >= 5000 else n // 5


def label(
    score: NDArray[np.float64],
    wrong: NDArray[np.bool_],
    k: int,
    eps: float,
    delta: float,
    rng: np.random.Generator,
    bound: Bound = "betting",
) -> NDArray[np.bool_]:
    """(n,) What the machine's label is delivered for unseen. score: (n,) all different, higher is surer."""
    n = len(score)
    drawn = rng.integers(0, n, k)
    risky, bad = -score[drawn], wrong[drawn]
    # The bound changes only where another drawn error comes in, and cannot pass with eps · K of them.
    steps = np.sort(risky[bad])[: int(eps * k) + 2]
    thresholds = np.append(steps, np.inf) if len(steps) <= int(eps * k) + 1 else steps
    losses = (bad[None, :] & (risky[None, :] < thresholds[:, None])).astype(np.float64)
    good = _betting(losses, eps, delta) if bound == "betting" else _clt(losses, eps, delta)
    last = int(np.logical_and.accumulate(good).sum()) - 1
    unseen = -score < thresholds[last] if last >= 0 else np.zeros(n, bool)
    unseen[drawn] = False
    return np.asarray(unseen)


def _betting(losses: NDArray[np.float64], eps: float, delta: float) -> NDArray[np.bool_]:
    count = losses.shape[1]
    t = np.arange(1, count + 1)
    mean = (0.5 + np.cumsum(losses, axis=1)) / (1 + t)
    spread = (0.25 + np.cumsum((losses - mean) ** 2, axis=1)) / (1 + t)
    before = np.concatenate([np.full((len(losses), 1), 0.25), spread[:, :-1]], axis=1)
    bets = np.minimum(np.sqrt(2 * np.log(2 / delta) / (count * before)), 0.75 / (1 - eps))
    wealth = np.cumsum(np.log1p(-bets * (losses - eps)), axis=1)
    return np.asarray(wealth.max(axis=1) >= np.log(1 / delta))


def _clt(losses: NDArray[np.float64], eps: float, delta: float) -> NDArray[np.bool_]:
    from scipy.stats import norm

    mean = losses.mean(axis=1)
    return np.asarray(mean + norm.isf(delta) * np.sqrt(mean * (1 - mean) / losses.shape[1]) <= eps)
