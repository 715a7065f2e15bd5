"""`tutelage doctor`: is everything there, from Python to the last endpoint, and what does each one really do?

Asks endpoints a few short questions, which it announces; changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.house import BAD_INPUT, Common, common
from agent.errors import Damaged, TutelageError, UserError

if TYPE_CHECKING:
    from agent.cli.annotator import Visit
    from agent.cli.endpoint import Looked
    from agent.cli.ground import Check
    from agent.config import Config
    from agent.store import Store

FIRST = 5
"""How many faults of a ledger are named."""
NAMED = 3
"""How many rows stand in the finding itself."""
SHOWN = 10
"""How many rows are listed to people; with --json all are."""
SOME = 256
"""Items of the pool that endpoints are timed with."""
MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """How far the look goes. `plants`: texts to plant instructions in; `yes`: to what costs; `prices`: of --price."""

    offline: bool
    thorough: bool
    plants: int
    yes: bool
    prices: tuple[str, ...]


@click.command()
@click.option("--offline", is_flag=True, help="Ask no endpoint, load no model.")
@click.option("--thorough", is_flag=True, help="Measure the pace of far endpoints and of engines, too.")
@click.option("--price", "given", metavar="[RUNG=]IN,OUT", multiple=True, help="Dollars per million tokens in and out.")
@click.option("--injection", is_flag=True, help="Plant instructions in texts and count the labels they flip.")
@click.option(
    "--items",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="With --injection: texts to plant them in; 25 questions each.",
)
@click.option("--yes", is_flag=True, help="Ask where nobody knows the price, too; spend without asking first.")
@common
@click.pass_context
def doctor(
    context: click.Context,
    common: Common,
    offline: bool,
    thorough: bool,
    given: tuple[str, ...],
    injection: bool,
    items: int,
    yes: bool,
) -> None:
    """Check the ground: packages, models, configuration, pool, disk, ledger, and what each endpoint really does.

    An endpoint is asked some fifteen short questions about made-up texts; one on this machine or a private network is
    timed with texts of the pool, too. Says what that costs, and prints the settings that follow. Exits with 2 when a
    check fails.

    \b
    Example:
      tutelage doctor
      tutelage doctor --offline --json
      tutelage doctor --injection --items 40 --yes
    """
    from agent.cli.ground import ground

    checks: list[Check] = []
    lines: list[str] = []
    visits: list[Visit] = []
    wanted = Wanted(offline, thorough, items if injection and not offline else 0, yes, given)
    for check in _all(common, ground(_place(common)), visits, wanted):
        lines += _lines(check, checks[-1] if checks else None, common.flags)
        checks.append(check)
    failed = sum(check.level == "fail" for check in checks)
    warned = sum(check.level == "warn" for check in checks)
    verdict = f"{failed} failed, {warned} to look at" if failed or warned else "all is well"
    looked = [one for visit in visits for one in visit.looked]
    body = {"checks": [dataclasses.asdict(check) for check in checks], "failed": failed, "warned": warned}
    body |= {"injection": [one for visit in visits for one in visit.planted]}
    step = f"\nnext: tutelage plan{common.flags}" if visits and not failed else ""
    text = "\n".join([*lines, *_advice(looked)])
    common.show(body | {"rungs": [one.body() for one in looked]}, f"{text}\n{verdict}{step}")
    if failed:
        context.exit(BAD_INPUT)


def _place(common: Common) -> Path:
    """The run folder; without a sound configuration the one it would lie in."""
    try:
        return common.config().folder
    except TutelageError:
        return Path(common.path).resolve().parent


def _lines(check: Check, before: Check | None, flags: str) -> Iterator[str]:
    """The check for people: its finding, some of the rows meant, the mend. A rung's are set under its name."""
    head, _, part = check.what.rpartition(": ")
    if head and (before is None or before.what.rpartition(": ")[0] != head):
        yield f"      {head}"
    what = f"  {part}" if head else check.what
    yield f"{MARKS[check.level]}  {what:<20}{check.finding}"
    margin = " " * 26
    if len(check.rows) > NAMED:
        yield from (f"{margin}{row}" for row in check.rows[NAMED:SHOWN])
    if len(check.rows) > SHOWN:
        yield f"{margin}and {len(check.rows) - SHOWN:,} more: tutelage doctor --json{flags} lists all"
    if check.mend and check.level != "ok":
        yield f"{margin}mend: {check.mend}"


def _advice(looked: Sequence[Looked]) -> Iterator[str]:
    """The settings that follow, as lines to be copied."""
    told = [one for one in looked if one.advice]
    if told:
        yield "\nsettings that follow (for tutelage.toml):"
    for one in told:
        yield from ("", *(f"  {line}" for line in one.config.splitlines()))
    if told:
        yield ""


def _all(common: Common, ground: Iterator[Check], visits: list[Visit], wanted: Wanted) -> Iterator[Check]:
    from agent.cli import annotator, inject, limits
    from agent.cli.ground import Check
    from agent.cli.look import pool

    yield from ground
    if not common.given and not Path(common.path).exists():
        yield Check("configuration", "warn", f"no {common.path} here", "tutelage init YOUR_POOL_FILE")
        return
    try:
        read = common.config()
        if wanted.prices:
            common.overrides += limits.prices(read, wanted.prices)
            read = common.config()
    except UserError as error:
        for line in str(error).splitlines():
            option = line.startswith(("--set", "--price"))
            mend = f"correct the {line.split()[0].rstrip(':')}" if option else f"correct {common.path}"
            yield Check("configuration", "fail", line, f"{mend} or the --set" if " with --set: " in line else mend)
        return
    visit = annotator.Visit(read, common.say, wanted.offline, wanted.thorough, wanted.yes)
    visits.append(visit)
    yield Check("configuration", "ok", f"{common.path}: {' → '.join(rung.name for rung in read.rung)}")
    yield _privacy(read)
    yield from pool(read, common.overrides, visit.some, SOME)
    for rung in read.rung:
        yield from annotator.rung(visit, rung)
    if wanted.plants:
        yield from inject.checks(visit, wanted.plants, lambda words: limits.agree(words, wanted.yes, common.as_json))
    yield from _ledger(read)


def _privacy(config: Config) -> Check:
    """Where texts would go; a place that privacy.egress shuts is none (its rung's own row says more)."""
    from agent import egress
    from agent.cli import begin
    from agent.cli.ground import Check

    going, shut = begin.sent_to(config), list[str]()
    for name, hosts in list(going.items()):
        try:
            egress.check(name, hosts, False, config.privacy.egress)
        except UserError:
            shut += going.pop(name)
    told = begin.leaving(config, going)
    if shut:
        told.append(f"privacy.egress lets no text go to {', '.join(dict.fromkeys(shut))}")
    return Check("privacy", "ok", "; ".join(told) or "no rung names a place outside this machine to send texts to")


def _ledger(config: Config) -> Iterator[Check]:
    from agent.cli.figures import opened
    from agent.cli.ground import Check

    try:
        with opened(config) as store:
            faults = store.verify()
            items = len(store.item_ids())
            late = config.goal.audit_twice and _too_late(config, store)
    except Damaged as error:
        yield Check("ledger", "fail", str(error), "restore it from a copy, or start a new run.dir")
        return
    except UserError as error:
        begun = "://" in config.store_url or Path(config.store_url).exists()
        yield Check("ledger", "fail", str(error), "correct run.store") if begun else Check("ledger", "ok", "no run yet")
        return
    except TutelageError as error:
        yield Check("ledger", "fail", str(error), "restore it from a copy, or start a new run.dir")
        return
    for fault in faults[:FIRST]:
        yield Check("ledger", "fail", fault, "restore it from a copy, or start a new run.dir")
    if not faults:
        yield Check("ledger", "ok", f"{items:,} items, every row as it was written")
    if late:
        words = "goal.audit_twice came after the audit's questions, and no item is put to a second person"
        yield Check("audit", "warn", words, "leave it out, or begin again in another run.dir")


def _too_late(config: Config, store: Store) -> bool:
    """Whether second questions were wished for after the first ones had been put."""
    from agent.claim import person_recipe
    from agent.prompt import second_recipe

    recipe = person_recipe(config)
    return any(c.purpose == "audit" for c in store.asked(recipe)) and not store.asked(second_recipe(recipe))
