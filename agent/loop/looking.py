"""Looks at the audit while a run goes on: when to take one, and what to do where it does not certify. Tests nothing."""

from __future__ import annotations

from typing import Any

from agent import claim
from agent.belief import believe
from agent.loop import decisions, measure, people, worth
from agent.loop.decisions import Last
from agent.loop.ground import Ground
from agent.loop.turn import Turned
from agent.types import Certificate

TIGHTEST = 1 / 16
"""The share of its wrong labels below which a plan is not halved: each look takes of what is left of δ."""


def go_on(ground: Ground, last: Last, number: int, turned: Turned) -> bool:
    """Whether the run goes on though enough was asked by its plan."""
    return _rest(ground, last, number, turned) or _plan_tighter(ground, last, number, turned)


def _rest(ground: Ground, last: Last, number: int, turned: Turned) -> bool:
    """Put what lies behind the walk to people, as far as their minutes go, where goal.left says that they label it.

    No audit item is opened for it: those that lie there have people's word already.
    """
    left = people.share(ground).total - people.purposes(ground).total()
    if ground.config.goal.left != "people" or turned.waiting or left < 1 or why_not(ground):
        return False
    settle(ground, last, number, closing=False)
    if (made := look(ground)) is None or made.met:
        return False
    been = people.asked(ground)
    rows = [i for i in claim.rest_of(ground.config, ground.store, ground.pool).tolist() if not been[i]]
    if not rows:
        return False
    claim.promise_rest(ground.config, ground.store, ground.pool)
    return people.put(ground, rows, left, number + 1) > 0


def certified(ground: Ground, last: Last, number: int, turned: Turned) -> bool:
    """Take a look before all is asked, when the labels are expected to be good enough by a clear margin.

    A look spends part of delta, so the next one waits until a fifth of the expected error is gone.
    """
    error, goal = turned.numbers.get("expected_error", 1.0), ground.config.goal.accuracy
    if ground.person is None or turned.waiting or error > 0.5 * (1 - goal):
        return False
    if error > 0.8 * ground.looked_at:
        return False
    ground.looked_at = error
    settle(ground, last, number, closing=False)
    made = look(ground)
    return made is not None and made.met


def _plan_tighter(ground: Ground, last: Last, number: int, turned: Turned) -> bool:
    """Enough was asked by the plan, the audit does not certify it, and people have minutes left: plan for half as many
    wrong labels. This looks at the audit, and the look is paid for; whom to ask then follows from predictions alone."""
    outlook = ground.outlook
    if turned.waiting or outlook is None or not outlook.solved.reached or outlook.limits.people < 1:
        return False
    while worth.bearable(ground) >= outlook.solved.wrong / 2:
        ground.bears /= 2
        if ground.bears < TIGHTEST:
            return False
    settle(ground, last, number, closing=False)
    return (made := look(ground)) is not None and not made.met


def look(ground: Ground) -> Certificate | None:
    """Make the certificate, where there is an audit."""
    if why_not(ground):
        return None
    return claim.make(ground.config, ground.store, ground.pool)


def why_not(ground: Ground) -> str:
    """Why these labels cannot be certified; empty where they can."""
    if ground.person is None:
        return "no rung of the ladder is a person"
    if ground.n < len(ground.pool):
        return "only a part of the pool was labeled (--limit), and a claim is about all of it"
    return "; ".join(claim.check_draw(ground.config, ground.store, ground.pool))


def settle(ground: Ground, last: Last, number: int, closing: bool, certified: bool = False) -> dict[str, Any]:
    """Write every decision as it finally stands; the numbers that go with it.

    `closing`: nobody will be asked any more, so nothing waits.
    """
    board = ground.board
    board.refresh(ground.store, ground.recipes)
    belief = believe(board, ground.student_says, measure.soft(ground), ground.person is not None, ground.likest)
    routes = decisions.decide(ground, belief)
    covered = None
    if closing:
        routes, covered = decisions.close(ground, routes, certified)
    decisions.write_decisions(ground, belief, routes, last, number, final=True, covered=covered)
    return measure.numbers(ground, belief, routes)
