"""Where a run stands, read from its ledger, as numbers, and what to do next. Knows no plug-in, computes no claim.

`tutelage status` and the dashboard show the same ones.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import claim, export, opinions
from agent.config import Config, fingerprint, kind, the_task
from agent.pool import Pool
from agent.report import gather, learning
from agent.store import Store

if TYPE_CHECKING:
    from agent.store import Usage
    from agent.types import Budget, Call


def file_of(config: Config, store: Store | None = None) -> str | None:
    """The finished file whose audit lies in this folder; None: the folder is a run's, or nothing's yet."""
    if store is None:
        if "://" in config.store_url or not Path(config.store_url).exists():
            return None
        with Store.open(config.store_url) as found:
            return file_of(config, found)
    if not any(row["body"].get("of") == "file" for row in store.commitments()):
        return None
    path, near = str(config.pool_path), os.path.relpath(config.pool_path)
    return near if len(near) < len(path) else path


def certify_step(file: str) -> str:
    """The command that goes on with a file's audit."""
    return f"tutelage certify {shlex.quote(file)}"


def pool_of(config: Config, store: Store) -> Pool:
    """The pool as it was taken in."""
    return Pool(config.folder / "pool", store.shards())


def cards(config: Config, store: Store) -> list[Call]:
    """The open questions to people, as they are asked today."""
    recipe = claim.person_recipe(config)
    return [card for card in store.open_calls(annotator="person") if card.recipe == recipe]


def figures(config: Config, store: Store, budget: Budget | None = None) -> dict[str, Any]:
    """Counts, money and the last turn's estimates. items = accepted + unsure + waiting + not asked + open.

    `budget`: what holds in place of the configuration's.
    """
    found = store.decisions()
    never = export.not_asked(store, found)
    accepted = Counter(by for by, action in zip(found.by, found.actions, strict=True) if action == "accept")
    rows = [(item, action) for item, action in zip(found.items, found.actions, strict=True) if item not in never]
    unsure = sum(action == "abstain" for _, action in rows)
    waits = cards(config, store)
    asked = {call.item for call in waits}
    waiting = sum(action == "ask" and item in asked for item, action in rows)
    items, spend, outcomes = len(store.item_ids()), store.spend(), store.outcomes()
    last: Mapping[str, Any] = next((o for o in reversed(outcomes) if "agreement" in o), {})
    stop: Mapping[str, Any] = next((o for o in reversed(outcomes) if "stop" in o), {})
    certificates = store.certificates()
    most = budget or config.goal.budget
    return {
        "folder": str(config.folder),
        "config_sha256": fingerprint(config),
        "items": items,
        "set_aside": len(store.set_aside()),
        "accepted": {rung.name: accepted.get(rung.name, 0) for rung in config.rung},
        "unsure": unsure,
        "waiting": waiting,
        "not_asked": len(never),
        "open": items - sum(accepted.values()) - unsure - waiting - len(never),
        "no_answer": export.lost(found),
        "questions_to_people": dict(Counter(call.purpose for call in waits)),
        "turns": store.last_turn(),
        "stopped": stop.get("stop"),
        "stopped_code": stop.get("code"),
        "people_are": last.get("people_are", stop.get("people_are")),
        "recorded_people": config.person.settings.people if config.person else None,
        "usd": round(spend.usd, 6),
        "usd_reserved": round(spend.reserved, 6),
        "budget_usd": most.usd,
        "tokens": spend.total.tokens,
        "tokens_reserved": spend.total.held_tokens,
        "tokens_lost": spend.total.lost_tokens,
        "budget_tokens": most.tokens,
        "calls": spend.total.requests,
        "calls_reserved": spend.total.held_requests,
        "calls_lost": spend.total.lost_requests,
        "budget_calls": most.calls,
        "batches_out": {batch.name: len(batch.keys) for batch in store.batches(only_out=True)},
        "annotators": {name: _used(usage) for name, usage in spend.by.items()},
        "pilot_agreement": last.get("agreement", {}),
        "asking": last.get("asking", {}),
        "learning": _learning(outcomes),
        "certificate": certificates[-1]["body"] if certificates else None,
        "file": file_of(config, store),
        "agreement": _agreement(config, store),
        **_standing(config, store),
    }


def _agreement(config: Config, store: Store) -> dict[str, Any]:
    """How people agree with one another, where several were asked about the same items, in numbers and words."""
    found = opinions.of_run(store, pool_of(config, store), the_task(config), kind(config))
    return {
        **asdict(found),
        "words": opinions.told(found) if found.doubled or found.later or config.review.overlap else "",
    }


def _standing(config: Config, store: Store) -> dict[str, Any]:
    """Once a look was taken: the claim, where it is of the labels and answers as they are, and what is estimated."""
    of_run = store.certificates() and not file_of(config, store)
    made, found = gather.standing(config, store, pool_of(config, store)) if of_run else (None, None)
    return {"claim": claim.lines(made)[0] if made else None, "estimate": asdict(found) if found else None}


def _learning(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the student learned: its curve and forecast, what picks were worth, what the last answers changed."""
    curve, moves = learning.points(outcomes), learning.moves(outcomes)
    return {
        "curve": [{"answers": p.answers, "agreed": p.student.right, "of": p.student.of} for p in curve if p.student],
        "forecast": [asdict(a) for a in learning.ahead(curve)],
        "strategies": [asdict(s) for s in learning.tried(outcomes)],
        "moves": asdict(moves) if moves else None,
        "copies": learning.copies(outcomes),
    }


def _used(usage: Usage) -> dict[str, Any]:
    asked, usd = usage.calls, round(usage.usd, 6)
    return {"asked": asked, "answers": usage.answers, "errors": usage.errors, "failed": usage.failed, "usd": usd}


def answer_step(found: Mapping[str, Any], flags: str) -> str:
    """The command by which people answer: a run where answers are recorded, else the review."""
    if found["recorded_people"]:
        return f"tutelage run{found.get('asked_by', '')}{flags}"
    told = str(found["people_are"] or "")
    if not told.startswith("simulated"):
        return f"tutelage review{flags}"
    return f"tutelage run --people {'gold' if 'gold column' in told else 'FILE'}{flags}"


def again(found: Mapping[str, Any], flags: str) -> str:
    """The command that goes on with the run, asking the people who were asked before."""
    step = answer_step(found, flags)
    return step if step.startswith("tutelage run") else f"tutelage run{found.get('asked_by', '')}{flags}"


def next_steps(found: Mapping[str, Any], flags: str) -> list[str]:
    """What to do now, as commands."""
    steps: list[str] = []
    if file := found["file"]:
        waits = sum(found["questions_to_people"].values())
        return [*([f"tutelage review{flags}"] if waits else []), certify_step(file)]
    if found["stopped_code"] == gather.PAUSED:
        spent = str(found["stopped"]).startswith("budget spent")
        return [again(found, flags), *([f"tutelage export labels labels.csv{flags}"] if spent else [])]
    if sum(found["questions_to_people"].values()):
        steps += dict.fromkeys([answer_step(found, flags), again(found, flags)])
    elif found["open"] or found["not_asked"]:
        steps.append(again(found, flags))
    elif "person" in found["accepted"] and not found["claim"]:  # without people nothing was measured
        steps.append(f"tutelage certify{flags}")
    return [*steps, f"tutelage export labels labels.csv{flags}"]
