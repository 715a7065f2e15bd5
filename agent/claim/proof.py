"""An audit held against a commitment: what of the frozen order is proved. Knows places and counts; reads no ledger.

Three promises, of which the commitment made one. "all": the machines' labels all together. "prefix": the largest prefix
of the order, what lies behind it left open (`agent.certify.gate`). "walk": the largest prefix if people label all that
lies behind it (`agent.certify.walk`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent import certify
from agent import config as settings
from agent.certify import gate, strata, walk
from agent.certify.anytime import Anytime
from agent.claim.evidence import Evidence
from agent.claim.promise import Frozen, read
from agent.config import Config
from agent.types import Bools, Ints


@dataclass(frozen=True)
class Audit:
    """What the audit of machine labels says. rows: (s,) positions in the order of the draw; wrong: (s,) not what the
    person said; missing: (s,) nobody could tell, or answered."""

    rows: Ints
    wrong: Bools
    missing: Bools


def audit_of(config: Config, evidence: Evidence, frozen: Frozen, test: str) -> Audit:
    """The audited machine labels. What is looked at at any time ends before the first that is not answered."""
    kind, task = settings.kind(config), settings.the_task(config)
    rows = [i for i in evidence.audit if frozen.rank[i] >= 0]
    if test == "anytime" and (gap := next((k for k, i in enumerate(rows) if i in evidence.silent), None)) is not None:
        rows = rows[:gap]
    said = [evidence.audit[i] for i in rows]
    given = [evidence.labels[i] for i in rows]
    wrong = [s is not None and g is not None and kind.loss(task, g, s) > 0 for s, g in zip(said, given, strict=True)]
    return Audit(np.array(rows, np.int64), np.array(wrong, bool), np.array([s is None for s in said], bool))


def left_wrong(body: Mapping[str, Any], frozen: Frozen, audit: Audit) -> int:
    """How many of all machine labels are wrong at most, once what the audit found is mended; at the look's risk."""
    units, delta = len(frozen.order), float(body["risk_of_this_look"])
    mended, missing = int(audit.wrong.sum()), int(audit.missing.sum())
    if body["test"] == "exact":
        return certify.wrong_at_most(units, len(audit.rows), mended + missing, delta) - mended
    if not units:
        return 0
    allowed = int((1 - body["aim"]) * body["items"] + 1e-9)
    bets = strata.Test(strata.plan(np.full(units, 0.5), allowed, delta))
    for place, bad in zip(frozen.rank[audit.rows].tolist(), (audit.wrong | audit.missing).tolist(), strict=True):
        bets.hear(place, float(bad))
    return bets.wrong_at_most + missing


def accept(body: Mapping[str, Any], frozen: Frozen, audit: Audit, evidence: Evidence) -> dict[str, Any]:
    """The part of the frozen order that the audit proves, and what is delivered with it."""
    prove = {"all": _all, "prefix": _prefix, "walk": _walk}[body["claim"]]
    size, most, drawn, wrong = prove(body, frozen, audit)
    answered = np.zeros(len(frozen.order), bool)
    # In a walk nobody's answer is an error found, and the item waits for a person; else it counts as a wrong label.
    silent = np.zeros(len(frozen.order), bool)
    for i, said in evidence.audit.items():
        if (place := int(frozen.rank[i])) >= 0:
            answered[place] = said is not None
            silent[place] = said is None and body["claim"] == "walk"
    own = frozen.people + int(answered.sum())
    labels = frozen.people + size - int(silent[:size].sum()) + int(answered[size:].sum())
    allowed = (1 - body["target"]) * body["items"] + 1e-9
    return {
        "claim": body["claim"],
        "prefix": size,
        "labels": labels,
        "people": own,
        "left_open": int(body["items"]) - labels,
        "audited": drawn,
        "wrong": wrong,
        "wrong_at_most": most,
        "accuracy_at_least": 1 - most / labels if labels else 0.0,
        "all": bool(size == len(frozen.order) and most + frozen.lost + int(silent.sum()) <= allowed),
    }


def _all(body: Mapping[str, Any], frozen: Frozen, audit: Audit) -> tuple[int, int, int, int]:
    """(length of the prefix, wrong labels in it at most, audited in it, wrong of these)."""
    wrong = int((audit.wrong | audit.missing).sum())
    left = left_wrong(body, frozen, audit)
    if left > read(body).allowed[-1]:
        return 0, 0, 0, 0
    return len(frozen.order), left, len(audit.rows), wrong


def _prefix(body: Mapping[str, Any], frozen: Frozen, audit: Audit) -> tuple[int, int, int, int]:
    plan, delta = read(body), float(body["risk_of_this_look"])
    ranks = frozen.rank[audit.rows]
    inside = ranks < plan.cuts[-1]
    ranks, wrong, missing = ranks[inside], audit.wrong[inside], audit.missing[inside]
    seen = gate.found(plan, ranks, wrong, missing)
    once = body["test"] == "exact"
    if once:
        last = gate.exact(plan, seen, delta)
    else:
        bets = Anytime(plan, delta)
        for rank, loss in zip(ranks.tolist(), (wrong | missing).tolist(), strict=True):
            bets.hear(rank, float(loss))
        last = bets.accepted
    if last < 0:
        return 0, 0, 0, 0
    settled = gate.settle(plan, last, seen, frozen.risk, gate.bound(plan, last, seen, delta if once else None))
    return settled.accepted, settled.wrong_at_most, int(seen.drawn[last]), int(seen.wrong[last])


def _walk(body: Mapping[str, Any], frozen: Frozen, audit: Audit) -> tuple[int, int, int, int]:
    units, allowed = len(frozen.order), int(body["plan"]["allowed"][-1])
    most = walk.may_find(units, int(body["drawn"]), allowed, float(body["risk_of_this_look"])) if allowed >= 0 else -1
    by = np.argsort(frozen.rank[audit.rows], kind="stable")
    ranks, bad = frozen.rank[audit.rows][by], (audit.wrong | audit.missing)[by]
    size = int(walk.end_of(units, most, ranks, bad))
    inside = ranks < size
    return size, allowed if size else 0, int(inside.sum()), int((bad & inside).sum())
