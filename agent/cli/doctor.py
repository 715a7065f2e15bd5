"""`tutelage doctor`: is everything there, from Python to the last endpoint? Spends nothing, changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import BAD_INPUT, Common, common
from agent.errors import TutelageError, UserError

if TYPE_CHECKING:
    from agent.cli.ground import Check
    from agent.config import Config, Rung

FIRST = 5
"""How many of the rows set aside are named."""
MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command()
@click.option("--offline", is_flag=True, help="Ask no endpoint.")
@common
@click.pass_context
def doctor(context: click.Context, common: Common, offline: bool) -> None:
    """Check the ground: packages, models, configuration, pool, endpoints, disk, ledger. Exits with 2 when one fails.

    \b
    Example:
      tutelage doctor
      tutelage doctor --json
    """
    from agent.cli.ground import ground

    checks: list[Check] = []
    lines: list[str] = []
    config: list[Config] = []
    for check in _all(common, ground(Path(common.path).resolve().parent), config, offline):
        checks.append(check)
        lines.append(_line(check))
    failed = sum(check.level == "fail" for check in checks)
    warned = sum(check.level == "warn" for check in checks)
    verdict = f"{failed} failed, {warned} to look at" if failed or warned else "all is well"
    body = {"checks": [dataclasses.asdict(check) for check in checks], "failed": failed, "warned": warned}
    step = f"\nnext: tutelage plan{common.flags}" if config and not failed else ""
    common.show(body, "\n".join(lines) + f"\n{verdict}{step}")
    if failed:
        context.exit(BAD_INPUT)


def _line(check: Check) -> str:
    text = f"{MARKS[check.level]}  {check.what:<16} {check.finding}"
    return text + (f"\n{'':<24}mend: {check.mend}" if check.mend and check.level != "ok" else "")


def _all(common: Common, ground: Iterator[Check], config: list[Config], offline: bool) -> Iterator[Check]:
    from agent.cli.ground import Check

    yield from ground
    if not common.given and not Path(common.path).exists():
        yield Check("configuration", "warn", f"no {common.path} here", "tutelage init YOUR_POOL_FILE")
        return
    try:
        read = common.config()
    except UserError as error:
        for line in str(error).splitlines():
            yield Check("configuration", "fail", line, f"correct {common.path}")
        return
    config.append(read)
    yield Check("configuration", "ok", f"{common.path}: {' → '.join(rung.name for rung in read.rung)}")
    yield from _pool(read)
    for rung in read.rung:
        yield from _rung(read, rung, offline)
    yield from _ledger(read)


def _pool(config: Config) -> Iterator[Check]:
    """Counts, the first rows set aside with their reasons, and whether gold and labels agree."""
    from agent import data
    from agent.cli.ground import Check
    from agent.loop.ground import source

    if config.pool.path == "-":
        yield Check("pool", "ok", "standard input: read when the run begins")
        return
    items, gold, aside, unknown = 0, 0, [], dict[str, int]()
    try:
        for batch in data.read(source(config)):
            for row in batch:
                if isinstance(row, data.Entry):
                    items += 1
                    value = row.item.gold
                    gold += value is not None
                    for name in () if value is None else (value,) if isinstance(value, str) else value:
                        if name not in config.task.labels:
                            unknown[name] = unknown.get(name, 0) + 1
                else:
                    aside.append(row)
    except UserError as error:
        yield Check("pool", "fail", str(error), "correct [pool]")
        return
    words = f"{items:,} items of {items + len(aside):,} rows in {config.pool.path}"
    if not items:
        yield Check("pool", "fail", words, f"the first: row {aside[0].row}: {aside[0].reason}")
    else:
        yield Check("pool", "ok", words)
    if aside:
        first = "; ".join(f"row {row.row}: {row.reason}" for row in aside[:FIRST])
        more = f"; and {len(aside) - FIRST:,} more" if len(aside) > FIRST else ""
        yield Check("rows set aside", "warn", f"{len(aside):,}: {first}{more}", "correct these rows, or go on without")
    if config.pool.gold:
        yield _gold(config, gold, items, unknown)


def _gold(config: Config, gold: int, items: int, unknown: dict[str, int]) -> Check:
    from agent.cli.ground import Check

    if unknown:
        named = ", ".join(f"{name!r} ({count:,})" for name, count in sorted(unknown.items())[:FIRST])
        more = f" and {len(unknown) - FIRST} more" if len(unknown) > FIRST else ""
        mend = "add them to task.labels, or correct the column"
        return Check("gold labels", "warn", f"not among the labels: {named}{more}", mend)
    if not gold:
        return Check("gold labels", "warn", f"column {config.pool.gold!r} is empty", "remove pool.gold")
    return Check("gold labels", "ok", f"{gold:,} of {items:,} items have one")


def _rung(config: Config, rung: Rung, offline: bool) -> Iterator[Check]:
    """Can this annotator be built, and does its endpoint answer?"""
    from agent import config as settings
    from agent import plugins
    from agent.cli.ground import Check
    from agent.types import Context

    what = f"rung {rung.name}"
    if rung.person:
        people = rung.settings.people
        missing = people not in (None, "gold") and not (config.root / people).exists()
        if missing:
            yield Check(what, "fail", f"there is no file {people}", "correct people, or remove it")
        elif people == "gold" and not config.pool.gold:
            yield Check(what, "fail", 'people = "gold", but pool.gold names no column', "name pool.gold")
        else:
            words = "people answer by `tutelage review`" if people is None else f"answers come from {people}"
            yield Check(what, "ok", words)
        return
    room, name = ("students", rung.student) if rung.student else ("oracles", rung.oracle)
    try:
        plugin = plugins.load(room, str(name))
        context = Context(
            settings.the_task(config), settings.layout(config), config.run.seed, str(config.folder / "cache")
        )
        plugin.build(rung.settings, context)
    except UserError as error:
        yield Check(what, "fail", str(error), f"correct rung.{rung.name}")
        return
    probe = getattr(plugin, "probe", None)
    if probe is None or offline:
        yield Check(what, "ok", f"{room[:-1]} {name}" + (", not asked" if probe else ""))
        return
    yield from _probed(what, probe, rung.settings)


def _probed(what: str, probe: Any, settings: Any) -> Iterator[Check]:
    """The rows of a plug-in's own `probe(settings)`: what, finding, whether it is ok."""
    from agent.cli.ground import Check

    try:
        rows = probe(settings)
        rows = asyncio.run(rows) if inspect.iscoroutine(rows) else rows
    except TutelageError as error:
        yield Check(what, "fail", str(error), "correct base_url, model or api_key_env of this rung")
        return
    for part, finding, ok in rows:
        mend = "" if ok else "correct base_url, model or api_key_env of this rung, or start its server"
        yield Check(f"{what}: {part}", "ok" if ok else "fail", str(finding), mend)


def _ledger(config: Config) -> Iterator[Check]:
    from agent.cli.figures import opened
    from agent.cli.ground import Check

    try:
        with opened(config) as store:
            faults = store.verify()
            items = len(store.item_ids())
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
