"""Wealth of bets against "at least so many labels are wrong", for many audits at once. Knows no items, draws or plans.

Before each answer the next unit is drawn with chance π_i = z_i·ω_s / W, where z_i is its size (items in it), ω_s the
weight of its stratum and W = Σ z_i·ω_s over the units left. Let L_i in [0, 1] be the share of it that is wrong. For
any numbers q_s fixed before the answer

    X = Σ_s m_s·q_s + (L_i − q_s)·W/ω_s        (m_s: items left in stratum s)

has conditional mean Σ z_i·L_i, the wrong labels left, whatever they are: the estimate weighted by 1/π with q as its
control (STATS §3's X = loss/prob, and the difference estimator of active inference). Under the null "T ≥ limit" that
mean is at least R = limit − found so far, so with 0 ≤ c fixed before the answer, and small enough that no answer makes
it negative, the factor

    f = 1 + c·(R − X)

has conditional mean ≤ 1: the product is a non-negative supermartingale and passes 1/δ with chance ≤ δ (Ville 1939).
The sample is drawn without replacement and the population is finite: nothing is assumed of it (Waudby-Smith & Ramdas
2024, §5; RiLACS, Waudby-Smith, Stark & Ramdas 2021; ALPHA, Stark 2023). A mean over several bettors is one as well.

Which q and c? Believe that a label in stratum s is wrong with chance p_s, Σ m_s·p_s < R. A factor a_s for "right" and
b_s for "wrong" is allowed when a_s − b_s = c·W/ω_s and its mean is 1 at every null with Σ m_s·q_s = R. The growth
E log f is then largest at the likelihood ratio a = (1−p)/(1−q), b = p/q, where q is the null nearest to p, that with
(q_s − p_s) / (q_s(1 − q_s)) = c·W/ω_s (the reverse information projection; Spertus & Stark 2022 and Stark's SUITE
combine one test a stratum and pay for the unknown split of the errors; here the split cancels). This quadratic has one
root in (p, 1), and c follows from Σ m_s·q_s = R. Between settings q and c are held, and f as written stays valid
with the current m, W and R.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.types import Bools, Doubles, Ints

_LEAST, _MOST, _HALVINGS = 1e-5, 1e4, 14  # bounds of c·W/ω, and how finely it is found
_RICH = 1e200  # wealth is cut here, which no supermartingale minds
_MARGIN = 0.999  # of the largest bet that cannot ruin: one answer must not end the game


@dataclass(frozen=True, slots=True)
class Game:
    """What is fixed before the first answer.

    mass: (S,) items in each stratum. weight: (S,) chance of an item against others, > 0. believed: (C, S) chances of
    error in (0, 1), one row a bettor. prior: (C,) their shares of the first stake, sum 1. limits: (G,) ascending nulls
    "at least so many wrong", each with its own stake. every: answers between settings of the bets.
    """

    mass: Doubles
    weight: Doubles
    believed: Doubles
    prior: Doubles
    limits: Doubles
    every: int


class Bets:
    """Wealth of `runs` audits of one game, side by side (one in the product, many in simulations).

    mass: (runs, S) items left. found: (runs,) wrong labels found. best: (runs, G) highest log wealth so far, from 0.
    """

    def __init__(self, game: Game, runs: int = 1) -> None:
        self.game = game
        self.mass: Doubles = np.repeat(game.mass[None], runs, 0).astype(np.float64)
        self.found: Doubles = np.zeros(runs)
        self.heard = 0
        self.best: Doubles = np.zeros((runs, len(game.limits)))
        self._held: Doubles = np.ones((runs, len(game.limits), len(game.prior)))
        self._q, self._bet, self._expected, self._reach = self._setting()

    def hear(self, stratum: Ints, loss: Doubles, size: Doubles) -> None:
        """One more answer in every run: (runs,) stratum of the unit drawn, share of it that is wrong, items in it."""
        if self.heard and self.heard % self.game.every == 0:
            self._q, self._bet, self._expected, self._reach = self._setting()
        self.heard += 1
        here = self.game.weight[stratum]
        total = self.mass @ self.game.weight
        gap = (self.game.limits - self.found[:, None])[:, :, None] - self._expected
        safe = self._reach * total[:, None, None] - gap
        bet = np.minimum(self._bet, _MARGIN / np.maximum(safe, 1e-18))
        q = self._q[np.arange(len(stratum)), :, :, stratum]
        factor = 1 + bet * ((q - loss[:, None, None]) * (total / here)[:, None, None] + gap)
        self._held = np.minimum(self._held * factor, _RICH)
        self._expected -= q * size[:, None, None]
        self.mass[np.arange(len(stratum)), stratum] -= size
        self.found += loss * size
        self.best = np.maximum(self.best, self.wealth())

    def wealth(self) -> Doubles:
        """(runs, G) logarithm of the wealth against each null; infinite where the null has become impossible."""
        held = np.log(np.maximum(self._held @ self.game.prior, 1 / _RICH))
        impossible = self.game.limits > (self.found + self.mass.sum(-1))[:, None] + 1e-6
        return np.where(impossible, np.inf, held)

    def keep(self, runs: Bools) -> None:
        """Go on with some of the runs only."""
        self.mass, self.found, self.best = self.mass[runs], self.found[runs], self.best[runs]
        self._held, self._q, self._bet = self._held[runs], self._q[runs], self._bet[runs]
        self._expected, self._reach = self._expected[runs], self._reach[runs]

    def bound(self, delta: float) -> Doubles:
        """(runs,) most wrong labels among all, those found included, at any time with confidence 1 − delta.

        A truth T lies on or above some limit, and its largest such limit is refused with chance ≤ δ ever. So with
        chance ≥ 1 − δ the truth is below the lowest limit from which all upwards are refused; infinite: no such.
        """
        refused = self.best >= -np.log(delta)
        whole = np.logical_and.accumulate(refused[:, ::-1], axis=1)[:, ::-1]
        first = np.where(whole.any(1), whole.argmax(1), -1)
        return np.where(first >= 0, self.game.limits[first] - 1, np.inf)

    def _setting(self) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """q and c of every bettor against every null anew, Σ m·q, and max (1 − q)/ω. Any q and c are allowed, so a few
        halvings of log c will do."""
        game, mass = self.game, self.mass[:, None, None, :]
        left = (game.limits - self.found[:, None])[:, :, None]
        pull = (self.mass @ game.weight)[:, None, None, None] / game.weight
        low = np.broadcast_to(np.log(_LEAST / pull.max(-1)), (*left.shape[:2], len(game.prior)))
        high = np.broadcast_to(np.log(_MOST / pull.min(-1)), low.shape)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            over = (mass * nearest(game.believed, np.exp(middle)[..., None] * pull)).sum(-1) > left
            high, low = np.where(over, middle, high), np.where(over, low, middle)
        bet = np.exp(low)
        q = nearest(game.believed, bet[..., None] * pull)
        none = (left <= 0) | ((mass * game.believed).sum(-1) >= left)
        return q, np.where(none, 0.0, bet), (mass * q).sum(-1), ((1 - q) / game.weight).max(-1)


def nearest(p: Doubles, pull: Doubles) -> Doubles:
    """The root q in (p, 1) of (q − p) / (q(1 − q)) = pull, for arrays that broadcast; no cancellation."""
    b = 1 - pull
    root = np.sqrt(b * b + 4 * pull * p)
    return np.asarray(np.where(b >= 0, 2 * p / (np.abs(b) + root), (root - b) / (2 * np.maximum(pull, _LEAST))))
