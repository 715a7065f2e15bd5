"""What people's own mistakes do to a certificate, from audited items that two people labeled. Knows counts only.

    split(delta)                       what the certificate may spend, and what is kept for people's error
    at_most(doubled, differ, delta)    people's error, upper bound

A certificate speaks of agreement with the person who audited. Write y for the truth, y' for what that person says or
would say of an item, yh for the label delivered. Then 1{yh ≠ y} ≤ 1{yh ≠ y'} + 1{y' ≠ y}, also where a person's word
replaced the label (yh = y'). So if at most ε·N labels differ from y' and y' is wrong on at most h·N items, accuracy is
at least 1 − ε − h. The first holds with 1 − 4δ/5 (`split`). For the second some audited items, drawn at random from the
audit without regard to their answers, go to a second person, blind. Every disagreement counts as a mistake of the
first, which is an upper count of them. The bound is Clopper and Pearson's (1934) at δ/5.

Not seen: two people who make the same mistake.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARE = 0.2  # of delta


@dataclass(frozen=True, slots=True)
class Error:
    """doubled: audited items two people labeled. differ: of these, where they disagree. at_most: bound on people's
    error as a share. delta: risk of the bound."""

    doubled: int
    differ: int
    at_most: float
    delta: float


def split(delta: float) -> tuple[float, float]:
    """(what the certificate may spend, what the bound on people's error spends): 4δ/5 and δ/5."""
    return (1 - SHARE) * delta, SHARE * delta


def at_most(doubled: int, differ: int, delta: float) -> Error:
    """Bound people's error at risk δ/5 of a whole `delta`.

    Args: doubled: audited items labeled twice, drawn at random from a uniform audit. differ: of these, where the two
        people disagree.
    Raises:
        ValueError: counts that cannot be, delta outside (0, 1).
    """
    if not 0 <= differ <= doubled or not 0 < delta < 1:
        raise ValueError(f"0 ≤ differ {differ} ≤ doubled {doubled} and 0 < delta {delta} < 1 do not hold")
    from scipy.stats import beta

    spent = split(delta)[1]
    bound = 1.0 if differ == doubled else float(beta.ppf(1 - spent, differ + 1, doubled - differ))
    return Error(doubled, differ, bound, spent)
