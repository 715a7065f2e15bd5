"""What a promise will take of people: audits, minutes, and labels for them alone. Told before; knows no ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.cli.house import many, span

if TYPE_CHECKING:
    from agent.config import Config
    from agent.loop.people import Share
    from agent.types import Doubles

BETTER = (0.8, 0.6, 0.4, 0.2)
"""Of the way from the goal to no error at all: the accuracies that a plan reckons with, from the best down."""
TIMES = (1, 2, 4, 8)
"""The planned audit and multiples of it, that a plan with measured figures reckons with."""
SMALL = 5
"""So few wrong labels allowed that hardly one may be found."""


@dataclass(frozen=True)
class Need:
    """right: how right the machines' labels are, if so; audits: that prove the goal then, None: none do; minutes."""

    right: float
    audits: int | None
    minutes: float


@dataclass(frozen=True)
class Before:
    """What is known before any answer. allowed: wrong labels that may be delivered; least: audits, all of them right,
    that prove it (None: not even all); needs: the audits by how right the machines are."""

    allowed: int
    least: int | None
    needs: tuple[Need, ...]


def before(config: Config, share: Share, total: int) -> Before:
    """The audits that certify all labels, four times in five, by how right the machines' labels turn out to be."""
    from agent.certify.needed import audits_needed
    from agent.cli.target import terms

    goal, one, seconds = config.goal, terms(config, share, total), _seconds(config)
    needs = []
    for part in BETTER:
        right = goal.accuracy + part * (1 - goal.accuracy)
        wrong = min(math.ceil((1 - right) * one.machine - 1e-9), one.machine)
        audits = audits_needed(one.machine, one.allowed, wrong, one.risk)
        needs.append(Need(right, audits, round((audits or 0) * seconds / 60, 1)))
    return Before(one.allowed, audits_needed(one.machine, one.allowed, 0, one.risk), tuple(needs))


def assumed(config: Config) -> list[str]:
    """What the numbers of audits are of, where the goal's own promise is another."""
    goal = config.goal
    if goal.left == "people":
        rest = 'goal.left = "people" fewer do, and what the audit does not certify is for people to label'
        return [f"these numbers are for all labels as machines leave them: with {rest}"]
    if goal.test == "anytime":
        return ['these numbers are for goal.test = "exact": "anytime" takes about as many, more where luck is bad']
    return []


def before_lines(found: Mapping[str, Any], accuracy: float, total: int) -> list[str]:
    """The same for people, from --json's form of it: at most two lines."""
    goal, told = f"{100 * accuracy:g} %", []
    few = f"only {found['allowed']:,}" if found["allowed"] < SMALL else f"{found['allowed']:,}"
    wrong = f"{few if found['allowed'] else 'none'} of {many(total, 'label')} may be wrong"
    if found["least"] is None:
        return [f"{wrong}: nothing short of people's answers to all of them proves {goal}"]
    if found["least"]:
        told.append(f"{wrong}: at least {many(found['least'], 'audit')}, all of them right, prove {goal}")
    # In a small pool several accuracies need the same audit: the lowest of them is told.
    lowest = {need["audits"]: need for need in found["needs"] if need["audits"]}
    each = [
        f"{audits:,} ({span(60 * need['minutes'])}) if {100 * need['right']:.4g} %" for audits, need in lowest.items()
    ]
    if each:
        told.append("audits that prove it of all labels: " + ", ".join([f"{each[0]} of them are right", *each[1:]]))
    return told


@dataclass(frozen=True)
class Bought:
    """What an audit of this size is likely to prove, if all items are like the pilot. labels: certified, people's own
    among them; answers: of people in all, until every label is certified."""

    audits: int
    minutes: float
    labels: int
    answers: int


def bought(config: Config, share: Share, total: int, pilot: Sequence[float]) -> tuple[Bought, ...]:
    """Forecast of the certificate for audits of growing size, by the pilot's chances of error (m,)."""
    units = total - share.pilot
    if not share.audit or units <= 0 or not len(pilot):
        return ()
    level = np.sort(np.asarray(pilot, np.float64))
    risk = np.interp((np.arange(units) + 0.5) / units, (np.arange(len(level)) + 0.5) / len(level), level)
    sizes = sorted({min(share.audit * times, units) for times in TIMES})
    seconds = _seconds(config)
    out = []
    for audits in sizes:
        labels = _certified(config, total, share.pilot, risk, audits)
        answers = share.pilot + audits + total - labels
        out.append(Bought(audits, round(audits * seconds / 60, 1), labels, answers))
        if labels >= total:
            break
    return tuple(out)


def _certified(config: Config, total: int, people: int, risk: Doubles, audits: int) -> int:
    """Labels that one look certifies when the audit finds as many errors as the risks foretell; people's among them."""
    from agent import certify
    from agent.certify import gate, walk
    from agent.cli.target import first_risk

    goal, units, delta = config.goal, len(risk), first_risk(config)
    allowed = math.floor((1 - goal.accuracy) * total + 1e-9)
    # Drawn evenly over the order, and as many wrong up to each place as the risks foretell.
    ranks = ((np.arange(audits) + 0.5) * units / audits).astype(np.int64)
    wrong = np.diff(np.rint(np.cumsum(risk[ranks])), prepend=0.0) > 0
    found = int(wrong.sum())
    if goal.left == "people":
        size = int(walk.end_of(units, walk.may_find(units, audits, allowed, delta), ranks, wrong))
    elif certify.wrong_at_most(units, audits, found, delta) - found <= allowed:
        size = units
    else:
        plan = certify.plan(
            risk, total, 1 - goal.accuracy, delta, people=people, mode=goal.test, left="open", share=audits / units
        )
        inside = ranks < plan.cuts[-1]
        last = gate.exact(plan, gate.found(plan, ranks[inside], wrong[inside]), delta)
        size = int(plan.cuts[last]) if last >= 0 else 0
    return people + size + int((ranks >= size).sum())


def bought_lines(found: Sequence[Mapping[str, Any]], accuracy: float, total: int, seconds: float) -> list[str]:
    """The same for people, from --json's form of it."""
    if not found:
        return []
    lines = ["  people's audit, if all items are like the pilot's:"]
    for one in found:
        if one["labels"] >= total:
            told = f"all labels are certified at {100 * accuracy:g} %"
        elif one["answers"] >= total:
            told = f"no machine's label is certified at {100 * accuracy:g} %"
        else:
            told = f"about {_about(one['labels']):,} of {total:,} labels are certified at {100 * accuracy:g} %; all of "
            told += f"them with {_about(one['answers']):,} answers of people ({span(one['answers'] * seconds)})"
        audits = f"{many(one['audits'], 'audit')} ({span(60 * one['minutes'])})"
        lines.append(f"    {audits:<22} {told}")
    return lines


def _about(count: int) -> int:
    """Two digits that count: what is foretold is no more exact."""
    return count if count < 100 else round(count, 2 - len(str(count)))


def _seconds(config: Config) -> float:
    return float(config.person.settings.seconds) if config.person else 0.0
