"""Where a run stands, read from its ledger, as numbers and as a table. Knows no plug-in, computes no claim."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.house import PAUSED
from agent.cli.progress import dollars, money
from agent.errors import UserError
from agent.report import asking

if TYPE_CHECKING:
    from agent.config import Config
    from agent.pool import Pool
    from agent.store import Store, Usage
    from agent.types import Budget, Call

MOST_SHARES = 8
"""Labels whose share is told on a terminal; --json has all."""


def opened(config: Config, flags: str = "") -> Store:
    """The ledger of a run that has begun.

    Raises:
        UserError: there is none yet; nothing is made.
    """
    from agent.store import Store

    where = config.store_url
    if "://" not in where and not Path(where).exists():
        raise UserError(f"there is no run yet in {config.folder}: begin with  tutelage run{flags}")
    return Store.open(where)


def file_of(config: Config, store: Store | None = None) -> str | None:
    """The finished file whose audit lies in this folder; None: the folder is a run's, or nothing's yet."""
    if store is None:
        if "://" in config.store_url or not Path(config.store_url).exists():
            return None
        with opened(config) as found:
            return file_of(config, found)
    if not any(row["body"].get("of") == "file" for row in store.commitments()):
        return None
    path, near = str(config.pool_path), os.path.relpath(config.pool_path)
    return near if len(near) < len(path) else path


def certify_step(file: str) -> str:
    """The command that goes on with a file's audit."""
    return f"tutelage certify {shlex.quote(file)}"


def refuse_file(config: Config) -> None:
    """Raise where a run is wanted in the folder of a finished file's audit: it would ask people about every row.

    Raises:
        UserError: with the commands that this folder is for.
    """
    if file := file_of(config):
        raise UserError(
            f"{config.folder} is the audit of {file}, whose labels are there already; nothing is labeled here: answer "
            f"its questions with tutelage review, then  {certify_step(file)}"
        )


def pool_of(config: Config, store: Store) -> Pool:
    """The pool as it was taken in."""
    from agent.pool import Pool

    return Pool(config.folder / "pool", store.shards())


def cards(config: Config, store: Store) -> list[Call]:
    """The open questions to people, as they are asked today."""
    from agent.claim import person_recipe

    recipe = person_recipe(config)
    return [card for card in store.open_calls(annotator="person") if card.recipe == recipe]


def figures(config: Config, store: Store, budget: Budget | None = None) -> dict[str, Any]:
    """Counts, money and the last turn's estimates. items = accepted + unsure + waiting + not asked + open.

    `budget`: what holds in place of the configuration's.
    """
    from agent import export
    from agent.config import fingerprint

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
        **_standing(config, store),
    }


def _standing(config: Config, store: Store) -> dict[str, Any]:
    """Once a look was taken: the claim, where it is of the labels and answers as they are, and what is estimated."""
    from dataclasses import asdict

    from agent import claim
    from agent.report.gather import standing

    of_run = store.certificates() and not file_of(config, store)
    made, found = standing(config, store, pool_of(config, store)) if of_run else (None, None)
    return {"claim": claim.lines(made)[0] if made else None, "estimate": asdict(found) if found else None}


def _learning(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the student learned: its curve and forecast, what picks were worth, what the last answers changed."""
    from dataclasses import asdict

    from agent.report import learning

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


def table(found: Mapping[str, Any]) -> str:
    """The figures as text, for people."""
    n = max(int(found["items"]), 1)
    rows = [("items", f"{found['items']:,}", "")]
    rows += [(f"accepted, by {k}", f"{v:,}", f"{v / n:.0%}") for k, v in found["accepted"].items()]
    for name, words in (
        ("unsure", "unsure, best guess given"),
        ("waiting", "waiting for people"),
        ("not_asked", "not asked, no label"),
        ("open", "not yet decided"),
    ):
        if found[name]:
            rows.append((words, f"{found[name]:,}", f"{found[name] / n:.0%}"))
    rows += [("of these no answer", f"{count:,}", why) for why, count in found["no_answer"].items()]
    if found["set_aside"]:
        rows.append(("rows set aside", f"{found['set_aside']:,}", ""))
    rows += _spent(found)
    for name, calls in found["batches_out"].items():
        rows.append((f"batch {name}", f"{calls:,}", "requests out, answers to come"))
    for name, used in found["annotators"].items():
        troubles = ", ".join(f"{used[k]:,} {k}" for k in ("errors", "failed") if used[k])
        rows.append((f"answers of {name}", f"{used['answers']:,}", troubles))
    for name, (agreed, of) in found["pilot_agreement"].items():
        if of:
            rows.append((f"{name} on the pilot", f"{agreed:,} of {of:,}", "agree with people"))
    rows += [(fact.what, fact.figure, fact.means) for fact in asking.facts(found.get("asking", {}))]
    rows += _learnt(found["learning"])
    rows += _estimates(found["estimate"])
    for purpose, count in sorted(found["questions_to_people"].items()):
        rows.append((f"questions to people, {purpose}", f"{count:,}", "open"))
    wide, middle = max(len(r[0]) for r in rows), max(len(r[1]) for r in rows)
    lines = [f"{a:<{wide}}  {b:>{middle}}  {c}".rstrip() for a, b, c in rows]
    if "person" not in found["accepted"] and 2 * sum(found["accepted"].values()) < found["items"]:
        lines.append(
            "without people nothing tells how often the machines are right, so few labels reach their bar: add a rung "
            'with oracle = "person", or lower the bar of the last machine (bar = 0.8)'
        )
    if found["people_are"]:
        lines.append(f"people: {found['people_are']}")
    if found["stopped"]:
        lines.append(f"the last run stopped: {found['stopped']}")
    return "\n".join(lines)


def _learnt(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Where the student's curve is heading, what the last answers changed, and copies."""
    rows = []
    if told["forecast"]:
        far = told["forecast"][-1]
        band = f"{100 * far['low']:.0f}% to {100 * far['high']:.0f}% agreeing with people, by the curve so far"
        rows.append((f"student after {far['answers']:,} answers", f"{100 * far['rate']:.0f}%", f"forecast: {band}"))
    if told["moves"]:
        moved = told["moves"]
        rows.append(("labels the last turn changed", f"{moved['changed']:,}", f"by {moved['answers']:,} answers"))
    if told["copies"]:
        rows.append(("near-duplicates", f"{told['copies']:,}", "took what was said of an earlier item"))
    return rows


def _estimates(told: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Accuracy and the commonest labels by estimate, each with its interval."""
    if told is None:
        return []
    answers = f"against people, estimated from {told['answers']:,} random answers; not the certificate"
    rows = [("accuracy, estimated", _least(told["accuracy"]), f"{_within(told['accuracy'])}: {answers}")]
    often = sorted(told["shares"].items(), key=lambda pair: -pair[1]["value"])[:MOST_SHARES]
    return rows + [
        (f"share of {label}", _least(share), f"{_within(share)}, as people would say") for label, share in often
    ]


def _least(share: Mapping[str, float]) -> str:
    from agent.report import down

    return f"{down(share['value'])}%"


def _within(share: Mapping[str, float]) -> str:
    from agent.report import down, up

    return f"{down(share['low'])}% to {up(share['high'])}%"


def _spent(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Dollars; tokens and calls where some were sent or are limited; what is put by for calls under way."""
    held = found["usd_reserved"]
    rows = [("spent", money(found["usd"], found["budget_usd"]), f"{dollars(held)} more reserved" if held else "")]
    for name in ("tokens", "calls"):
        used, held, most, lost = found[name], found[f"{name}_reserved"], found[f"budget_{name}"], found[f"{name}_lost"]
        if used or held or most is not None:
            of = f"{used:,}" + (f" of {most:,}" if most is not None else "")
            more = [f"{lost:,} of them booked, not known to have happened"] if lost else []
            more += [f"{held:,} more reserved"] if held else []
            rows.append((f"{name} over the network", of, ", ".join(more)))
    return rows


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
    if found["stopped_code"] == PAUSED:
        spent = str(found["stopped"]).startswith("budget spent")
        return [again(found, flags), *([f"tutelage export labels labels.csv{flags}"] if spent else [])]
    if sum(found["questions_to_people"].values()):
        steps += dict.fromkeys([answer_step(found, flags), again(found, flags)])
    elif found["open"] or found["not_asked"]:
        steps.append(again(found, flags))
    elif "person" in found["accepted"] and not found["claim"]:  # without people nothing was measured
        steps.append(f"tutelage certify{flags}")
    return [*steps, f"tutelage export labels labels.csv{flags}"]
