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
from agent.errors import Damaged, TutelageError, UserError

if TYPE_CHECKING:
    from agent.cli.ground import Check
    from agent.config import Config, Rung

FIRST = 5
"""How many faults of a ledger are named."""
NAMED = 3
"""How many rows stand in the finding itself."""
SHOWN = 10
"""How many rows are listed to people; with --json all are."""
MUST = ("endpoint", "model")
"""What a rung cannot work without; what else a server lacks, the rung does without."""
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
    for check in _all(common, ground(_place(common)), config, offline):
        checks.append(check)
        lines += _lines(check, common.flags)
    failed = sum(check.level == "fail" for check in checks)
    warned = sum(check.level == "warn" for check in checks)
    verdict = f"{failed} failed, {warned} to look at" if failed or warned else "all is well"
    body = {"checks": [dataclasses.asdict(check) for check in checks], "failed": failed, "warned": warned}
    step = f"\nnext: tutelage plan{common.flags}" if config and not failed else ""
    common.show(body, "\n".join(lines) + f"\n{verdict}{step}")
    if failed:
        context.exit(BAD_INPUT)


def _place(common: Common) -> Path:
    """The run folder; without a sound configuration the one it would lie in."""
    try:
        return common.config().folder
    except TutelageError:
        return Path(common.path).resolve().parent


def _lines(check: Check, flags: str) -> Iterator[str]:
    """The check for people: its finding, some of the rows meant, the mend."""
    yield f"{MARKS[check.level]}  {check.what:<16} {check.finding}"
    margin = " " * 24
    if len(check.rows) > NAMED:
        yield from (f"{margin}{row}" for row in check.rows[NAMED:SHOWN])
    if len(check.rows) > SHOWN:
        yield f"{margin}and {len(check.rows) - SHOWN:,} more: tutelage doctor --json{flags} lists all"
    if check.mend and check.level != "ok":
        yield f"{margin}mend: {check.mend}"


def _all(common: Common, ground: Iterator[Check], config: list[Config], offline: bool) -> Iterator[Check]:
    from agent.cli.ground import Check
    from agent.cli.look import pool

    yield from ground
    if not common.given and not Path(common.path).exists():
        yield Check("configuration", "warn", f"no {common.path} here", "tutelage init YOUR_POOL_FILE")
        return
    try:
        read = common.config()
    except UserError as error:
        for line in str(error).splitlines():
            mend = "correct the --set" if line.startswith("--set") else f"correct {common.path}"
            yield Check("configuration", "fail", line, f"{mend} or the --set" if " with --set: " in line else mend)
        return
    config.append(read)
    yield Check("configuration", "ok", f"{common.path}: {' → '.join(rung.name for rung in read.rung)}")
    yield from pool(read, common.overrides)
    for rung in read.rung:
        yield from _rung(read, rung, offline)
    yield from _ledger(read)


def _rung(config: Config, rung: Rung, offline: bool) -> Iterator[Check]:
    """Can this annotator be built, and does its endpoint answer?"""
    from agent import config as settings
    from agent import plugins
    from agent.cli.begin import unset_key
    from agent.cli.ground import Check
    from agent.oracles import nearness
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
    if key := unset_key(rung):
        far = nearness(rung.settings.base_url) == "far"
        mend = f"put the key into the environment variable {key}, or correct rung.{rung.name}.api_key_env"
        yield Check(f"{what}: key", "fail" if far and not offline else "warn", f"{key} is not set", mend)
        if far:
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
    insists = getattr(settings, "logprobs", "") == "yes"
    for part, finding, ok in rows:
        if ok:
            yield Check(f"{what}: {part}", "ok", str(finding))
        elif part == "log-probabilities":
            mend = 'write logprobs = "auto" to count votes' if insists else (
                "none is needed: votes are counted, which takes more answers a question; a server that gives "
                "log-probabilities (vLLM, llama.cpp) needs one"
            )  # fmt: skip
            yield Check(f"{what}: {part}", "fail" if insists else "warn", str(finding), mend)
        elif part in MUST:
            mend = "correct base_url, model or api_key_env of this rung, or start its server"
            yield Check(f"{what}: {part}", "fail", str(finding), mend)
        else:
            yield Check(f"{what}: {part}", "warn", str(finding), "none is needed: the rung does without")


def _ledger(config: Config) -> Iterator[Check]:
    from agent.cli.figures import opened
    from agent.cli.ground import Check

    try:
        with opened(config) as store:
            faults = store.verify()
            items = len(store.item_ids())
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
