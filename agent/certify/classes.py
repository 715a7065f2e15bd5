"""Certificates of their own for classes that a user named (class: the label as frozen). Knows counts, no labels.

    counted(population, audited, wrong, lost, allowed, delta)   one look, exact
    watched(tests, lost, delta)         any time, from a running `strata.Test` of each `strata.part`

95 % over all labels can hide 0 % on a class of 3 %. Of a uniform audit the part that falls in a class is a uniform
sample of it, so each class has a test of its own; several claims need Holm's step-down (1979) to hold together.

Null of class c, fixed before the audit: T_c > allowed_c, of labels as frozen. Holm refuses the nulls one by one from
the smallest p, the j-th at δ/(C − j + 1), until one resists. A class whose null fell had at most allowed_c wrong
labels, so with k_c mended at most allowed_c − k_c are left. Let m classes stand. Each gets a bound U_c at δ/m, and
U_c − k_c are left at most; where that is ≤ allowed_c the class is certified too, thanks to what was mended. (Items that
nobody could tell are wrong and not mended.) All bounds hold together with 1 − δ (Holm's test turned into bounds:
Guilbaud 2008, Strassburger and Bretz 2008).

Proof: let I be the classes whose null is true, and p*_c the p of the truth T_c. With chance ≥ 1 − δ no class of I has
p*_c ≤ δ/|I|. Then no null of I falls, so m ≥ |I|. A bound U_c < T_c means p*_c ≤ δ/m ≤ δ/|I|, so c is not in I; but
then T_c ≤ allowed_c ≤ U_c, as a null that stands at δ/m leaves no bound below its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agent.certify.exact import wrong_at_most
from agent.certify.strata import Test
from agent.types import Bools, Doubles, Ints


@dataclass(frozen=True, slots=True)
class Verdict:
    """certified: at most `allowed` wrong labels are left in the class. wrong_at_most: so many are left at most; the
    bounds of all classes hold together with 1 − delta. p: of the null that more than `allowed` were wrong at first."""

    certified: bool
    wrong_at_most: int
    p: float


def counted(population: Ints, audited: Ints, wrong: Ints, lost: Ints, allowed: Ints, delta: float) -> list[Verdict]:
    """One look at a uniform audit of all: exact hypergeometric tests, a class each.

    Args:
        population: (C,) frozen labels of each class. audited: (C,) of these drawn. wrong: (C,) of these found wrong, or
            not answered. lost: (C,) of these not answered, so not mended. allowed: (C,) wrong labels that may be left,
            fixed before the audit. delta: for all classes together.
    Raises:
        ValueError: counts that cannot be.
    """
    from scipy.stats import hypergeom

    if not np.all((wrong >= 0) & (wrong <= audited) & (audited <= population)):
        raise ValueError("0 ≤ wrong ≤ audited ≤ population does not hold in every class")
    chance = hypergeom.cdf(wrong, population, np.minimum(allowed + 1, population), audited)
    p = np.where(allowed >= population, 0.0, chance)

    def left(c: int, risk: float) -> int:
        return wrong_at_most(int(population[c]), int(audited[c]), int(wrong[c]), risk) - int(wrong[c])

    return _verdicts(p, wrong, lost, allowed, left, delta)


def watched(tests: Sequence[Test], lost: Ints, delta: float) -> list[Verdict]:
    """At any time, from one running test a class; lost: (C,) found wrong for want of an answer, so not mended."""
    p, found = np.array([test.p for test in tests]), np.array([test.found for test in tests])
    allowed = np.array([test.plan.allowed for test in tests])
    return _verdicts(p, found, lost, allowed, lambda c, risk: tests[c].left(risk), delta)


def _verdicts(
    p: Doubles, found: Ints | Doubles, lost: Ints, allowed: Ints, left: Callable[[int, float], int], delta: float
) -> list[Verdict]:
    fell = holm(p, delta)
    standing = int((~fell).sum())
    verdicts = []
    for c in range(len(p)):
        rest = max(0, math.floor(allowed[c] - found[c])) if fell[c] else left(c, delta / standing)
        most = rest + int(lost[c])
        verdicts.append(Verdict(bool(most <= allowed[c]), most, float(p[c])))
    return verdicts


def holm(p: Doubles, delta: float) -> Bools:
    """(C,) which nulls fall together with 1 − delta (Holm 1979)."""
    fell = np.zeros(len(p), dtype=bool)
    for c in np.argsort(p, kind="stable"):
        if p[c] > delta / (~fell).sum():
            break
        fell[c] = True
    return fell
