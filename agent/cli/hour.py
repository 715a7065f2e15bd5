"""What a plan asks of people, and what that will prove: minutes, audits, labels for them alone, and whether they agree.

Knows the configuration, the recorded votes and the ledger; asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent.cli.house import many, span

if TYPE_CHECKING:
    from agent.cli.pilot import Piloted
    from agent.config import Config


def asked(config: Config, total: int, risk: Sequence[float]) -> dict[str, Any]:
    """For --json. risk: chances of error of the pilot's items, where they are known."""
    from agent.cli import audits, raters
    from agent.cli.target import target, words
    from agent.loop.people import split

    person = config.person
    seconds = float(person.settings.seconds) if person else 0.0
    share = split(config.goal.person_minutes, seconds, config.goal.pilot, config.goal.audit, total)
    repairs = min(share.escalations, total - share.pilot - share.audit)
    questions = share.pilot + share.audit + repairs
    found = target(config, share, total)
    agree = raters.consent(config) if person else None
    twice = min(config.goal.audit_twice, share.audit)
    second = twice + round(config.review.overlap * (questions - twice)) if person else 0
    return {
        "questions": questions,
        "pilot": share.pilot,
        "audit": share.audit,
        "escalations": repairs,
        "minutes": round(questions * seconds / 60, 1),
        "second": second,
        "second_minutes": round(second * seconds / 60, 1),
        "seconds_each": seconds,
        "certifies_from": found.needed,
        "certifies_with_wrong": found.wrong,
        "goal": words(found, config.goal.accuracy),
        "needs": asdict(audits.before(config, share, total)) if person else None,
        "certifies": [asdict(one) for one in audits.bought(config, share, total, risk)],
        "agree": asdict(agree) if agree else None,
        "agreement": raters.words(agree, config.goal.accuracy) or (raters.waits(config) if person else ""),
    }


def lines(config: Config, body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(heading, line) of what a person wants to know first."""
    from agent.cli import audits

    told = body["people"]
    if config.person is None:
        return [("people", 'none, so nothing can be measured or certified: add a rung with oracle = "person"')]
    first = f"at most {many(told['questions'], 'question')} in {told['minutes']:g} minutes: "
    first += f"{told['pilot']:,} pilot (teach and calibrate), {told['audit']:,} audit (measure), "
    first += f"{many(told['escalations'], 'escalation')} (repair)"
    out = [("people", first)]
    if told["second"]:
        twice = (
            f"about {many(told['second'], 'question')} of these to a second person, {told['second_minutes']:g} minutes"
        )
        out.append(("", f"{twice} more: how far people differ"))
    out.append(("goal", told["goal"]))
    before = audits.before_lines(told["needs"], config.goal.accuracy, body["items"])
    out += [("", line) for line in [*before, *(audits.assumed(config) if told["needs"]["least"] else [])]]
    return out + ([("agreement", told["agreement"])] if told["agreement"] else [])


def reached(config: Config, body: Mapping[str, Any], tried: Piloted) -> list[str]:
    """What reaching the goal will take, by the pilot."""
    from agent.cli import audits

    goal, people = f"{100 * config.goal.accuracy:g} %", body["people"]
    if config.person is None:
        return []
    if tried.covers is None:
        return [f"  how far it is to {goal} is not known: people have answered none of the pilot yet"]
    right, of = tried.right
    left = round((1 - tried.covers) * body["items"])
    out = [f"  all machines together are right in {right:,} of {of:,}; the surest {tried.covers:.0%} reach {goal}"]
    if left:
        time = span(left * people["seconds_each"])
        rest = f"the rest, about {left:,} items, is for people ({time}) or a better machine; a student spares some"
        out.append(f"  {rest}")
    return out + audits.bought_lines(people["certifies"], config.goal.accuracy, body["items"], people["seconds_each"])


def stands(found: Mapping[str, Any]) -> str:
    """The Alt-Test in words."""
    may = "may stand in for one of these people" if found["passed"] else "may not stand in for one of these people"
    return (
        f"{may}: it beats {found['wins']:.0%} of {found['people']:,} by the Alt-Test (ε = 0.2), and speaks for the "
        f"others at least as well in {found['advantage']:.0%} of cases ({found['items']:,} items)"
    )
