"""The one rule: ask while an answer costs less than the wrong labels it is expected to mend. Knows arrays and prices.

With a price μ on one wrong label left in the set, an item's best action is argmin_a c(a) + μ·r(a) (STATS §2), where
c(a) is what the action and whatever follows it is expected to cost, r(a) the predicted error that is left in the end.
"What follows" is an optimal stopping problem over the ladder (Bellman), solved backwards on a grid of errors: an answer
that settles half of the items spares the dear rung above it, which its mean effect alone would not show. With nothing
above, c(a) is the rung's own price and the rule is the static one. μ is the smallest one with which the errors left
fit into what the goal bears; where people's minutes or the money do not bear that, the largest one they do bear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.route.gain import SMALL, Step
from agent.types import Bools, Ints

Doubles = NDArray[np.float64]

STOP = -1
"""The action of an item nobody is asked about any more."""

GRID = 160
"""Points of the grid of errors, evenly apart in their logarithms."""

POINTS, CELLS = 4096, 1024
"""Up to POINTS items each is weighed by itself; more are counted in CELLS of like error."""

SCAN, HALVINGS = 48, 20
LOW, HIGH = 1e-4, 1e6
"""μ is looked for between these multiples of the dearest price: on SCAN points, then by halving between two."""


@dataclass(frozen=True, slots=True)
class Option:
    """Somebody who can be asked. `price`: of one answer, in dollars; `step`: what an answer does, None: the last word.

    `left`: the error that remains after the last word.
    """

    name: str
    price: float
    step: Step | None
    left: float = 0.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """Options from the cheapest on. State 0: no option was heard; state j + 1: option j is the highest heard.

    `follows`: (options + 1, options) which options may be asked from a state; each leads to its own state, and only to
    later ones. `bars`: (options + 1,) the confidence that settles an item in that state, NaN where the rule decides.
    A bar above 1 never settles.
    """

    options: tuple[Option, ...]
    follows: Bools
    bars: Doubles


@dataclass(frozen=True, slots=True)
class Items:
    """`error`: (n,) predicted chance that the label is wrong as it stands; `state`: (n,); `open_to`: (n, options)."""

    error: Doubles
    state: Ints
    open_to: Bools


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be left and what may be spent: wrong labels expected, answers of the last word, dollars to machines."""

    wrong: float
    people: float = np.inf
    usd: float = np.inf


@dataclass(frozen=True, slots=True)
class Solved:
    """`worth`: μ, what one wrong label is worth in dollars; `action`: (n,) an option's number or STOP; `saves`: (n,)
    what the action saves over stopping, dollars, infinite where stopping is barred; `wrong`, `people`, `usd`: wrong
    labels left, answers of people and dollars to machines that are expected; `reached`: the errors fit their limit."""

    worth: float
    action: Ints
    saves: Doubles
    wrong: float
    people: float
    usd: float
    reached: bool


@dataclass(frozen=True, slots=True)
class Values:
    """What each option leads to on the grid: (options, GRID) dollars to machines, answers of people, error left."""

    usd: Doubles
    people: Doubles
    wrong: Doubles


def grid() -> Doubles:
    """(GRID,) errors from SMALL to 1."""
    out: Doubles = np.geomspace(SMALL, 1.0, GRID)
    return out


def _spots(error: Doubles) -> tuple[Ints, Doubles]:
    """Where errors lie on the grid: the point below, and how far it is to the next one."""
    spots = np.log(np.clip(error, SMALL, 1.0) / SMALL) / np.log(1 / SMALL) * (GRID - 1)
    low = np.minimum(spots.astype(np.int64), GRID - 2)
    return low, spots - low


def ask_values(ladder: Ladder, worth: float) -> Values:
    """What asking each option is expected to cost and to leave, with the best continuation at price `worth`."""
    errors, count = grid(), len(ladder.options)
    usd, people, wrong = (np.zeros((count, GRID)) for _ in range(3))
    for number in range(count - 1, -1, -1):
        option = ladder.options[number]
        if option.step is None:
            people[number], wrong[number] = 1.0, option.left
            continue
        low, high = _spots(option.step.after(errors))
        after = _continue(ladder, number + 1, worth, Values(usd, people, wrong))
        for kept, here in zip((usd, people, wrong), after, strict=True):
            kept[number] = (here[low] * (1 - high) + here[low + 1] * high).mean(axis=1)
        usd[number] += option.price
    return Values(usd, people, wrong)


def ask_value(ladder: Ladder, number: int, error: float, worth: float) -> tuple[float, float, float]:
    """What asking one option about one item is expected to take and to leave, with the best continuation: dollars to
    machines, answers of people, error left."""
    of = ask_values(ladder, worth)
    low, high = _spots(np.array([error]))
    at = (low[0], low[0] + 1), (1 - high[0], high[0])
    usd, people, wrong = (
        float(kept[number, at[0][0]] * at[1][0] + kept[number, at[0][1]] * at[1][1])
        for kept in (of.usd, of.people, of.wrong)
    )
    return usd, people, wrong


def _continue(ladder: Ladder, state: int, worth: float, of: Values) -> tuple[Doubles, Doubles, Doubles]:
    """(GRID,) dollars, people's answers and error left of the best that can be done from a state."""
    errors = grid()
    rows = Items(errors, np.full(GRID, state), np.ones((GRID, len(ladder.options)), bool))
    action, _ = _best(ladder, rows, worth, of)
    at, stop = np.arange(GRID), action == STOP
    asked = np.maximum(action, 0)
    left = np.where(stop, errors, of.wrong[asked, at])
    return np.where(stop, 0.0, of.usd[asked, at]), np.where(stop, 0.0, of.people[asked, at]), left


def _best(ladder: Ladder, rows: Items, worth: float, of: Values) -> tuple[Ints, Doubles]:
    """The best action of each row, and what it saves over stopping. Of two that are as good the cheaper one: to stop
    before to ask, an earlier option before a later one."""
    lasts = np.array([option.price if option.step is None else 0.0 for option in ladder.options])
    price = lasts.max(initial=0.0)
    low, high = _spots(rows.error)
    whole = of.usd + price * of.people + worth * of.wrong
    able = ladder.follows[rows.state] & rows.open_to
    best, action = np.full(len(rows.error), np.inf), np.full(len(rows.error), STOP)
    for number in range(len(ladder.options)):
        value = np.where(able[:, number], whole[number, low] * (1 - high) + whole[number, low + 1] * high, np.inf)
        better = value < best - 1e-15
        best, action = np.where(better, value, best), np.where(better, number, action)
    bar = ladder.bars[rows.state]
    by_rule, settled = np.isnan(bar), 1 - rows.error >= bar
    stopping = np.where(by_rule | settled, worth * rows.error, np.inf)
    stays = settled | (stopping <= best * (1 + 1e-12)) | ~able.any(axis=1)
    saves = np.where(stays, 0.0, stopping - np.where(stays, 0.0, best))
    return np.where(stays, STOP, action).astype(np.int64), saves


def solve(ladder: Ladder, items: Items, limits: Limits) -> Solved:
    """The price of a wrong label and the actions that follow from it.

    Args:
        limits: `wrong` is what the goal bears (κ·ε·N less what is accepted already outside of `items`).
    Returns:
        The smallest μ whose expected errors fit `limits.wrong`; if the other limits do not bear it, or nobody is left
        to ask, the largest they do bear. At a given μ the errors left never grow with μ (the Lagrangian's exchange
        argument, Everett 1963).
    """
    points, weight, back = _points(ladder, items)

    def at(worth: float) -> Solved:
        of = ask_values(ladder, worth)
        action, saves = _best(ladder, points, worth, of)
        return _summed(points, weight, action, saves, of, worth, limits)

    found = _search(at, limits, max((option.price for option in ladder.options), default=0.0) or 1.0)
    return Solved(
        found.worth, found.action[back], found.saves[back], found.wrong, found.people, found.usd, found.reached
    )


def _search(at: Callable[[float], Solved], limits: Limits, unit: float) -> Solved:
    """The smallest μ that reaches the goal, else the largest that can be afforded. `unit`: dollars by which μ goes."""

    def affordable(found: Solved) -> bool:
        return found.people <= limits.people + 1e-9 and found.usd <= limits.usd + 1e-9

    def between(low: Solved, high: Solved, good: Callable[[Solved], bool]) -> tuple[Solved, Solved]:
        """The last that is not `good` and the first that is, of two that are not and are."""
        for _ in range(HALVINGS):
            middle = at(float(np.sqrt(max(low.worth, LOW * unit / 10) * high.worth)))
            low, high = (low, middle) if good(middle) else (middle, high)
        return low, high

    last = at(0.0)
    for worth in np.geomspace(LOW * unit, HIGH * unit, SCAN).tolist():
        if last.reached:
            return last
        here = at(worth)
        if here.reached:
            here = between(last, here, lambda found: found.reached)[1]
        if not affordable(here):
            return between(last, here, lambda found: not affordable(found))[0]
        last = here
    return last


def _points(ladder: Ladder, items: Items) -> tuple[Items, Doubles, Ints]:
    """Items that are alike in one row, those of many in cells of like error: rows, how many items each stands for, each
    item's row."""
    n, count = len(items.error), len(ladder.options)
    told = items.state * (1 << count) + items.open_to @ (1 << np.arange(count, dtype=np.int64))
    error = items.error
    if n > POINTS:
        error = np.floor(np.log(np.clip(error, SMALL, 1.0) / SMALL) / np.log(1 / SMALL) * CELLS)
    order = np.lexsort((error, told))
    new = np.ones(n, bool)
    new[1:] = (np.diff(told[order]) != 0) | (np.diff(error[order]) != 0)
    back = np.empty(n, np.int64)
    back[order] = np.cumsum(new) - 1
    first = order[new]
    weight = np.bincount(back, minlength=len(first)).astype(np.float64)
    mean = np.bincount(back, items.error, minlength=len(first)) / np.maximum(weight, 1)
    return Items(mean, items.state[first], items.open_to[first]), weight, back


def _summed(
    rows: Items, weight: Doubles, action: Ints, saves: Doubles, of: Values, worth: float, limits: Limits
) -> Solved:
    """What the actions are expected to come to."""
    stop, asked = action == STOP, np.maximum(action, 0)
    low, high = _spots(rows.error)

    def total(kept: Doubles, stopped: Doubles | float) -> float:
        if not len(kept):
            return float((np.zeros(len(stop)) + stopped) @ weight)
        return float(np.where(stop, stopped, kept[asked, low] * (1 - high) + kept[asked, low + 1] * high) @ weight)

    wrong = total(of.wrong, rows.error)
    reached = wrong <= limits.wrong + 1e-9
    return Solved(worth, action, saves, wrong, total(of.people, 0.0), total(of.usd, 0.0), reached)


def fill(ladder: Ladder, items: Items, solved: Solved, people: int) -> Ints:
    """The actions with what is left of people's answers given to the worst of those nobody would be asked about.

    Only where the goal is not reached: between two prices of a wrong label lie items that are as good as one another,
    and minutes for some of them.
    """
    last = next((number for number, option in enumerate(ladder.options) if option.step is None), None)
    spare = int(people - np.ceil(solved.people - 1e-9))
    if solved.reached or last is None or spare <= 0:
        return solved.action
    settled = 1 - items.error >= np.nan_to_num(ladder.bars[items.state], nan=np.inf)
    able = (solved.action == STOP) & items.open_to[:, last] & ladder.follows[items.state, last] & ~settled
    rows = np.flatnonzero(able & (items.error > ladder.options[last].left))
    action = solved.action.copy()
    action[rows[np.argsort(-items.error[rows], kind="stable")[:spare]]] = last
    return action


def sure_enough(error: Doubles, people: int, share: float) -> Bools:
    """Which labels may be called sure: the surest, as long as they and people's own words together hold at most
    `share` of expected errors. (n,) errors of the items that nobody is asked about any more."""
    order = np.argsort(error, kind="stable")
    running = np.cumsum(error[order]) / (people + np.arange(1, len(error) + 1))
    fits = np.flatnonzero(running <= share + 1e-12)
    out = np.zeros(len(error), bool)
    out[order[: fits[-1] + 1 if len(fits) else 0]] = True
    return out
