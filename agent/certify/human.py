"""What people's own mistakes do to a certificate, from audited items that two people labeled. Knows counts only.

    split(delta)                       what the certificate may spend, and what is kept for people's error
    at_most(doubled, wrong, delta)     people's error, upper bound
    settled(first, second, third)      2 of 3 where the first two differ
    sentence(error, accuracy)          what may then be said

A certificate speaks of agreement with the person who audited. Write y for the truth, y' for what that person says or
would say of an item, yh for the label delivered. Then 1{yh ≠ y} ≤ 1{yh ≠ y'} + 1{y' ≠ y}, also where a person's word
replaced the label (yh = y'). So if at most ε·N labels differ from y' and y' is wrong on at most h·N items, accuracy is
at least 1 − ε − h. The first holds with 1 − 4δ/5 (`split`). For the second some audited items, drawn at random from the
audit without regard to their answers, go to a second person, blind; where the two differ a third decides, and the
first was wrong if the other two agree against them. The bound is Clopper and Pearson's (1934) at δ/5.

Not seen: two people who make the same mistake. Against such mistakes the claim is "what two of three people say".
Without a third person, `wrong` is every disagreement, which is an upper count of the first person's mistakes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent.types import Ints

SHARE = 0.2  # of delta


@dataclass(frozen=True, slots=True)
class Error:
    """doubled: audited items two people labeled. wrong: of these, where the first was wrong. at_most: bound on people's
    error as a share. delta: risk of the bound. settled: whether a third person decided where two differed."""

    doubled: int
    wrong: int
    at_most: float
    delta: float
    settled: bool


def split(delta: float) -> tuple[float, float]:
    """(what the certificate may spend, what the bound on people's error spends): 4δ/5 and δ/5."""
    return (1 - SHARE) * delta, SHARE * delta


def at_most(doubled: int, wrong: int, delta: float, *, settled: bool = True) -> Error:
    """Bound people's error at risk δ/5 of a whole `delta`.

    Args: doubled: audited items labeled twice, drawn at random from a uniform audit. wrong: of these, where the first
        person was wrong (`settled`), or where the two differed.
    Raises:
        ValueError: counts that cannot be, delta outside (0, 1).
    """
    if not 0 <= wrong <= doubled or not 0 < delta < 1:
        raise ValueError(f"0 ≤ wrong {wrong} ≤ doubled {doubled} and 0 < delta {delta} < 1 do not hold")
    from scipy.stats import beta

    spent = split(delta)[1]
    bound = 1.0 if wrong == doubled else float(beta.ppf(1 - spent, wrong + 1, doubled - wrong))
    return Error(doubled, wrong, bound, spent, settled)


def doubles_needed(error: float, most: float, delta: float) -> int | None:
    """How many doubly labeled audits bound an error of `error` by `most`; None: more than 100,000, or never.

    The count of mistakes is taken to be error · doubled, rounded up.
    """
    if error >= most:
        return None
    low, high = 1, 100_000
    if at_most(high, math.ceil(error * high), delta).at_most > most:
        return None
    while low < high:
        middle = (low + high) // 2
        if at_most(middle, math.ceil(error * middle), delta).at_most <= most:
            high = middle
        else:
            low = middle + 1
    return low


def settled(first: Ints, second: Ints, third: Ints) -> Ints:
    """(n,) what two of three say: labels as numbers, −1 where nobody was asked or all three differ.

    Args: (n,) each; third is read only where the first two differ.
    """
    two = np.where(third == first, first, np.where(third == second, second, -1))
    return np.where(first == second, first, two)


def accuracy(claimed: float, error: Error) -> float:
    """What is claimed of the labels against the truth, given `claimed` against the auditor: claimed − h, at least 0."""
    return max(0.0, claimed - error.at_most)


def sentence(claimed: float, error: Error) -> str:
    """What may be said, in one or two plain sentences; shares are never rounded in our favour."""
    floor = math.floor(1000 * accuracy(claimed, error) + 1e-9) / 10
    high = math.ceil(1000 * error.at_most - 1e-9) / 10
    truth = "what two of three people say" if error.settled else "what people agree on"
    return (
        f"People make mistakes too: two labeled {error.doubled:,} audited items, and the first was "
        f"{'wrong' if error.settled else 'contradicted'} on {error.wrong:,} (at most {high:.1f} % of all). "
        f"Against {truth}, at least {floor:.1f} % of the labels are right. "
        "A mistake that two people share is not seen by this."
    )
