"""GATE: which prefix of a frozen order may be delivered unseen. Knows arrays and counts, no ledger and no people.

Setting. N labels are delivered. People labeled some; U are a machine's, in a frozen order, surest first. T_m is the
number of wrong ones among the first m of that order: fixed before the audit, unknown, and it can only grow with m. What
is wrong is allowed to number A_m at the end: floor(ε·N) for all m where everything behind the accepted prefix goes to
people ("people"), floor(ε·(people + m)) where it is not delivered ("open").

Theorem. Let cuts m_1 < … < m_C, what is allowed A_j, and credits c_j be fixed before the first audit answer, and let
the audited items be a uniform sample without replacement of the first m_C. Test H_j: T_{m_j} ≥ A_j + c_j + 1 for
j = 1, 2, … and stop at the first that is not rejected; each test at the full δ. Then with probability at least 1 − δ
none of the rejected hypotheses is true.

Proof. To reject any true hypothesis the first true one, H_{j*}, has to be rejected. Which one is the first is a fact
about labels that were frozen, not about the sample, so it is one test of one true hypothesis at level δ. (No union over
cuts: testing in a fixed order, Maurer, Hothorn & Lehmacher 1995; Learn then Test, arXiv 2110.01052, calls it so too.
Where A and c do not change, the hypotheses are nested and "first" is the first bad prefix.)

The test. The audited items that fall into a prefix are a uniform sample without replacement of it, given their number
s. With k of them wrong, p = P(Hypergeometric(m, A + c + 1, s) ≤ k) is a p-value of H, since fewer errors are ever less
likely the more there are (GATE-X, one look). `agent.certify.anytime` puts an e-value in its place (GATE-S).

The credit. Errors found are mended, so T_m − k of them stay. Rejecting H says T_m ≤ A + c; at most A stay as soon as c
were mended. More than c mended: one further label may be delivered unseen for each, were it wrong. Fewer: people label
on from the risky end of the prefix until c are mended. A credit taken from what was found would choose the hypothesis
by the data; here it is part of the plan.

The last cut. Once H_C is rejected the fixed order goes on: T ≥ A + c, T ≥ A + c − 1, …, so that at the last cut T_m is
at most what the exact bound says at the full δ, and too large a credit is harmless there (`bound`).

Skipped audits. An item that nobody answered counts as wrong in the test, which makes p larger, never smaller; and as
not mended in the credit.

Where all the rest goes to people and one look is taken, `agent.certify.walk` does without credit and cuts, proves more
with the same audit, and is what such a plan (`limit`) is tested by.

Sources: Clopper & Pearson 1934 for the hypergeometric test. PAC labeling (arXiv 2506.10908), BARGAIN (2509.02896) and
Trust or Escalate (2407.18370) promise the like with other tests; the credit is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.certify.exact import wrong_at_most
from agent.certify.walk import end_of, may_find
from agent.types import Bools, Doubles, Ints


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before the first audit answer and goes into the commitment.

    cuts: (C,) ascending prefix lengths of the order of the items no person has labeled, surest first; the last one is
    the reach, inside which the audit is drawn. allowed: (C,) how many wrong labels may stay if the prefix is accepted.
    draws: audits planned inside the reach. credit: (C,) errors the audit is counted on to mend in each prefix. grows:
    by how much each further delivered label raises what is allowed: ε where what lies behind the prefix is left open,
    0 where it goes to people and is counted already. limit: errors found with which a prefix still passes, for a plan
    that is tested by `agent.certify.walk`; None: one with credits.

    Raises:
        ValueError: cuts that do not ascend, negative credits, more draws than the reach holds.
    """

    cuts: Ints
    allowed: Ints
    draws: int
    credit: Ints
    grows: float = 0.0
    limit: int | None = None

    def __post_init__(self) -> None:
        if not len(self.cuts) == len(self.allowed) == len(self.credit) >= 1:
            raise ValueError("cuts, allowed and credit must be of one length, at least 1")
        if self.cuts[0] < 0 or np.any(np.diff(self.cuts) <= 0):
            raise ValueError("cuts must ascend and not be negative")
        if np.any(self.credit < 0) or not 0 <= self.draws <= self.cuts[-1]:
            raise ValueError("a credit below 0, or more draws than the reach holds")
        if self.limit is not None and (np.any(self.credit) or len(np.unique(self.allowed)) > 1):
            raise ValueError("a walk needs no credit and one number of allowed errors")

    @property
    def least(self) -> Ints:
        """(C,) The fewest wrong labels with which a prefix is bad: allowed + credit + 1."""
        return self.allowed + self.credit + 1


@dataclass(frozen=True, slots=True)
class Found:
    """The audit so far. drawn: (C,) audited inside each cut; wrong: (C,) of these wrong, skipped or unanswered; mended:
    (C,) of these wrong and put right. answered: places in the order of all that a person labeled, ascending; bad: of
    all that were wrong, skipped or unanswered."""

    drawn: Ints
    wrong: Ints
    mended: Ints
    answered: Ints
    bad: Ints


@dataclass(frozen=True, slots=True)
class Settled:
    """What is delivered unseen. accepted: length of the prefix, the free places behind the cut included. to_people:
    places in it that people label on, riskiest first, until `owed` more errors are mended. wrong_at_most: wrong labels
    among what is delivered, once nothing is owed."""

    accepted: int
    to_people: Ints
    wrong_at_most: int
    owed: int = 0


def found(plan: Plan, ranks: Ints, wrong: Bools, missing: Bools | None = None) -> Found:
    """Counts per cut. ranks: (s,) places in the order of the audited items, from 0; wrong: (s,) the label was not what
    the person said; missing: (s,) nobody answered, which counts as wrong whatever `wrong` says.

    Raises:
        ValueError: a place that is audited twice, or lies outside the reach.
    """
    ranks = np.asarray(ranks, np.int64)
    lost = np.zeros(len(ranks), bool) if missing is None else np.asarray(missing, bool)
    bad = np.asarray(wrong, bool) | lost
    if len(np.unique(ranks)) != len(ranks):
        raise ValueError("an item is in the audit twice")
    if len(ranks) and not 0 <= ranks.min() <= ranks.max() < plan.cuts[-1]:
        raise ValueError(f"an audited item lies outside the first {plan.cuts[-1]} of the order")
    return Found(
        drawn=_within(plan, ranks),
        wrong=_within(plan, ranks[bad]),
        mended=_within(plan, ranks[bad & ~lost]),
        answered=np.sort(ranks[~lost]),
        bad=np.sort(ranks[bad]),
    )


def _within(plan: Plan, ranks: Ints) -> Ints:
    return np.searchsorted(np.sort(ranks), plan.cuts, side="left").astype(np.int64)


def chances(plan: Plan, drawn: Ints, wrong: Ints) -> Doubles:
    """p-value of each "this prefix is bad". drawn, wrong: (…, C), runs may stand in front; returns (…, C).

    P(Hypergeometric(cut, least, drawn) ≤ wrong); 0 where a prefix is too short to be bad, 1 where as many wrong ones as
    make it bad were already found.
    """
    from scipy.stats import hypergeom

    triples = np.stack([np.broadcast_to(np.arange(len(plan.cuts)), drawn.shape), drawn, wrong], axis=-1)
    # Each distinct look is computed once: among thousands of simulated runs most are alike.
    keys, back = np.unique(triples.reshape(-1, 3), axis=0, return_inverse=True)
    cut, s, k = keys.T
    bad, size = plan.least[cut], plan.cuts[cut]
    p = hypergeom.cdf(k, size, np.minimum(bad, size), s)
    p = np.where(bad > size, 0.0, np.where(k >= bad, 1.0, p))
    return np.asarray(p, np.float64)[back.reshape(-1)].reshape(drawn.shape)


def last_in_a_row(rejected: Bools) -> Ints:
    """Index of the last cut before the first that is not rejected; -1: none. rejected: (…, C)."""
    return np.asarray(np.logical_and.accumulate(rejected, axis=-1).sum(axis=-1) - 1, np.int64)


def exact(plan: Plan, seen: Found, delta: float) -> int:
    """GATE-X: index of the last accepted cut, -1 for none. One look: looking again needs `agent.certify.anytime`.

    Raises:
        ValueError: a walk (`limit`) with other audits than were planned, or planned for a larger delta.
    """
    if plan.limit is None:
        return int(last_in_a_row(chances(plan, seen.drawn, seen.wrong) <= delta))
    reach, drawn = int(plan.cuts[-1]), int(seen.drawn[-1])
    if drawn != plan.draws or plan.limit > may_find(reach, drawn, int(plan.allowed[0]), delta):
        raise ValueError(f"the plan is for {plan.draws} audits; {drawn} were drawn, or its delta was above {delta}")
    # However the audit ends, a prefix may be accepted in which no more are unseen than may be wrong.
    short = plan.cuts - np.searchsorted(seen.answered, plan.cuts) <= plan.allowed
    return int(last_in_a_row((seen.wrong <= plan.limit) | short))


def bound(plan: Plan, cut: int, seen: Found, delta: float | None = None) -> int:
    """How many of the labels in an accepted prefix were wrong before anything was mended, at most.

    delta: of the exact test; with it the last cut goes down to the exact bound (see the module). None: the plan's.
    """
    size, drawn, wrong = int(plan.cuts[cut]), int(seen.drawn[cut]), int(seen.wrong[cut])
    proved = int(plan.allowed[cut]) + (int(plan.credit[cut]) if plan.limit is None else wrong)
    most = min(proved, size - drawn + wrong)
    if delta is not None and cut == len(plan.cuts) - 1 and (plan.limit is None or wrong <= plan.limit):
        most = min(most, wrong_at_most(size, drawn, wrong, delta))
    return most


def settle(
    plan: Plan, cut: int, seen: Found, risk: Doubles, most: int | None = None, after: tuple[Ints, Bools] | None = None
) -> Settled:
    """What may be delivered unseen once the cut of this index was accepted (-1: nothing).

    risk: (U,) predicted chance of error in the order. most: from `bound` (default: the plan's). after: places that
    people labeled since the audit, and which labels were wrong; all of them are mended.
    """
    ranks, mends = after if after is not None else (np.zeros(0, np.int64), np.zeros(0, bool))
    nobody = np.zeros(0, np.int64)
    if cut < 0:
        return Settled(0, nobody, 0)
    size, allowed = _length(plan, cut, seen), int(plan.allowed[cut])
    within = ranks < size
    unseen = np.ones(len(risk), bool)
    unseen[seen.answered] = unseen[ranks] = False
    if plan.limit is None or size == plan.cuts[cut]:
        most = bound(plan, cut, seen) if most is None else most
        most = min(most, size - int(seen.drawn[cut]) + int(seen.wrong[cut]) - int((within & ~mends).sum()))
        left = most - int(seen.mended[cut])
    else:
        left = allowed
    left = min(left - int((within & mends).sum()), int(unseen[:size].sum()))
    if plan.limit is not None:
        # Whom nobody answered was counted as found, so it must not be delivered as it is.
        left, nobody = min(left, allowed), np.setdiff1d(seen.bad[seen.bad < size], np.union1d(seen.answered, ranks))
    if (owed := left - allowed) > 0:
        places = np.flatnonzero(unseen[:size])
        return Settled(size, places[np.argsort(-risk[places], kind="stable")], allowed, owed)
    # Behind the cut nothing was tested: whatever is delivered there counts as wrong.
    behind = np.concatenate([[0], np.cumsum(unseen[size:])])
    may = allowed + np.floor(plan.grows * np.arange(len(behind)) + 1e-9)
    free = int(last_in_a_row(left + behind <= may))
    return Settled(size + free, nobody, left + int(behind[free]))


def _length(plan: Plan, cut: int, seen: Found) -> int:
    """The accepted prefix: the cut, or where the walk ends behind it."""
    if plan.limit is None or seen.wrong[cut] > plan.limit:
        return int(plan.cuts[cut])
    return int(end_of(int(plan.cuts[-1]), plan.limit, seen.bad, np.ones(len(seen.bad), bool)))
