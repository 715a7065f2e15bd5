"""Do people agree with one another, and may a machine stand in for one of them? Knows votes as arrays of numbers.

Votes are (n, J) integers: item × person, −1 where somebody did not answer; the numbers are whole labels. Nothing here
knows what they mean. Three questions:

- `alpha`: agreement beyond chance (Krippendorff's α for nominal data, with whoever answered what);
- `wilson`: the interval of a share;
- `pairs` and `ceiling`: how often two people say the same, and the most that any labels could agree with one of them;
- `alt_test`: does a machine speak for the people at least as well as one of them does (Calderon, Reichart & Dror 2025)?
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from agent.types import Doubles, Ints

DRAWS = 1_000
"""Bootstrap draws of an interval."""
AT_ONCE = 2_000_000
"""Numbers that a bootstrap holds at once."""
SMALL = 30
"""Items below which a paired t-test is not to be trusted, and Wilcoxon's signed ranks are taken (paper, §3)."""
EPSILON = 0.2
"""What a machine's lower price is worth against experts, as a chance (paper, §3: .2 experts, .15 skilled, .1 crowd)."""


@dataclass(frozen=True, slots=True)
class Alpha:
    """Krippendorff's α with its bootstrap interval; nan where everybody gave one and the same label to everything.

    items: that two people or more answered. answers: on them.
    """

    value: float
    low: float
    high: float
    items: int
    answers: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """How often two people, drawn from those who answered the item, say the same. items: with two answers or more."""

    value: float
    low: float
    high: float
    items: int


def _tables(votes: Ints) -> tuple[Doubles, Doubles]:
    """(m,) answers, (m, k) by label, of the items that two people or more answered."""
    if votes.ndim != 2:
        raise ValueError(f"votes of shape {votes.shape} are not items × people")
    kept = votes[(votes >= 0).sum(axis=1) >= 2]
    used, codes = np.unique(kept, return_inverse=True)
    codes = codes.reshape(kept.shape) - int(len(used) > 0 and used[0] < 0)
    labels = max(int(codes.max(initial=-1)) + 1, 1)
    rows = np.broadcast_to(np.arange(len(kept))[:, None], kept.shape)
    said = codes >= 0
    counts = np.bincount(rows[said] * labels + codes[said], minlength=len(kept) * labels)
    table = counts.reshape(len(kept), labels).astype(np.float64)
    return table.sum(axis=1), table


def alpha(votes: Ints, level: float = 0.95, seed: int = 0) -> Alpha:
    """Krippendorff's α for nominal data: 1 − observed / expected disagreement (Krippendorff 2004, §11.3).

    An item with m answers, n_c of them c, adds Σ_c n_c(m − n_c)/(m − 1) to what was observed; expected is how often
    pairs drawn from all answers would disagree. The interval: items drawn anew with replacement, percentiles. Items
    that were answered alike are drawn as one, as often as they are there, which is the same and takes less time.

    Raises:
        ValueError: votes that are no table.
    """
    every, whole = _tables(votes)
    items, answers = len(every), int(every.sum())
    if items == 0:
        return Alpha(math.nan, math.nan, math.nan, 0, 0)
    table, alike = np.unique(whole, axis=0, return_counts=True)
    m = table.sum(axis=1)
    apart = (m * m - (table * table).sum(axis=1)) / (m - 1)
    value = float(_alpha(alike[None].astype(np.float64), m, table, apart)[0])
    found: list[Doubles] = []
    rng = np.random.default_rng(seed)
    each = max(1, min(DRAWS, AT_ONCE // len(m)))
    for start in range(0, DRAWS, each):
        count = min(each, DRAWS - start)
        times = rng.multinomial(items, alike / items, size=count).astype(np.float64)
        found.append(_alpha(times, m, table, apart))
    drawn = np.concatenate(found)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or not math.isfinite(value):
        return Alpha(value, math.nan, math.nan, items, answers)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Alpha(value, float(min(low, value)), float(max(high, value)), items, answers)


def _alpha(times: Doubles, m: Doubles, table: Doubles, apart: Doubles) -> Doubles:
    """(B,) α where item i counts times[b, i]."""
    total = times @ m
    expected = total * total - ((times @ table) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Doubles = 1 - (times @ apart) * (total - 1) / expected
    out[expected <= 0] = math.nan
    return out


def pairs(votes: Ints, level: float = 0.95) -> Pairs:
    """The chance that two people say the same of an item drawn at random.

    An item's share of agreeing pairs estimates Σ_c p_c² without bias, p_c being how people at large would answer it.
    The interval is Clopper and Pearson's at the mean of these shares, which vary less than the yes and no it is for.
    """
    from scipy.stats import beta

    m, table = _tables(votes)
    if len(m) == 0:
        return Pairs(math.nan, 0.0, 1.0, 0)
    same = ((table * (table - 1)).sum(axis=1) / (m * (m - 1))).sum()
    n, tail = len(m), (1 - level) / 2
    low = float(beta.ppf(tail, same, n - same + 1)) if same > 0 else 0.0
    high = float(beta.ppf(1 - tail, same + 1, n - same)) if same < n else 1.0
    return Pairs(float(same / n), low, high, n)


def wilson(k: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for k of n, two-sided at `level` (Wilson 1927, JASA 22:209, eq. 4).

    Contains k/n always; (0, 1) when n is 0.

    Raises:
        ValueError: k outside 0..n, or level outside (0, 1).
    """
    if not 0 <= k <= n:
        raise ValueError(f"k = {k} is not between 0 and n = {n}")
    if not 0 < level < 1:
        raise ValueError(f"level = {level} is not between 0 and 1")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    rate, square = k / n, z * z / n
    middle = (rate + square / 2) / (1 + square)
    half = z * ((rate * (1 - rate) + square / 4) / n) ** 0.5 / (1 + square)
    low = 0.0 if k == 0 else max(0.0, min(middle - half, rate))
    high = 1.0 if k == n else min(1.0, max(middle + half, rate))
    return low, high


def ceiling(agree: float, labels: int) -> float:
    """The most that any labels can agree with one person drawn at random, where two people agree with chance `agree`.

    The best label of an item is what most people say: right with chance p = max_c p_c. Given s = Σ_c p_c², p is
    largest where the other labels share the rest evenly: p ≤ 1/k + √((k − 1)/k · (s − 1/k)). That is concave in s, so
    that (Jensen) it holds for the means over all items, too. With two people in four fifths of one mind on two labels,
    no labels can pass .888.

    Args:
        agree: E[Σ_c p_c²], in [0, 1]. labels: how many there are, k ≥ 2.
    Raises:
        ValueError: numbers that cannot be.
    """
    if not 0 <= agree <= 1 or labels < 2:
        raise ValueError(f"an agreement of {agree} on {labels} labels cannot be")
    even = 1 / labels
    return min(1.0, even + math.sqrt((1 - even) * max(agree - even, 0.0)))


@dataclass(frozen=True, slots=True)
class Stands:
    """The Alt-Test's result for one machine. people: how many took part; items: (people,) judged with each left out.

    wins: the share of people ω whom it may replace; passed: ω ≥ .5, with three people or more. advantage: ρ, the chance
    that it speaks for the others at least as well as the one left out. p: (people,) each one's p-value.
    """

    wins: float
    advantage: float
    passed: bool
    people: int
    items: tuple[int, ...]
    p: tuple[float, ...]


LEAST_PEOPLE = 3
"""With two people the test only asks with whom of them the machine sides (paper, §3)."""


def alt_test(votes: Ints, machine: Ints, epsilon: float = EPSILON, q: float = 0.05, least: int = SMALL) -> Stands:
    """May a machine stand in for one of these people: the Alt-Test (Calderon, Reichart & Dror 2025, §3).

    arXiv 2501.10970. Person j is left out; on each item j answered, the machine and j are each given the share of the
    other people who say as they do. W^f = 1 where the machine's is at least j's, W^h = 1 where j's is at least the
    machine's. The null: W^h is larger than W^f by ε or more on average; a paired t-test (Wilcoxon's below 30 items) of
    W^h − W^f against ε gives p_j. Benjamini and Yekutieli's procedure at q says whose nulls are rejected: ω is their
    share, ρ the mean of W^f.

    Args:
        votes: (n, J), −1 for none. machine: (n,), −1 for none: no answer stands below any.
        epsilon: what the machine's lower price is worth. least: items that a person must share with others to count.
    Raises:
        ValueError: shapes that differ, or an epsilon outside [0, 1).
    """
    from scipy.stats import false_discovery_control

    if votes.ndim != 2 or machine.shape != votes.shape[:1] or not 0 <= epsilon < 1:
        raise ValueError(f"votes {votes.shape}, machine {machine.shape}, epsilon {epsilon} do not fit")
    p: list[float] = []
    ahead: list[float] = []
    items: list[int] = []
    for j in range(votes.shape[1]):
        better, worse = _wins(votes, machine, j)
        if len(better) < max(least, 1):
            continue
        p.append(_p_value(worse - better, epsilon))
        ahead.append(float(better.mean()))
        items.append(len(better))
    if not p:
        return Stands(0.0, math.nan, False, 0, (), ())
    wins = float((false_discovery_control(p, method="by") <= q).mean())
    return Stands(wins, float(np.mean(ahead)), wins >= 0.5 and len(p) >= LEAST_PEOPLE, len(p), tuple(items), tuple(p))


def _wins(votes: Ints, machine: Ints, j: int) -> tuple[Doubles, Doubles]:
    """(m,) W^f, (m,) W^h over the items that j answered and somebody else, too."""
    others = np.delete(votes, j, axis=1)
    kept = (votes[:, j] >= 0) & (others >= 0).any(axis=1)
    others, own, its = others[kept], votes[kept, j], machine[kept]
    said = np.maximum((others >= 0).sum(axis=1), 1)
    by_it = np.where(its >= 0, (others == its[:, None]).sum(axis=1) / said, -1.0)
    by_own = (others == own[:, None]).sum(axis=1) / said
    return (by_it >= by_own).astype(np.float64), (by_own >= by_it).astype(np.float64)


def _p_value(gap: Doubles, epsilon: float) -> float:
    """One-sided p-value of "the mean of `gap` is at least `epsilon`"; small: the machine is not that much worse."""
    from scipy.stats import ttest_1samp, wilcoxon

    away = gap - epsilon
    if np.ptp(away) == 0:
        return 0.0 if away[0] < 0 else 1.0
    if len(gap) < SMALL:
        return float(wilcoxon(away, alternative="less", method="approx").pvalue)
    return float(ttest_1samp(gap, epsilon, alternative="less").pvalue)
