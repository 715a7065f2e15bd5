"""GATE-S: the test of every prefix at once as bets, looked at after every answer. Knows arrays, no ledger, no people.

For one prefix of m labels of which T are wrong, let s have been drawn without replacement and found k wrong. Under the
hypothesis T ≥ T0 the next one is wrong with chance at least q = (T0 − k)/(m − s). Whoever stakes on a truth T1 < T0
multiplies his capital by η/q if it is wrong and (1 − η)/(1 − q) if not, η = (T1 − k)/(m − s) < q: a fair game at
T = T0, a losing one above. His capital is the likelihood ratio of T1 against T0 and depends on s and k only,

    M(s, k; T1) = C(m − s, T1 − k) C(m, T0) / (C(m − s, T0 − k) C(m, T1)).

So is the average over several T1 a nonnegative supermartingale that starts at 1, and by Ville's inequality it ever
reaches 1/δ with chance at most δ: after every answer may be looked, for as long as one likes. Losses between 0 and 1
(shares of wrong labels in a cluster) play the same game with the straight line between the two factors. One prefix
costs δ; that all prefixes together cost no more is the theorem of `agent.certify.gate`.

Sources: Waudby-Smith & Ramdas 2020 (sampling without replacement) and arXiv 2010.09686 (betting); Ville 1939.
"""

from __future__ import annotations

import numpy as np

from agent.certify.gate import Plan, last_in_a_row
from agent.types import Doubles, Ints

STAKES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.88)  # truths that are bet on, as shares of the fewest that make it bad


def truths(least: Ints) -> Ints:
    """(R, …) The numbers of wrong labels that are bet on against each `least`, all below it."""
    least = np.asarray(least, np.int64)
    return np.stack([np.minimum(np.floor(share * least), least - 1) for share in STAKES]).astype(np.int64)


def evidence(size: Ints, least: Ints, drawn: Ints, wrong: Ints) -> Doubles:
    """Capital against "at least `least` of `size` labels are wrong" after `wrong` of `drawn`; arguments broadcast.

    0 once `least` wrong ones were found; infinite where so many right ones were seen, or the prefix is so short, that
    it cannot be.
    """
    from scipy.special import gammaln

    size, least, drawn, wrong = np.broadcast_arrays(*(np.asarray(a, np.int64) for a in (size, least, drawn, wrong)))

    def choose(n: Ints, k: Ints) -> Doubles:
        inside = (k >= 0) & (k <= n)
        n, k = np.where(inside, n, 1), np.where(inside, k, 0)
        ways = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
        return np.where(inside, ways, -np.inf)

    # Where the hypothesis is settled already, any finite number will do here.
    open_still = (wrong < least) & (least - wrong <= size - drawn)
    against = np.where(open_still, choose(size - drawn, least - wrong), 0.0) - np.where(
        open_still, choose(size, least), 0.0
    )
    total = np.zeros(size.shape)
    for truth in truths(least):
        within = np.minimum(truth, size)
        ways = choose(size - drawn, within - wrong) - choose(size, within)
        total += np.exp(np.clip(ways - against, -np.inf, 700.0))
    capital = total / len(STAKES)
    capital = np.where(least - wrong > size - drawn, np.inf, capital)
    return np.asarray(np.where(wrong >= least, 0.0, capital), np.float64)


class Anytime:
    """GATE-S on a plan: `hear` each audit answer in the order of the draw, read `accepted` whenever.

    delta: risk. whole: losses are 0 or 1; False: anything between, so that "more than allowed + credit" begins there
    and not one whole error above.
    """

    def __init__(self, plan: Plan, delta: float, whole: bool = True) -> None:
        self._cuts, self._delta, self._whole = plan.cuts, delta, whole
        self._least = plan.least - (0.0 if whole else 1.0)
        self._truths = np.minimum(truths(plan.least), self._least)
        self._rest = plan.cuts.astype(np.float64)  # not drawn yet, by cut
        self._wrong = np.zeros(len(plan.cuts))
        self._wealth = np.zeros(self._truths.shape)  # logarithms, (R, C)
        self._best = np.where(self._least > self._rest, np.inf, 0.0)  # logarithm of the most the mean ever was

    def hear(self, rank: int, loss: float) -> None:
        """The answer about the item at this place of the order: 1 wrong, skipped or unanswered; 0 right; or between.

        Raises:
            ValueError: a place outside the reach, or a loss outside [0, 1].
        """
        if not (0 <= rank < self._cuts[-1] and 0 <= loss <= 1):
            raise ValueError(f"place {rank} or loss {loss} is out of range")
        here = slice(int(np.searchsorted(self._cuts, rank, side="right")), None)
        rest, wrong = self._rest[here], self._wrong[here]
        q = np.clip((self._least[here] - wrong) / rest, 0.0, 1.0)
        eta = np.minimum(np.clip((self._truths[:, here] - wrong) / rest, 0.0, 1.0), q)
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = np.where(q > 0, eta / q, 0.0)
            kept = np.where(q < 1, (1 - eta) / (1 - q), 0.0)
            self._wealth[:, here] += np.log(loss * lost + (1 - loss) * kept)
        self._rest[here] -= 1
        self._wrong[here] += loss
        top = np.maximum(self._wealth[:, here].max(axis=0), -700.0)
        mean = top + np.log(np.maximum(np.exp(self._wealth[:, here] - top).mean(axis=0), 1e-300))
        cannot = self._least[here] - self._wrong[here] > self._rest[here]  # too few are left for the prefix to be bad
        self._best[here] = np.maximum(self._best[here], np.where(cannot, np.inf, mean))

    @property
    def accepted(self) -> int:
        """Index of the last accepted cut, -1 for none. What was accepted stays so, unless it was seen to be bad."""
        good = self._wrong < self._least if self._whole else self._wrong <= self._least
        return int(last_in_a_row((self._best >= -np.log(self._delta)) & good))
