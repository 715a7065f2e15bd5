"""The figures of a run (`agent.report.standing`) as a table for a terminal, and its ledger opened. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.progress import dollars, money
from agent.errors import UserError
from agent.report import asking

if TYPE_CHECKING:
    from agent.config import Config
    from agent.store import Store

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


def refuse_file(config: Config) -> None:
    """Raise where a run is wanted in the folder of a finished file's audit: it would ask people about every row.

    Raises:
        UserError: with the commands that this folder is for.
    """
    from agent.report.standing import certify_step, file_of

    if file := file_of(config):
        raise UserError(
            f"{config.folder} is the audit of {file}, whose labels are there already; nothing is labeled here: answer "
            f"its questions with tutelage review, then  {certify_step(file)}"
        )


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
    if told := found.get("agreement", {}).get("words"):
        rows += [("people with one another", f"{found['agreement']['items']:,} items", told)]
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
