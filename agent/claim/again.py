"""A run's certificate, derived again from its ledger. Believes no number that the file says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.claim.drawn import check_draw
from agent.claim.evidence import as_labeled, gather
from agent.claim.ladder import derive, derive_on
from agent.claim.paper import plain
from agent.claim.promise import freeze, promise, sha_of
from agent.claim.walked import walk_of
from agent.config import Config
from agent.pool import Pool
from agent.store import Store


def verify(config: Config, store: Store, pool: Pool, path: Path) -> list[str]:
    """Derive a certificate file again from the ledger; what does not agree, in plain words (empty: it holds)."""
    try:
        claimed = json.loads(path.read_text("utf-8"))
        turn, look, upto = int(claimed["turn"]), int(claimed["look"]), int(claimed["extra"]["answers_up_to"])
        accuracy, delta = float(claimed["target"]), float(claimed["delta"])
        sealed = claimed["labels_sha256"], claimed["audit_sha256"]
    except FileNotFoundError:
        return [f"{path.name} is not there: `tutelage certify` makes it"]
    except (ValueError, KeyError, TypeError):
        return [f"{path.name} is not a certificate of this program"]
    config = as_labeled(config, store, turn)
    problems = check_draw(config, store, pool) + store.verify()
    known = [c["body"] for c in store.certificates() if c["body"].get("look") == look]
    if not known:
        problems.append(f"the ledger knows no look number {look}")
    elif all((c["labels_sha256"], c["audit_sha256"]) != sealed for c in known):
        problems.append(f"look {look} of the ledger was at other labels or other answers")
    committed = next((c for c in store.commitments() if c["look"] == look), None)
    config = _as_promised(config, committed["body"] if committed else {})
    since = (claimed.get("accepted") or {}).get("since")
    walk = walk_of(config, store, pool) if since else None
    now = gather(config, store, pool, turn, upto)
    on = walk if walk is not None and walk.look == look else None
    evidence = now if on is None else on.then
    body = promise(config, freeze(config, pool, evidence), evidence, pool, accuracy, delta, look)
    if committed is None:
        problems.append(f"the ledger holds no commitment for look {look}")
    elif committed["sha256"] != sha_of(committed["body"]):
        problems.append(f"the commitment of look {look} was changed: it has another hash")
    if committed is not None and committed["body"] != body:
        other = next(name for name in body if committed["body"].get(name) != body[name])
        problems.append(f"{other}: look {look} committed to another than labels and predictions give now")
    if any(c["look"] == 0 and c["sha256"] != sha_of(c["body"]) for c in store.commitments()):
        problems.append("the terms written down before the audit were changed: they have another hash")
    made = plain(derive(config, pool, evidence, body) if on is None else derive_on(config, pool, on, now))
    for name, value in made.items():
        if name != "extra" and claimed.get(name) != value:
            problems.append(f"{name}: the file says {_short(claimed.get(name))}, the ledger gives {_short(value)}")
    return problems


def _as_promised(config: Config, body: Mapping[str, Any]) -> Config:
    """What the user may choose of a certificate, as it was chosen when it was made."""
    if not body:
        return config
    terms = body.get("terms") or {"test": body["test"], "left": "open"}
    other = {"people": "open", "open": "people"}
    left = terms["left"] if body.get("as_agreed") else other[terms["left"]]
    chosen = {"test": terms["test"], "left": left, "classes": tuple(body["classes"])}
    return config.model_copy(update={"goal": config.goal.model_copy(update=chosen)})


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
