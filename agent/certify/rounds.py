"""Whom to put to people next, so that the certificate needs the fewest of their labels in all; and when to freeze.

Knows predicted risks, counts and seeds; no ledger, no people, no model.

Most items of a hard pool go to people anyway: those behind the prefix that a certificate will accept. They cost the
same whenever they are labeled, so they are labeled first, in rounds, and everything is learned anew after each round:
labels of the items left, and their order, get better for nothing. The rounds are over when hardly anything is left
behind the prefix. Then labels and order are frozen, the audit is drawn from the items without a person's label, and the
prefix is walked (`agent.certify.walk`). No audit answer is used by a round and no answer of a round by the audit, so
the promise rests on the walk alone, whatever was predicted here.

How a loop calls it, with the posterior's risks of all items (`agent.posterior.pool`, `.error`):

    while True:
        risk = honest(seen, wrong, risk_of_all)           # seen, wrong: the items drawn at random and answered
        turn = next_round(risk, spoken, n, eps, delta, size=n // 10, seed=turn_number)
        if len(turn.rows) == 0: break                     # freeze: order = risk ascending among ~spoken
        ask people about turn.rows, log turn.chances; learn anew
    the audit: turn.aim.draws of the items left, drawn uniformly; walk with may_find(left, draws, floor(eps n), delta)

Measured (eval/saving_own.py): a small uniform pilot (60) and next to no exploration need the fewest labels, since what
is drawn at random lies mostly inside the prefix, where no label was needed. Source: ours; pool-based active learning by
least confidence (Lewis & Gale 1994), with a price: only what people will be asked about anyway may be asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.certify.walk import may_find
from agent.types import Bools, Doubles, Ints

EXPLORE = 0.02
"""Share of a round that is drawn uniformly from all that is left: what a later fit may be judged on."""
SHARES = np.array([0.05, 0.07, 0.09, 0.11, 0.13, 0.15, 0.18, 0.21, 0.25, 0.3, 0.4])
"""Of the items left, that are audited."""
DOUBT = np.array([0.7, 1.0, 1.4])
"""Factors by which predicted errors may be off; the saving is averaged over them, and over the luck of the draw."""
LUCK = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
SURELY = 0.8
"""Only what lies behind the prefix in so many of these cases is people's already, and may be asked of them early."""
OFFSET, SLOPE = 1.0, 0.3
"""How far, in log-odds, predicted risks may be wrong as a whole and in their spread."""
LEARN = 150
"""People's answers before which nothing is frozen: the next ones teach more than they cost, ..."""
SURE = 0.8
"""... unless so much of what is left needs nobody already."""
LEAST = 0.3
"""Of a round: when less is left behind the prefix, no round is worth its wait."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What is expected of an audit now. length: of the prefix, longer as good as never; draws: audits in all that is
    left; most: errors that may be found; saved: labels that people need not give."""

    length: int
    draws: int
    most: int
    saved: float


@dataclass(frozen=True, slots=True)
class Round:
    """rows: items to put to people next, none when it is time to freeze; chances: with which each was picked, to be
    logged; aim: what an audit would give now."""

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


def aim(risk: Doubles, allowed: int, delta: float) -> Aim:
    """The audit that is expected to save most. risk: (U,) of the items left, in their order; allowed: errors in all.

    A prefix ends where one error more is found than may be: the f · Σ risk at which the (K + 1)st of rare events comes
    is Gamma(K + 1).
    """
    from scipy.stats import gamma

    units, errors = len(risk), np.cumsum(np.asarray(risk, np.float64))
    best = Aim(0, 0, -1, 0.0)
    if units <= allowed:
        return Aim(units, 0, 0, float(units))
    for share in SHARES:
        draws = int(np.ceil(share * units))
        if (most := may_find(units, draws, allowed, delta)) < 0:
            continue
        passed = np.outer(gamma.ppf(LUCK, most + 1), 1.0 / (share * DOUBT))
        ends = np.searchsorted(errors, passed)
        if (saved := float(ends.mean()) * (1 - draws / units)) > best.saved:
            best = Aim(int(np.quantile(ends, SURELY)), draws, most, saved)
    return best


def next_round(
    risk: Doubles, spoken: Bools, n: int, eps: float, delta: float, size: int, seed: int, explore: float = EXPLORE
) -> Round:
    """The next items for people, riskiest first, and a few at random; none when it is time to freeze.

    Args:
        risk: (n,) predicted chance of error of each item's label. spoken: (n,) a person labeled it. n: labels delivered
            in all. eps, delta: of the promise. size: items a round, ≥ 1. explore: share of them drawn at random.
    Raises:
        ValueError: sizes that do not fit.
    """
    if not len(risk) == len(spoken) == n or size < 1:
        raise ValueError(f"{len(risk)} risks and {len(spoken)} marks of {n} items, or a round of {size}: does not fit")
    rng = np.random.default_rng(seed)
    left = np.flatnonzero(~np.asarray(spoken, bool))
    order = left[np.lexsort((rng.random(len(left)), risk[left]))]
    allowed = int(np.floor(eps * n + 1e-9))
    goal = aim(risk[order], allowed, delta)
    behind = len(order) - goal.length
    if n - len(left) < LEARN and goal.saved < SURE * len(order) and len(order) > allowed:
        behind = max(behind, size)
    if behind <= LEAST * size:
        return Round(np.zeros(0, np.int64), np.zeros(0), goal)
    count = min(size, behind, len(order))
    random = min(round(explore * count), count - 1)
    sure = order[len(order) - (count - random) :][::-1]
    others = order[: len(order) - (count - random)]
    drawn = rng.choice(others, size=random, replace=False)
    chances = np.concatenate([np.ones(len(sure)), np.full(random, random / max(len(others), 1))])
    return Round(np.concatenate([sure, drawn]).astype(np.int64), chances, goal)


def _logit(p: Doubles) -> Doubles:
    clipped = np.clip(np.asarray(p, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)


def _expit(x: Doubles) -> Doubles:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), np.float64)
