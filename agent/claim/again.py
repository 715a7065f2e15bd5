"""A run's certificate, derived again from its ledger. Believes no number that the file says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.claim.drawn import check_draw
from agent.claim.evidence import gather
from agent.claim.ladder import derive
from agent.claim.paper import plain
from agent.claim.promise import freeze, promise, sha_of
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
    problems = check_draw(config, store, pool) + store.verify()
    known = [c["body"] for c in store.certificates() if c["body"].get("look") == look]
    if not known:
        problems.append(f"the ledger knows no look number {look}")
    elif all((c["labels_sha256"], c["audit_sha256"]) != sealed for c in known):
        problems.append(f"look {look} of the ledger was at other labels or other answers")
    committed = next((c for c in store.commitments() if c["look"] == look), None)
    config = _as_promised(config, committed["body"] if committed else {})
    evidence = gather(config, store, pool, turn, upto)
    body = promise(config, freeze(config, pool, evidence), evidence, pool, accuracy, delta, look)
    if committed is None:
        problems.append(f"the ledger holds no commitment for look {look}")
    elif committed["sha256"] != sha_of(committed["body"]):
        problems.append(f"the commitment of look {look} was changed: it has another hash")
    if committed is not None and committed["body"] != body:
        other = next(name for name in body if committed["body"].get(name) != body[name])
        problems.append(f"{other}: look {look} committed to another than labels and predictions give now")
    made = plain(derive(config, pool, evidence, body))
    for name, value in made.items():
        if name != "extra" and claimed.get(name) != value:
            problems.append(f"{name}: the file says {_short(claimed.get(name))}, the ledger gives {_short(value)}")
    return problems


def _as_promised(config: Config, body: Mapping[str, Any]) -> Config:
    """What the user may choose of a certificate, as it was chosen when it was made."""
    if not body:
        return config
    left = "people" if body["claim"] == "walk" else "open"
    chosen = {"test": body["test"], "left": left, "classes": tuple(body["classes"])}
    return config.model_copy(update={"goal": config.goal.model_copy(update=chosen)})


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
