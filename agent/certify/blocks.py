"""Streams: an alarm when a machine errs more than it said. Knows counts only.

    Drift().block() .hear(p, e)     e-process on audited errors against predicted risk; `.alarm` at 20

A certificate is about one finite pool and says nothing of what comes after it. So a stream comes in blocks: labels of a
block are frozen, audited and certified as any pool. The looks of all blocks are counted through, and look j of the
stream is charged δ·6/(π²j²) (`agent.certify.risk_of_look`), which sums to δ: all certificates ever given in it hold
together with 1 − δ (union bound).

Drift. Null: each audited item is wrong with chance at most its predicted risk, given what was heard before. For each
of a few factors r the odds of error may have risen by, f_t = (p'/p)^e · ((1 − p')/(1 − p))^(1 − e) with p' of odds
r·p/(1 − p) has mean ≤ 1 then. Wealth is put on every block as the one where the change began, with the shares
6/(π²b²): S ← (S + share of the block at its first answer)·Π f_t, and the wealth is S and what is not placed yet.
That is a supermartingale from 1, so a false alarm ever has chance ≤ 1/20 (Ville 1939; e-detectors: Shin, Ramdas and
Rinaldo 2024). An alarm breaks no certificate. It says that predictions are too good, so the block should go to the
large model and people, and that the risks need calibrating.
"""

from __future__ import annotations

import numpy as np

from agent.certify.exact import risk_of_look
from agent.types import Doubles

ALARM = 20.0
RICH = 1e200  # wealth is cut here, which no supermartingale minds
FACTORS = (1.5, 2.0, 3.0, 5.0)  # the odds of error may have risen by
LEAST = 1e-3  # risks nearer to 0 or 1 are taken as this: one error where none was thought possible is no proof


class Drift:
    """Are machine labels worse than predicted? Hear audited items in the order drawn; look whenever."""

    def __init__(self) -> None:
        self.blocks = 0
        self.highest = 1.0
        self._placed: Doubles = np.zeros(len(FACTORS))
        self._kept = 1.0

    def block(self) -> None:
        """A new block begins: a part of what is not placed yet is bet on a change from here on."""
        self.blocks += 1
        share = risk_of_look(1.0, self.blocks)
        self._placed = self._placed + share / len(FACTORS)
        self._kept = max(0.0, self._kept - share)

    def hear(self, predicted: float, wrong: float) -> None:
        """An audited item: its predicted chance of error in [0, 1], and whether it (or what share of it) was wrong.

        Raises:
            ValueError: numbers outside [0, 1], or no block begun.
        """
        if not 0 <= predicted <= 1 or not 0 <= wrong <= 1:
            raise ValueError(f"predicted {predicted} and wrong {wrong} must lie between 0 and 1")
        if not self.blocks:
            raise ValueError("begin a block first: Drift.block()")
        p = min(max(predicted, LEAST), 1 - LEAST)
        factors = np.array(FACTORS)
        risen = factors * p / (1 - p + factors * p)
        # Linear between the likelihood ratios of right and wrong, so that shares of a cluster keep the mean ≤ 1.
        factor = (1 - wrong) * (1 - risen) / (1 - p) + wrong * risen / p
        self._placed = np.minimum(self._placed * factor, RICH)
        self.highest = max(self.highest, self.wealth)

    @property
    def wealth(self) -> float:
        """Evidence against "no worse than predicted"; 1 at the start."""
        return float(self._placed.sum() + self._kept)

    @property
    def alarm(self) -> bool:
        """Whether the wealth ever reached 20: a false alarm has chance ≤ 1/20 over the whole stream."""
        return self.highest >= ALARM
