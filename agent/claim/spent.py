"""Looks that were taken at labels and answers as they are: what stands, and what another one costs. Makes no claim."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import certify
from agent.claim.evidence import Evidence, gather
from agent.claim.promise import freeze, promise
from agent.claim.walked import answers_sha
from agent.config import Config
from agent.errors import DataError
from agent.pool import Pool
from agent.store import Store
from agent.types import Certificate

FORETOLD = {"turn", "order_sha256", "plan", "claim"}
"""What of a commitment follows from predictions. Where these alone have changed, a look that was taken still holds."""


def stands(
    config: Config, store: Store, pool: Pool, evidence: Evidence, accuracy: float, delta: float
) -> Certificate | None:
    """The certificate on these terms of labels and answers as they are; None: there is none, and a look is to be
    taken. Another order of the same labels is no reason for one."""
    frozen = freeze(config, pool, evidence)
    for body in reversed(_of_these(store, frozen.labels_sha256, answers_sha(pool, evidence))):
        then = body["commitment"]
        now = promise(config, frozen, evidence, pool, accuracy, delta, int(body["look"]))
        if _terms(then) == _terms(now):
            return Certificate(**body)
    return None


def refuse_dearer(config: Config, store: Store, pool: Pool, accuracy: float, delta: float) -> None:
    """Raise where a look would be spent on labels and answers that were looked at on other terms.

    Raises:
        DataError: with what the look would cost.
    """
    evidence = gather(config, store, pool)
    sha = freeze(config, pool, evidence).labels_sha256
    same = _of_these(store, sha, answers_sha(pool, evidence))
    # A walk that people went on from costs no look (`agent.claim.walked`).
    before = [int(body["look"]) for body in same if "since" not in body["accepted"]]
    if not before or stands(config, store, pool, evidence, accuracy, delta):
        return
    taken = [c["look"] for c in store.commitments()] + [c["body"]["look"] for c in store.certificates()]
    first, look = min(before), 1 + max(taken)
    risks = [f"{100 * certify.risk_of_look(delta, j):.2g} %" for j in (look, first)]
    raise DataError(
        f"look {first} was at the same labels and answers, on other terms. On these it is look {look}, at a risk of "
        f"{risks[0]} where look {first} had {risks[1]}, so it proves less of all labels. Take it all the same with "
        "--now; terms that are named before the first look ([goal] accuracy, classes, left) cost nothing more"
    )


def path_of(config: Config, store: Store, made: Mapping[str, Any]) -> Path:
    """Where a certificate is written: a look that proves less of the same labels does not replace a better one."""
    same = [b for b in _of_these(store, made["labels_sha256"], made["audit_sha256"]) if b["target"] == made["target"]]
    better = any(b["look"] != made["look"] and b["accuracy_at_least"] > made["accuracy_at_least"] for b in same)
    return config.folder / (f"certificate-look{made['look']}.json" if better else "certificate.json")


def _of_these(store: Store, labels: str, answers: str) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = [c["body"] for c in store.certificates() if c["labels_sha256"] == labels]
    return [body for body in bodies if body["audit_sha256"] == answers]


def _terms(body: Mapping[str, Any]) -> dict[str, Any]:
    """With what was promised of a walk apart from all else, which may be of all labels or of a part."""
    return {k: v for k, v in body.items() if k not in FORETOLD} | {"walk": body.get("claim") == "walk"}
