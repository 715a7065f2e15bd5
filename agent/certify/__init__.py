"""The mathematics of the claim: the random audit, the exact bound, the seals. Knows no ledger and no people.

The argument. A pool of N items is labeled. H of the labels are people's own answers and right by definition; M = N − H
are a machine's. Before anything is known, a seeded hash puts all items in a random order (`draw`); the first of them,
less those that people were asked about anyway, are audited: a person labels them blind. Nothing in the ladder looks at
an audit answer, so given M the audited items are a uniform sample without replacement of M, and the number of wrong
ones among them is hypergeometric(M, T, n) with T the unknown number of wrong machine labels. `wrong_at_most` inverts
that distribution: the largest T for which seeing as few as k wrong would still have a chance above δ (Clopper and
Pearson's construction for a finite population). The k errors found are mended, so at most T − k remain.

One look costs δ. Labels that changed after a look are another claim: look j is charged δ·6/(π²j²), which sums to δ.
Rooms for a part of the labels: `gate` (prefixes and credit, the theorem), `walk` (exact, all the rest to people),
`paced` (the walk by coins, denser as errors are found), `anytime` (bets), `plan` (where to cut and how many to audit).
"""

from __future__ import annotations

from agent.certify.anytime import Anytime, evidence
from agent.certify.draw import draw, sha256_of
from agent.certify.exact import accuracy_needed, risk_of_look, wrong_allowed, wrong_at_most
from agent.certify.gate import Found, Plan, Settled, bound, exact, found, settle
from agent.certify.plan import order_of, plan
from agent.certify.walk import may_find

__all__ = [
    "Anytime",
    "Found",
    "Plan",
    "Settled",
    "accuracy_needed",
    "bound",
    "draw",
    "evidence",
    "exact",
    "found",
    "may_find",
    "order_of",
    "plan",
    "risk_of_look",
    "settle",
    "sha256_of",
    "wrong_allowed",
    "wrong_at_most",
]
