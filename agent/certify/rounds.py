"""Whom to put to people next, so that a certificate needs the fewest of their labels; and how far to walk meanwhile.

Knows predicted risks, counts and seeds; no ledger, no people, no model.

Most items of a hard pool go to people anyway: those behind the prefix that a certificate will accept. They cost the
same whenever they are labeled, so they are labeled first, in rounds, and everything is learned anew after each round:
labels of the items left, and their order, get better for nothing. Once hardly anything lies behind the prefix for sure,
the paced walk (`agent.certify.paced`) takes a stretch of the surest items: their labels and their order are frozen, the
coins that are due are put to people. Then all is learned anew again, what is still open gets new labels and a new
order, and either end may be next: the riskiest items go to people as soon as they surely lie behind where the walk will
stop. So both ends meet, and the less is left the better it is known where.

Why the promise holds. The walk's theorem needs no order that was fixed beforehand: whenever it comes to an item, that
item's label must have been settled without its coin. Here all that is learned comes from answers to other items, no
coin in front of a stretch is looked at before the stretch is frozen, and an item that people labeled in a round has
left the walk without its coin being looked at. Shares are fixed at the start. Predictions decide what it costs, never
whether it holds.

How a loop calls it, with the posterior's risks of all items (`agent.posterior.pool`, `.error`):

    share, found = paced.shares(floor(eps n), delta), 0
    while True:
        risk = honest(seen, wrong, risk_of_all)      # seen, wrong: pilot, explored and audited items
        step = next_step(risk, spoken, walked, share, found, allowed, size=n // 10, seed=step_number)
        "people": ask about step.rows, log step.chances; "walk": freeze step.rows in this order, audit what is due by
        share[found:], all of it is `walked`; "free": deliver them; "end": people label what is open

Where a walk would save less than the errors allowed, people label all but so many items, which may all be wrong: that
is settled before the first coin is looked at.

Measured: eval/saving_own.py. Source: ours; pool-based active learning by least confidence (Lewis & Gale 1994), with a
price: only what people will be asked about anyway may be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent.types import Bools, Doubles, Ints

EXPLORE = 0.02
"""Share of a round that is drawn uniformly from all that is open: what a later fit may be judged on."""
DOUBT = np.array([0.7, 1.0, 1.4])
"""Factors by which predicted errors may be off; where the walk ends is thought over with each, ..."""
LUCK = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
"""... and over the luck of the coins."""
SURELY = 0.9
"""Only what lies behind the end in so many of these cases is people's already, and may be asked of them early."""
STRIDE, SHORTEST = 0.5, 0.02
"""A stretch of the walk: so much of the way to its likely end, and at least so much of the pool."""
OFFSET, SLOPE = 1.0, 0.3
"""How far, in log-odds, predicted risks may be wrong as a whole and in their spread."""
LEARN = 150
"""People's answers before which nothing is frozen: the next ones teach more than they cost, ..."""
SURE = 0.8
"""... unless so much of what is left needs nobody already."""
LEAST = 0.5
"""Of a round: when less lies behind the end, no round is worth its wait."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Where the walk is expected to end, in items from here. surely: hardly ever later; likely: the median; saved:
    items up to there that are not audited."""

    surely: int
    likely: int
    saved: float


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next. rows: for "people" what to ask about, riskiest first; for "walk" the stretch to freeze, surest
    first; for "free" what may be delivered unseen; for "end" what is open and is people's. chances: (rows,) with which
    each was picked, to be logged."""

    kind: Literal["people", "walk", "free", "end"]
    rows: Ints
    chances: Doubles
    aim: Aim


def honest(
    seen: Doubles,
    wrong: Bools | Doubles,
    risk: Doubles,
    weights: Doubles | None = None,
    spread: tuple[float, float] = (OFFSET, SLOPE),
) -> Doubles:
    """Risks held against answers to items that were drawn at random: a line in log-odds, drawn towards no change.

    Where people were asked about the least sure ones, all their answers together say how often unsure labels are wrong
    and little of sure ones. seen: (m,) risk of items drawn at random, predicted without their own answers; wrong: (m,)
    whether the label was wrong; risk: (n,) of all; weights: (m,) of the answers, 1 when None; spread: how far, in
    log-odds, risks may be off as a whole and in their slope. Returns (n,), in the same order of size as `risk`.
    """
    x, y = _logit(seen), np.asarray(wrong, np.float64)
    worth = np.ones(len(x)) if weights is None else weights
    line, trust = np.array([0.0, 1.0]), np.array(spread) ** -2.0
    rows = np.stack([np.ones(len(x)), x], axis=1)

    def loss(line: Doubles) -> float:
        z = rows @ line
        return float(worth @ (np.logaddexp(0.0, z) - y * z) + trust @ (line - [0.0, 1.0]) ** 2 / 2)

    for _ in range(50):  # Newton, the step halved until the loss does not grow; strictly convex, two numbers
        p = _expit(rows @ line)
        slope = rows.T @ (worth * (y - p)) - trust * (line - [0.0, 1.0])
        step = np.linalg.solve((rows.T * (worth * p * (1 - p))) @ rows + np.diag(trust), slope)
        while loss(line + step) > loss(line) and float(np.abs(step).max()) > 1e-9:
            step = step / 2
        line = line + step
        if float(np.abs(step).max()) < 1e-9:
            break
    return _expit(line[0] + max(float(line[1]), 0.05) * _logit(risk))


def aim(risk: Doubles, share: Doubles) -> Aim:
    """Where a walk with these shares still before it will end. risk: (U,) of the open items, in their order.

    Errors met while k have been found number 1 + a geometric one of mean (1 − f_k)/f_k. Their sum is taken as a gamma
    variable of its mean and variance; the walk ends where the predicted errors reach it.
    """
    from scipy.stats import gamma

    if not len(share) or not len(risk):
        return Aim(0, 0, 0.0)
    errors = np.cumsum(np.asarray(risk, np.float64))
    mean, spread = float((1 / share).sum()), max(float(((1 - share) / share**2).sum()), 1e-9)
    met = gamma.ppf(LUCK, mean * mean / spread, scale=spread / mean)
    ends = np.searchsorted(errors, np.outer(met, 1 / DOUBT).ravel())
    likely = int(np.median(ends))
    state = np.minimum(np.searchsorted(np.cumsum(1 / share), errors[:likely]), len(share) - 1)
    return Aim(int(np.quantile(ends, SURELY)), likely, float((1 - share[state]).sum()))


def next_step(
    risk: Doubles,
    spoken: Bools,
    walked: Bools,
    share: Doubles,
    found: int,
    allowed: int,
    size: int,
    seed: int,
    explore: float = EXPLORE,
) -> Step:
    """A round for people, a stretch for the walk, or the end.

    Args:
        risk: (n,) predicted chance of error of each item's label. spoken: (n,) a person labeled it, audits among them.
        walked: (n,) the walk passed it, audited or not. share: from `paced.shares`. found: errors found by the walk,
        skipped ones among them. allowed: wrong labels in all. size: items a round, ≥ 1. explore: share of a round drawn
        at random from what the round leaves open.
    Raises:
        ValueError: sizes that do not fit.
    """
    n = len(risk)
    if not len(spoken) == len(walked) == n or size < 1:
        raise ValueError(f"{n} risks, {len(spoken)} and {len(walked)} marks, or a round of {size}: does not fit")
    rng = np.random.default_rng(seed)
    left = np.flatnonzero(~(np.asarray(spoken, bool) | np.asarray(walked, bool)))
    order = left[np.lexsort((rng.random(len(left)), risk[left]))].astype(np.int64)
    goal = aim(risk[order], share[found:])
    begun = bool(np.any(walked))
    if not begun and len(order) <= allowed:
        return Step("free", order, np.ones(len(order)), goal)
    if not len(order) or (found >= len(share) and begun):
        return Step("end", order, np.ones(len(order)), goal)
    hopeless = not begun and goal.saved <= allowed
    behind = len(order) - (allowed if hopeless else goal.surely)
    if int(np.sum(spoken)) < LEARN and not begun and goal.likely < SURE * len(order):
        behind = max(behind, size)
    if behind > LEAST * size or hopeless:
        return _asked(order, min(size, behind), explore, rng, goal)
    stretch = order[: max(int(STRIDE * goal.likely), round(SHORTEST * n), 1)]
    return Step("walk", stretch, np.ones(len(stretch)), goal)


def _asked(order: Ints, count: int, explore: float, rng: np.random.Generator, goal: Aim) -> Step:
    """The riskiest, and a few at random."""
    count = min(count, len(order))
    random = min(round(explore * count), count - 1)
    sure, others = order[len(order) - (count - random) :][::-1], order[: len(order) - (count - random)]
    drawn = rng.choice(others, size=min(random, len(others)), replace=False)
    chances = np.concatenate([np.ones(len(sure)), np.full(len(drawn), len(drawn) / max(len(others), 1))])
    return Step("people", np.concatenate([sure, drawn]).astype(np.int64), chances, goal)


def _logit(p: Doubles) -> Doubles:
    clipped = np.clip(np.asarray(p, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)


def _expit(x: Doubles) -> Doubles:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), np.float64)
