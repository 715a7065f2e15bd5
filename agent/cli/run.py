"""`tutelage run`: starts the loop, shows how it goes, says why it stopped. All thinking is the loop's."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import INTERRUPTED, PAUSED, Common, common, explain
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.store import Store


@click.command()
@click.option("--budget", metavar="USD|none", help="The most that paid machines may cost in all; none: no limit.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N items of the pool.")
@click.option("--people", metavar="gold|FILE", help="Recorded answers in place of people: the gold column, or a file.")
@click.option("--offline", is_flag=True, help="Ask nobody over the network.")
@click.option("--dry-run", is_flag=True, help="Show what a run would do, as `tutelage plan`.")
@common
@click.pass_context
def run(
    context: click.Context,
    common: Common,
    budget: str | None,
    limit: int | None,
    people: str | None,
    offline: bool,
    dry_run: bool,
) -> None:
    """Label the pool. Stops when nothing is left to ask, the budget is spent, or only people are waited for.

    Ctrl-C ends in order; running again goes on where it stopped, and pays nothing twice.

    \b
    Example:
      tutelage run
      tutelage run --budget 5 --limit 200
      tutelage run --people gold --offline
    """
    from agent.cli.plan import show

    if dry_run:
        show(common, limit)
        return
    from agent import loop
    from agent.cli.begin import keys
    from agent.cli.progress import Progress

    config = common.config()
    dollars = _budget(budget)
    cap = config.goal.budget_usd if budget is None else dollars
    if cap is None and any(hasattr(rung.settings, "base_url") for rung in config.rung):
        common.say("no limit on money is set: goal.budget_usd or --budget sets one")
    for line in keys(config):
        common.say(line)
    _terminate_in_order()
    with Progress(cap, _before(config), common.quiet) as progress:

        def report(event: loop.Event) -> None:
            progress(event)
            if event.kind == "intake":
                _notes(common, config, event.numbers)

        finished = loop.run(
            config,
            people=people,
            limit=limit,
            budget=loop.Unset if budget is None else dollars,
            offline=offline,
            report=report,
        )
    _close(common, config, finished, cap, _options(people, budget, finished.reason))
    context.exit(finished.code)


def _budget(text: str | None) -> float | None:
    """Dollars; None for "none"."""
    if text is None or text.lower() == "none":
        return None
    try:
        dollars = float(text.removeprefix("$"))
    except ValueError:
        dollars = -1.0
    if not 0 <= dollars < float("inf"):
        raise UserError(f"--budget {text}: write dollars, as in --budget 5, or none for no limit")
    return dollars


def _before(config: Config) -> dict[str, Any]:
    """Where earlier runs left off; empty when there were none."""
    from agent.cli.figures import figures, opened

    if "://" not in config.store_url and not Path(config.store_url).exists():
        return {}
    with opened(config) as store:
        return figures(config, store)


def _notes(common: Common, config: Config, numbers: Mapping[str, Any]) -> None:
    """What the pool that was taken in gives reason to say."""
    from agent.cli.begin import notes
    from agent.cli.figures import opened, pool_of

    if common.quiet:
        return
    with opened(config) as store:
        for line in notes(config, store, pool_of(config, store), numbers):
            common.say(line)


def _terminate_in_order() -> None:
    """`kill` asks for the same end in order as Ctrl-C."""

    def pass_on(number: int, frame: Any) -> None:
        del number, frame
        signal.raise_signal(signal.SIGINT)

    try:
        signal.signal(signal.SIGTERM, pass_on)
    except ValueError:
        pass  # not the main thread: whoever started us handles the signal


def _options(people: str | None, budget: str | None, reason: str) -> dict[str, Any]:
    """What the next run must be told again: who answers for people, and a limit on money that stands in no file."""
    asked = "" if people is None else f" --people {shlex.quote(people)}"
    if budget is not None:
        asked += " --budget MORE" if "budget" in reason else f" --budget {shlex.quote(budget)}"
    return {"asked_by": asked} | ({} if people is None else {"recorded_people": people})


def _close(common: Common, config: Config, finished: Any, cap: float | None, options: Mapping[str, Any]) -> None:
    """The summary and what to do next."""
    from agent.cli.figures import again, figures, next_steps, opened, table

    with opened(config, common.flags) as store:
        found = figures(config, store) | {"budget_usd": cap}
        told = {**found, **options}
        files = [] if finished.code == INTERRUPTED else _take_away(common, config, store)
    if finished.code == INTERRUPTED:
        steps = [again(told, common.flags)]
        common.say("interrupted; what was paid for is kept, the same command goes on from here")
    else:
        steps = next_steps(told, common.flags)
        more = again(told, common.flags)
        steps = [more, *steps] if finished.code == PAUSED and more not in steps else steps
    body = {**found, "reason": finished.reason, "code": finished.code, "summary": dict(finished.summary), "next": steps}
    body["files"] = files
    text = table({**found, "stopped": None}) + "".join(f"\nwrote {file}" for file in files)
    common.show(body, f"{text}\nstopped: {finished.reason}\nnext: {', then '.join(steps)}")


def _take_away(common: Common, config: Config, store: Store) -> list[str]:
    """The labels and the report as they stand, written into the run folder. What fails here has cost nobody a label."""
    from agent import data, export, report
    from agent.cli.figures import pool_of
    from agent.report.gather import gather

    pool, labels = pool_of(config, store), config.folder / "labels.parquet"
    written: list[str] = []
    try:
        data.write(export.labels(config, store, pool), str(labels))
        written.append(str(labels))
        written += map(str, report.write(gather(config, store, pool), config.folder))
    except Exception as error:  # noqa: BLE001 - the labels are in the ledger; a page that fails must not hide the rest
        common.say(f"{explain(error)[1]}\nthe ledger is whole; try again with  tutelage export report{common.flags}")
    return written
