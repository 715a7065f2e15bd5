"""A walk whose rest people label: what its look proved stays proved while their words come in. Computes no new bound.

The look proved that at most so many wrong labels lie unseen in its prefix, whatever becomes of the rest. What of the
prefix still has its label of then, or a person's own since, holds no more of them; all else is right once a person has
labeled it. So people's later words, and machines' labels that were changed, need no further look and spend no risk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agent import certify
from agent.claim.evidence import Evidence, gather, seal
from agent.claim.promise import Frozen, freeze, others, sha_of
from agent.config import Config
from agent.errors import DataError
from agent.pool import Pool
from agent.store import Store
from agent.types import Bools, Certificate, Ints


@dataclass(frozen=True)
class Walk:
    """The last look whose walk accepted something: its first certificate, and what it rested on."""

    body: Mapping[str, Any]
    then: Evidence
    frozen: Frozen

    @property
    def look(self) -> int:
        return int(self.body["look"])

    def kept(self, now: Evidence) -> Bools:
        """(n,) labels that are delivered: people's own, and those of the prefix that are what they were."""
        own = np.array([now.word(i) is not None for i in range(len(now.labels))], bool)
        inside = np.zeros(len(own), bool)
        inside[self.frozen.order[: int(self.body["accepted"]["prefix"])]] = True
        for i in np.flatnonzero(inside).tolist():
            # What was audited was counted as seen, so it stands by a person's word or not at all.
            inside[i] = i not in self.then.audit and now.labels[i] == self.then.labels[i]
        return own | inside

    def unchanged(self, now: Evidence) -> bool:
        """Whether all of the prefix is delivered still, but for what nobody could tell at the look."""
        kept, prefix = self.kept(now), self.frozen.order[: int(self.body["accepted"]["prefix"])].tolist()
        return all(kept[i] or self.then.audit.get(i, 0) is None for i in prefix)


def walk_of(config: Config, store: Store, pool: Pool) -> Walk | None:
    """The last walk that stands in the ledger; None: there is none, or its labels cannot be found again."""
    firsts: dict[int, dict[str, Any]] = {}
    for made in store.certificates():
        firsts.setdefault(int(made["body"]["look"]), made["body"])
    for _, body in sorted(firsts.items(), reverse=True):
        accepted, agreed = body.get("accepted", {}), body.get("commitment", {}).get("as_agreed")
        if not agreed or accepted.get("claim") != "walk" or not accepted["prefix"]:
            continue
        then = gather(config, store, pool, int(body["turn"]), int(body["extra"]["answers_up_to"]))
        frozen, committed = freeze(config, pool, then), body["commitment"]
        if (frozen.labels_sha256, frozen.order_sha256) == (committed["labels_sha256"], committed["order_sha256"]):
            return Walk(body, then, frozen)
    return None


def followed(pool: Pool, walk: Walk, made: Certificate, now: Evidence) -> Certificate:
    """The walk's certificate as it stands with what people have said since. `made`: as derived at its look."""
    n, kept = len(pool), walk.kept(now)
    labels, most = int(kept.sum()), int(walk.body["accepted"]["wrong_at_most"])
    wrong = min(most + n - labels, n)
    accepted = {
        **made.accepted,
        "labels": labels,
        "people": sum(now.word(i) is not None for i in range(n)),
        "left_open": n - labels,
        "accuracy_at_least": 1 - most / labels if labels else 0.0,
        "all": bool(wrong <= (1 - made.target) * n + 1e-9),
        "since": {"turn": made.turn, "answers_up_to": made.extra["answers_up_to"]},
    }
    return replace(
        made,
        wrong_at_most=wrong,
        accuracy_at_least=1 - wrong / n,
        accuracy_estimate=max(made.accuracy_estimate, 1 - wrong / n),
        met=accepted["all"],
        turn=now.turn,
        labels_sha256=seal(pool, now),
        audit_sha256=answers_sha(pool, now),
        extra={**made.extra, "unanswered": len(now.silent), "answers_up_to": now.upto},
        accepted=accepted,
    )


def answers_sha(pool: Pool, evidence: Evidence) -> str:
    """The hash of what was said of the audited items."""
    return certify.sha256_of((pool.ids[i], json.dumps(evidence.audit[i])) for i in sorted(evidence.audit))


def follows(config: Config, walk: Walk, now: Evidence, pool: Pool, accuracy: float, delta: float) -> bool:
    """Whether these terms are the walk's, and something was said or changed since."""
    asked = (walk.body["target"], walk.body["delta"]) == (accuracy, delta)
    then = walk.body["labels_sha256"], walk.body["audit_sha256"]
    return (
        asked and not others(config, now.terms, accuracy, delta) and then != (seal(pool, now), answers_sha(pool, now))
    )


def rest_of(config: Config, store: Store, pool: Pool) -> Ints:
    """Positions that people have to label before the walk's promise is about all labels; none where there is no walk.

    A walk that ended with questions open is none: a look at all answers may go further.
    """
    walk = walk_of(config, store, pool)
    if walk is None or walk.then.silent:
        return np.zeros(0, np.int64)
    return np.flatnonzero(~walk.kept(gather(config, store, pool)))


def promise_rest(config: Config, store: Store, pool: Pool) -> None:
    """Write down that the rest behind the last walk goes to people, before it does: the row of minus its look.

    Where the walk ended was said by audit answers. So the labels that are left are no random draw for any other claim.
    """
    walk = walk_of(config, store, pool)
    if walk is not None and not any(c["look"] == -walk.look for c in store.commitments()):
        body = {"of": "rest", "look": walk.look, "order_sha256": walk.frozen.order_sha256}
        store.add_commitment(-walk.look, sha_of(body), body)


def refuse_others(store: Store) -> None:
    """Raises DataError where the rest behind a walk was put to people: no other look may be taken."""
    looks = [-c["look"] for c in store.commitments() if c["look"] < 0]
    if looks:
        raise DataError(
            f"what lay behind the walk of look {max(looks)} was put to people, so the audit is no random draw from "
            'what is left: certify with the target, risk and goal.left = "people" of that look, or begin again in '
            "another run.dir"
        )
