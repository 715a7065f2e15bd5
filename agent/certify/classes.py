"""Certificates of their own for classes that a user named (class: the label as frozen). Knows counts, no labels.

    counted(population, audited, wrong, allowed, delta)   one look, exact
    watched(tests, delta)                                 any time, from `strata.Test`s of `strata.part`s

95 % over all labels can hide 0 % on a class of 3 %. Of a uniform audit the part that falls in a class is a uniform
sample of it, so each class has a test of its own; several claims need Holm's step-down (1979) to hold together.

Mending moves the claim with what is found: class c is promised T_c − k_c ≤ allowed_c. Two p a class, so that Holm stays
exact: p0 for the fixed null T_c ≥ allowed_c + 1, and p1 for "T_c − k_c ≥ allowed_c + 1". Holm goes down by p0 alone
until it stops with m classes standing; of these, those with p1 ≤ δ/m are certified too. Proof: let I be the classes
with T_c > allowed_c, fixed before the audit, and p*_c the p of the truth T_c itself. With chance ≥ 1 − δ no class of I
has p*_c ≤ δ/|I|. Then Holm refuses no null of I (p0 ≥ p* there), so m ≥ |I|; and a class whose promise is broken is in
I, with p1 ≥ p* > δ/|I| ≥ δ/m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.certify.exact import wrong_at_most
from agent.certify.strata import Test
from agent.types import Bools, Doubles, Ints


@dataclass(frozen=True, slots=True)
class Verdict:
    """certified: at most `allowed` wrong labels are left in the class, all certified classes together with 1 − delta.

    wrong_at_most: bound on those left, holding for all classes together. p: the smaller of the two, for display.
    """

    certified: bool
    wrong_at_most: int
    p: float


def counted(population: Ints, audited: Ints, wrong: Ints, allowed: Ints, delta: float) -> list[Verdict]:
    """One look at a uniform audit of all: exact hypergeometric tests, a class each.

    Args:
        population: (C,) frozen labels of each class. audited: (C,) of these drawn. wrong: (C,) of these found wrong, or
            not answered. allowed: (C,) wrong labels that may be left. delta: for all classes together.
    Raises:
        ValueError: counts that cannot be.
    """
    from scipy.stats import hypergeom

    # The calls below refuse counts that cannot be, before a distribution is asked about them.
    bounds = [
        wrong_at_most(int(M), int(n), int(k), delta / len(population)) - int(k)
        for M, n, k in zip(population, audited, wrong, strict=True)
    ]

    def p(null: Ints) -> Doubles:
        values = hypergeom.cdf(wrong, population, np.minimum(null, population), audited)
        return np.where(null > population, 0.0, values)

    fixed, left = p(allowed + 1), p(allowed + 1 + wrong)
    return _verdicts(fixed, left, allowed, bounds, delta)


def watched(tests: Sequence[Test], delta: float) -> list[Verdict]:
    """At any time, from one running test a class; each test's own delta must be `delta` / number of classes or less.

    Raises:
        ValueError: a test with a larger delta: its bound would not hold together with the others.
    """
    if any(test.plan.delta > delta / len(tests) * (1 + 1e-9) for test in tests):
        raise ValueError(f"the test of each class must have a delta of at most {delta / len(tests):.3g}")
    fixed, left = np.array([test.p for test in tests]).T
    allowed = np.array([test.plan.allowed for test in tests])
    return _verdicts(fixed, left, allowed, [test.wrong_at_most for test in tests], delta)


def _verdicts(fixed: Doubles, left: Doubles, allowed: Ints, bounds: Sequence[int], delta: float) -> list[Verdict]:
    certified = holm(fixed, left, delta)
    return [
        Verdict(bool(sure), min(bound, int(most)) if sure else bound, float(min(a, b)))
        for sure, bound, most, a, b in zip(certified, bounds, allowed, fixed, left, strict=True)
    ]


def holm(fixed: Doubles, left: Doubles, delta: float) -> Bools:
    """(C,) which claims hold together with 1 − delta: Holm by p0 `fixed`, then one step by p1 `left`."""
    certified = np.zeros(len(fixed), dtype=bool)
    for c in np.argsort(fixed, kind="stable"):
        if fixed[c] > delta / (~certified).sum():
            break
        certified[c] = True
    if not certified.all():
        certified |= left <= delta / (~certified).sum()
    return certified
