"""What people's audit of a plan can prove, and what would give it room. Knows no pool and asks nobody."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.cli.house import many

if TYPE_CHECKING:
    from agent.config import Config
    from agent.loop.people import Share

STEP, LONGEST = 5, 3_000
"""Minutes by which more of people's time is tried, and how many at the most."""
GROWS = 1.2
"""By which larger audits are tried."""


@dataclass(frozen=True)
class Target:
    """audit: its answers; wrong: how many of them may be wrong, -1 where none will do; needed: how right the machines'
    labels must be to reach the goal four times in five; room: minutes more, answers of `goal.audit`, 0 for none."""

    audit: int
    wrong: int
    needed: float | None
    room: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Terms:
    """What the first look at an audit is about. machine: labels of machines, once people have taught and repaired;
    allowed: wrong ones among all labels; risk: what this look may spend of goal.delta."""

    machine: int
    allowed: int
    risk: float


def first_risk(config: Config) -> float:
    """What the first look may spend: less, where the bound on people's own mistakes has a share of it."""
    from agent.certify import human, risk_of_look

    whole = risk_of_look(config.goal.delta, 1)
    return human.split(whole)[0] if config.goal.audit_twice or config.review.overlap else whole


def terms(config: Config, share: Share, total: int) -> Terms:
    """Of the exact test of all labels: the same for whatever a plan says of audits."""
    repairs = min(share.escalations, max(total - share.pilot - share.audit, 0))
    machine = max(total - share.pilot - repairs, 0)
    return Terms(machine, math.floor((1 - config.goal.accuracy) * total + 1e-9), first_risk(config))


def target(config: Config, share: Share, total: int) -> Target:
    """What an audit of this share can prove of the machines' labels, by one look."""
    from agent.certify import accuracy_needed, wrong_allowed

    goal, audit, one = config.goal, share.audit, terms(config, share, total)
    machine, risk = one.machine, one.risk
    if not 0 < audit <= machine:
        return Target(audit, -1, None)
    # People's own labels are right, so those of machines may hold all that is allowed to be wrong.
    least = 1 - one.allowed / machine
    enough, tried = (1 + goal.accuracy) / 2, audit
    needed = accuracy_needed(machine, audit, least, risk)
    found = needed
    while (found is None or found > enough) and tried < machine:
        tried = min(max(int(tried * GROWS), tried + 1), machine)
        found = accuracy_needed(machine, tried, least, risk)
    wrong = wrong_allowed(machine, audit, least, risk)
    reached = found is not None and found <= enough and tried > audit
    return Target(audit, wrong, needed, _room(config, tried, total) if reached else (0, 0))


def _room(config: Config, audit: int, total: int) -> tuple[int, int]:
    """(minutes more, answers to write into goal.audit or 0) for an audit of this size."""
    from agent.loop.people import split

    goal, seconds = config.goal, float(config.person.settings.seconds) if config.person else 0.0
    for more in range(STEP, LONGEST, STEP):
        if goal.audit is None and split(goal.person_minutes + more, seconds, goal.pilot, None, total).audit >= audit:
            return more, 0
    extra = max(audit - (goal.audit or 0), 0) * seconds / 60
    return max(round(extra), 1), audit


def words(found: Target, accuracy: float) -> str:
    """The same for people."""
    goal, answers = f"{100 * accuracy:g} %", many(found.audit, "audit answer")
    more, audit = found.room
    room = ""
    if more:
        room = f"give {many(more, 'minute')} more" + (f" and write goal.audit = {audit}" if audit else "")
    if not found.audit:
        return f"no audit, so nothing proves {goal}: give more person_minutes"
    if found.wrong < 0:
        return f"{answers} cannot prove {goal}, even if all are right: {room or 'the pool is too small for it'}"
    if found.wrong >= found.audit:
        return "people are asked about every item, or all but a few: no machine has to prove itself"
    if found.wrong == 0:
        told = f"{answers} can prove {goal} only if all of them are right"
    else:
        told = (
            f"{answers} can prove {goal} if at most {found.wrong:,} of them {'is' if found.wrong == 1 else 'are'} wrong"
        )
    return told + (f"; for room {room}" if room else "")
