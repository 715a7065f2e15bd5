"""Certificates of classes that the user named: a class is labels as frozen. Knows labels and counts; reads no ledger.

Each class is a part of what was audited, so its draws are a sample of it. All class certificates hold together at the
look's risk, by Holm (`agent.certify.classes`); with the certificate of all labels they do not share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.certify import classes, strata
from agent.types import Bools, Ints, Value


@dataclass(frozen=True)
class Part:
    """The labels of one class and their audit so far, in the order of the draw. people: labels that people gave;
    machine: the others; wrong: (s,) not what the person said; missing: (s,) nobody could tell. plan: of the any-time
    test, units: (s,) its unit of each draw; None: the exact one."""

    name: str
    people: int
    machine: int
    wrong: Bools
    missing: Bools
    plan: strata.Plan | None = None
    units: Ints | None = None


def within(value: Value | None, name: str) -> bool:
    """Whether a label is of the class, or holds it among several."""
    return value == name or (isinstance(value, tuple) and name in value)


def differs(given: Value, said: Value, name: str, loss: float) -> bool:
    """Whether a label of this class is wrong; of several labels at once only this one counts."""
    return not within(said, name) if isinstance(given, tuple) else loss > 0


def bears(part: Part, target: float) -> int:
    """Wrong labels that may be left in the class."""
    return int((1 - target) * (part.people + part.machine) + 1e-9)


def uniform(machine: int, allowed: int, delta: float) -> strata.Plan:
    """The any-time test of a class in an audit that draws all alike. `delta`: for this class alone."""
    return strata.plan(np.full(max(machine, 1), 0.5), allowed, delta)


def judge(parts: Sequence[Part], target: float, delta: float) -> list[dict[str, Any]]:
    """A row a class: whether the target is certified for it, all certified ones together at `delta`."""
    if not parts:
        return []
    allowed = np.array([bears(part, target) for part in parts], np.int64)
    missing = np.array([int(part.missing.sum()) for part in parts], np.int64)
    wrong = np.array([int((part.wrong | part.missing).sum()) for part in parts], np.int64)
    if all(part.plan is None for part in parts):
        machine = np.array([part.machine for part in parts], np.int64)
        drawn = np.array([len(part.wrong) for part in parts], np.int64)
        found = classes.counted(machine, drawn, wrong, missing, allowed, delta)
    else:
        found = classes.watched([_heard(part, delta / len(parts)) for part in parts], missing, delta)
    out = []
    for part, verdict, most, lost, bad in zip(
        parts, found, allowed.tolist(), missing.tolist(), wrong.tolist(), strict=True
    ):
        labels, left = part.people + part.machine, verdict.wrong_at_most
        unseen = part.machine - len(part.wrong) + lost  # were all of them wrong: no chance in that
        left, sure = min(left, unseen), verdict.certified or unseen <= most
        out.append(
            {
                "class": part.name,
                "labels": labels,
                "audited": len(part.wrong),
                "wrong": bad,
                "missing": lost,
                "wrong_at_most": left,
                "accuracy_at_least": 1 - left / labels if labels else 0.0,
                "certified": bool(sure and left <= most and labels),
            }
        )
    return out


def _heard(part: Part, delta: float) -> strata.Test:
    assert part.plan is not None and part.units is not None
    test = strata.Test(dataclasses.replace(part.plan, delta=delta))
    for unit, bad in zip(part.units.tolist(), (part.wrong | part.missing).tolist(), strict=True):
        test.hear(int(unit), float(bad))
    return test
