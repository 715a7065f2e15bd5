"""The exact test looked at several times: how GATE-X may stop early. Knows plans and counts, no ledger and no people.

Setting and hypotheses are those of `agent.certify.gate`. Instead of one look at δ there are at most J looks; how many,
and after how many draws each, is agreed on before the first answer. By look j each hypothesis may have spent δ·j/J of
its risk (a spending function, Lan & DeMets 1983, linear in the number of the look).

Why it holds. Take one hypothesis, "the prefix of m items has at least T0 wrong ones". Which of the audited items fall
into the prefix depends on the draw alone, so given these numbers s_1 ≤ s_2 ≤ … the errors found form a chain: from k
found among s they grow by Hypergeometric(m − s, T0 − k, s' − s). Its distribution, restricted to "not rejected so far",
is carried along exactly, and look j rejects at the largest b with P(not rejected before, k ≤ b) within what may still
be spent. Summed over the looks the chance to reject is at most δ where exactly T0 are wrong. With more wrong ones every
count is at least as large (mark T0 of them: the others only add), and to reject is to count few: δ holds there too. Who
stops early leaves chances unused. Across prefixes the argument is the gate's: a fixed order, one first true hypothesis.

At the last cut the order goes on: T0 = allowed + credit + 1, then one less, and so on down to allowed + 1. `bound` is
the last one rejected, less one, so a large credit costs nothing there.

The betting form (`agent.certify.anytime`) may be looked at whenever one likes; this one knows how often it will be, and
needs fewer answers for it. Against one look it stops as soon as the answers allow, and goes on where they do not yet.
Group sequential tests: Jennison & Turnbull 2000.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from agent.certify.gate import Found, Plan, last_in_a_row
from agent.types import Bools, Doubles

TINY = 1e-15


class Looks:
    """Hear of the audit look by look. `count`: looks at most, fixed before the first answer, as is the plan.

    Raises:
        ValueError: delta outside (0, 1), or no look at all.
    """

    def __init__(self, plan: Plan, delta: float, count: int) -> None:
        if not 0 < delta < 1 or count < 1:
            raise ValueError(f"delta {delta} must lie between 0 and 1, and looks {count} be at least 1")
        self.plan, self.delta, self.count, self.taken = plan, delta, count, 0
        last = len(plan.cuts) - 1
        steps = np.arange(int(plan.least[last]), int(plan.allowed[last]), -1)
        self._cut = np.concatenate([np.arange(last), np.full(len(steps), last)])
        self._bad = np.concatenate([plan.least[:last], steps])
        self._size = plan.cuts[self._cut]
        # A prefix too short to hold as many wrong ones cannot be bad.
        self.rejected: Bools = self._bad > self._size
        self._drawn = np.zeros(len(self._cut), np.int64)
        self._spent = np.zeros(len(self._cut))
        self._logs = _log_factorials(int(plan.cuts[-1]))
        self._chance = [self._begin(h) for h in range(len(self._cut))]

    def _begin(self, h: int) -> Doubles:
        """All chance at 0 found. Counts that no look can reject any more are not carried along."""
        size = int(self._size[h])
        bad, most = min(int(self._bad[h]), size), min(self.plan.draws, size)
        sums = np.cumsum(self._moves(1, min(bad, most) + 1, size, bad, most)[0])
        out = np.zeros(min(int(np.searchsorted(sums, self.delta)) + 2, len(sums)))
        out[0] = 1.0
        return out

    def look(self, seen: Found) -> int:
        """The next look at all that was audited so far: index of the last accepted cut, -1 for none.

        Raises:
            ValueError: a look more than agreed on, more draws than planned, or fewer than at the look before.
        """
        drawn, wrong = seen.drawn[self._cut], seen.wrong[self._cut]
        if self.taken >= self.count:
            raise ValueError(f"all {self.count} looks were taken: another would need a certificate of its own")
        if int(seen.drawn[-1]) > self.plan.draws or np.any(drawn < self._drawn):
            raise ValueError("a look must see all earlier audits, and no more than were planned")
        self.taken += 1
        may = self.delta * self.taken / self.count
        for h in np.flatnonzero(~self.rejected):
            self._step(int(h), int(drawn[h]), int(wrong[h]), may)
        self._drawn = drawn
        return self.accepted

    def _step(self, h: int, drawn: int, wrong: int, may: float) -> None:
        size, bad, before = int(self._size[h]), int(self._bad[h]), int(self._drawn[h])
        chance = self._chance[h]
        if drawn > before:
            chance = chance @ self._moves(len(chance), len(chance), size - before, bad, drawn - before)
        sums = np.cumsum(chance)
        reject = int(np.searchsorted(sums, may - self._spent[h] - TINY, side="right"))
        if reject:
            self._spent[h] += sums[reject - 1]
            chance[:reject] = 0.0
        self._chance[h] = chance
        self.rejected[h] = wrong < reject

    def _moves(self, rows: int, many: int, left: int, bad: int, more: int) -> Doubles:
        """(rows, many) chance to have found k' after `more` further draws when k were found: hypergeometric steps."""
        k = np.arange(rows)[:, None]
        step = np.arange(many)[None, :] - k
        wrong, right = bad - k, left - (bad - k)
        fits = (step >= 0) & (step <= more) & (wrong >= step) & (right >= more - step)
        a, b, x = (np.where(fits, v, 0) for v in np.broadcast_arrays(wrong, right, step))
        y = np.where(fits, more - step, 0)
        f = self._logs
        ways = f[a] - f[x] - f[a - x] + f[b] - f[y] - f[b - y]
        return np.where(fits, np.exp(ways - (f[left] - f[more] - f[left - more])), 0.0)

    @property
    def accepted(self) -> int:
        """Index of the last cut that was accepted, -1: none."""
        last = len(self.plan.cuts) - 1
        first = np.flatnonzero(self._cut == last)[:1]
        rejected = np.concatenate([self.rejected[:last], self.rejected[first]])
        return int(last_in_a_row(rejected))

    def bound(self, cut: int, seen: Found) -> int:
        """How many of an accepted prefix's labels were wrong before anything was mended, at most (for `settle`)."""
        most = int(self.plan.least[cut]) - 1
        if cut == len(self.plan.cuts) - 1:
            steps = self.rejected[self._cut == cut]
            most -= max(int(last_in_a_row(steps)), 0)
        return min(most, int(self.plan.cuts[cut]) - int(seen.drawn[cut]) + int(seen.wrong[cut]))


@cache
def _log_factorials(most: int) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, max(most, 1) + 1)))])
