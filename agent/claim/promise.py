"""What a look at a run's audit promises before it uses an answer: labels, order, risk and plan. Sees no audit answer.

The order is of a machine's labels, surest first, by what the ladder predicted, ties by a seeded hash. The plan rests on
those predictions and on how many items are audited, which is no secret: they were drawn before anything was known.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent import certify
from agent.certify import gate, human
from agent.certify.plan import order_of, plan
from agent.claim.evidence import Evidence, seal
from agent.config import Config
from agent.pool import Pool
from agent.store import Store
from agent.types import Doubles, Ints

SURE = 0.9
"""How likely all labels must pass by what is predicted for no smaller part of them to be tested first."""


@dataclass(frozen=True)
class Frozen:
    """A run's labels, put in order. order: (U,) positions of the machine labels, surest first; risk: (U,) predicted
    chance of error of each. rank: (n,) place of a position in the order, -1 where it has none. people: labels that are
    people's own; lost: items without a label, or that people were asked to repair and did not."""

    order: Ints
    risk: Doubles
    rank: Ints
    people: int
    lost: int
    labels_sha256: str
    order_sha256: str


def freeze(config: Config, pool: Pool, evidence: Evidence) -> Frozen:
    """The order in which machine labels are tested, as the evidence stands."""
    n, ids = len(pool), pool.ids
    nothing = {i for i in range(n) if evidence.labels[i] is None}
    out = nothing | evidence.lost
    free = np.array([i for i in range(n) if i not in out and i not in evidence.said], np.int64)
    risk = evidence.risk[free]
    by = order_of(risk, [ids[i] for i in free.tolist()], config.run.seed)
    order = free[by]
    rank = np.full(n, -1, np.int64)
    rank[order] = np.arange(len(order))
    sha = certify.sha256_of((ids[i],) for i in order.tolist())
    return Frozen(order, risk[by], rank, len(evidence.said), len(out), seal(pool, evidence), sha)


def terms(config: Config) -> dict[str, Any]:
    """What a run's looks will be about, as it is written down before the first audit question is put."""
    goal = config.goal
    return {
        "of": "terms",
        "target": goal.accuracy,
        "delta": goal.delta,
        "test": goal.test,
        "left": goal.left,
        "classes": list(goal.classes),
        "seed": config.run.seed,
    }


def commit_terms(config: Config, store: Store) -> None:
    """Write the terms down, once, as the row of look 0: before the first audit question is put."""
    if not any(c["look"] == 0 for c in store.commitments()):
        body = terms(config)
        store.add_commitment(0, sha_of(body), body)


def others(config: Config, committed: Mapping[str, Any], accuracy: float, delta: float) -> list[str]:
    """Names of the terms that are asked for otherwise than they were written down; all of them where none were."""
    asked = {"target": accuracy, "delta": delta, "test": config.goal.test, "left": config.goal.left}
    relabeled = ["labels"] if committed.get("relabels") else []
    return [name for name, value in asked.items() if committed.get(name) != value] + relabeled


def risk_of(delta: float, look: int, agreed: Mapping[str, Any]) -> float:
    """What a look may spend of `delta`. Where labels were changed with answers of the audit in sight, each change costs
    a look, and the rest is shared among the ways in which so many labels could have been changed (union bound)."""
    changes = len(agreed.get("relabels", ()))
    return certify.risk_of_look(delta, look + changes) / int(agreed.get("relabelings", 1))


def promise(
    config: Config, frozen: Frozen, evidence: Evidence, pool: Pool, accuracy: float, delta: float, look: int
) -> dict[str, Any]:
    """The commitment of one look, as it goes into the ledger and into the certificate."""
    spent, drawn = risk_of(delta, look, evidence.terms), int((frozen.rank[list(evidence.audit)] >= 0).sum())
    if evidence.twice:
        spent = human.split(spent)[0]
    committed, named = evidence.terms, list(config.goal.classes)
    same = not others(config, committed, accuracy, delta)
    # Terms that were chosen with answers in sight promise no part. A bound on all labels holds for all targets at once.
    claim, chosen = _plan(config, frozen, len(pool), drawn, accuracy, spent, whole=not same)
    foreseen = same and named == committed["classes"]
    return {
        "of": "run",
        "items": len(pool),
        "people": frozen.people,
        "lost": frozen.lost,
        "target": accuracy,
        "delta": delta,
        "look": look,
        "risk_of_this_look": spent,
        "test": "exact" if claim == "walk" else committed.get("test", "exact"),
        "aim": committed.get("target", accuracy),
        "terms": dict(committed),
        "as_agreed": same,
        "claim": claim,
        "seed": config.run.seed,
        "turn": evidence.turn,
        "labels_sha256": frozen.labels_sha256,
        "order_sha256": frozen.order_sha256,
        "drawn": drawn,
        "audited_twice": len(evidence.twice),
        "classes": named,
        "classes_apart": 0 if foreseen else max(len(config.task.labels), len(named)),
        "plan": told(chosen),
    }


def _plan(
    config: Config, frozen: Frozen, n: int, drawn: int, accuracy: float, delta: float, whole: bool
) -> tuple[str, gate.Plan]:
    """Which of the three promises of `agent.claim.proof`, and its plan. `whole`: of all labels, or none."""
    units, eps, test = len(frozen.risk), 1 - accuracy, config.goal.test
    end, none = np.array([units], np.int64), np.zeros(1, np.int64)
    if config.goal.left == "people" and not whole:
        bears = np.floor([eps * n + 1e-9]).astype(np.int64) - frozen.lost
        return "walk", gate.Plan(end, bears, drawn, none)
    if whole or _all_will_do(frozen, n, drawn, accuracy, delta):
        return "all", gate.Plan(
            end, np.floor([eps * (frozen.people + units) + 1e-9]).astype(np.int64), drawn, none, eps
        )
    share = drawn / units if units else 0.0
    chosen = plan(frozen.risk, n, eps, delta, people=frozen.people, mode=test, left="open", share=share)
    # Errors counted on and not found would have to be looked for, and nobody is asked any more: count on none.
    return "prefix", dataclasses.replace(chosen, credit=np.zeros_like(chosen.credit))


def _all_will_do(frozen: Frozen, n: int, drawn: int, accuracy: float, delta: float) -> bool:
    """Whether all labels are predicted to pass, so that nothing is won by testing a part of them first."""
    from scipy.stats import binom

    units = len(frozen.risk)
    if not units or not drawn:
        return True
    found = int(binom.ppf(SURE, drawn, float(np.clip(frozen.risk.mean(), 0, 1))))
    left = certify.wrong_at_most(units, drawn, found, delta) - found + frozen.lost
    return left <= (1 - accuracy) * n + 1e-9


def told(chosen: gate.Plan) -> dict[str, Any]:
    """A plan as JSON holds it."""
    return {
        "cuts": chosen.cuts.tolist(),
        "allowed": chosen.allowed.tolist(),
        "credit": chosen.credit.tolist(),
        "draws": chosen.draws,
        "grows": chosen.grows,
    }


def read(body: Mapping[str, Any]) -> gate.Plan:
    """The plan of a commitment."""
    p = body["plan"]
    cuts, allowed, credit = (np.array(p[name], np.int64) for name in ("cuts", "allowed", "credit"))
    return gate.Plan(cuts, allowed, int(p["draws"]), credit, float(p["grows"]))


def sha_of(body: Mapping[str, Any]) -> str:
    """The seal of a commitment."""
    return certify.sha256_of([(json.dumps(body, sort_keys=True),)])
