"""`tutelage run`: starts the loop, shows how it goes, says why it stopped. All thinking is the loop's."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from agent.cli.house import INTERRUPTED, Common, common, explain

if TYPE_CHECKING:
    from agent.cli.progress import Progress
    from agent.config import Config
    from agent.loop import Event, Finished
    from agent.store import Store
    from agent.types import Budget


@click.command()
@click.option("--budget", metavar="USD|none", help="The most that paid machines may cost in all; none: no limit.")
@click.option("--budget-tokens", metavar="N", help="The most tokens they may take, in and out together, as in 2M.")
@click.option("--budget-calls", metavar="N", help="The most requests that may be sent to them, as in 500k.")
@click.option("--price", "given", metavar="[RUNG=]IN,OUT", multiple=True, help="Dollars per million tokens in and out.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N items of the pool.")
@click.option("--people", metavar="gold|FILE", help="Recorded answers in place of people: the gold column, or a file.")
@click.option(
    "--batch",
    type=click.Choice(["files", "submit", "cancel"]),
    is_flag=False,
    flag_value="files",
    help="Ask in batch files: write them and read answers back; or hand them in, or take them back.",
)
@click.option("--wait", is_flag=True, help="Stay while people answer, and go on by itself.")
@click.option("--offline", is_flag=True, help="Ask nobody over the network.")
@click.option("--dry-run", is_flag=True, help="Show what a run would do, as `tutelage plan`.")
@common
@click.pass_context
def run(
    context: click.Context,
    common: Common,
    budget: str | None,
    budget_tokens: str | None,
    budget_calls: str | None,
    given: tuple[str, ...],
    limit: int | None,
    people: str | None,
    batch: Literal["files", "submit", "cancel"] | None,
    wait: bool,
    offline: bool,
    dry_run: bool,
) -> None:
    """Label the pool. Stops when nothing is left to ask, the budget is spent, or only people are waited for.

    The budget counts what earlier runs on this ledger spent, too; what a call may take at most is put by before it is
    sent. A price that nobody knows must be told with --price, or be said not to matter with --budget none.

    Ctrl-C ends in order; running again goes on where it stopped, and pays nothing twice.

    \b
    Example:
      tutelage run
      tutelage run --budget 5 --limit 200
      tutelage run --wait
      tutelage run --people gold --offline
      tutelage run --batch submit --budget 20
    """
    from agent.cli.plan import show

    if dry_run:
        show(common, limit, budget, given)
        return
    from agent import loop
    from agent.cli import limits
    from agent.cli.figures import refuse_file

    if given:
        common.overrides += limits.prices(common.config(), given)
    config = common.config()
    refuse_file(config)
    most = limits.budget(config, budget, budget_tokens, budget_calls)
    _forewarn(common, config, most)
    before = _before(config).get("claim")
    work = partial(
        loop.run,
        config,
        people=people,
        limit=limit,
        budget=most,
        priceless=(budget or "").lower() == "none",
        offline=offline,
        batch=batch or "",
    )
    finished = _worked(common, config, most, wait, work)
    told = {"budget": budget, "budget-tokens": budget_tokens, "budget-calls": budget_calls}
    options = _options(people, told, given, batch, finished.reason)
    _close(common, config, finished, most, options, before)
    context.exit(finished.code)


def _worked(common: Common, config: Config, most: Budget, wait: bool, work: Callable[..., Finished]) -> Finished:
    """The run, shown as it goes; with `wait` run again and again as people answer."""
    from agent import loop
    from agent.cli.progress import Progress

    _terminate_in_order()

    while True:
        with Progress(most.usd, _before(config), common.quiet) as progress:
            finished = work(report=_reporter(common, config, progress))
        if not wait or not finished.reason.startswith(loop.PEOPLE):
            return finished
        if not _waited(common, config):
            return loop.Finished("interrupted", INTERRUPTED)


def _waited(common: Common, config: Config) -> bool:
    """Wait for people's answers; False where Ctrl-C ended that."""
    from agent.cli.wait import for_people

    try:
        for_people(config, common.flags, common.say)
    except KeyboardInterrupt:
        return False
    return True


def _forewarn(common: Common, config: Config, most: Budget) -> None:
    """What is worth knowing before anything is asked."""
    from agent.cli.begin import keys, table_prices
    from agent.types import Budget

    if most == Budget() and any(hasattr(rung.settings, "base_url") for rung in config.rung):
        common.say("no limit on money is set: goal.budget_usd or --budget sets one")
    for line in (*keys(config), *table_prices(config)):
        common.say(line)
    for rung in config.rung:
        if rung.shots and (config.person is None or config.goal.pilot == 0):
            common.say(
                f"rung {rung.name!r}: shots = {rung.shots} shows nothing: these examples are people's pilot answers, "
                "and this ladder asks nobody for any; examples of your own (task.examples) are shown all the same"
            )


def _reporter(common: Common, config: Config, progress: Progress) -> Callable[[Event], None]:
    """What is done with each event of the loop."""

    def report(event: Event) -> None:
        progress(event)
        if event.kind == "note":
            common.say(event.text)
        elif event.kind == "intake":
            _notes(common, config, event.numbers)

    return report


def _before(config: Config) -> dict[str, Any]:
    """Where earlier runs left off; empty when there were none."""
    from agent.cli.figures import opened
    from agent.report.standing import figures
    from agent.review import guide

    if "://" not in config.store_url and not Path(config.store_url).exists():
        return {}
    with opened(config) as store:
        guide.refuse_moved(store, config)
        return figures(config, store)


def _notes(common: Common, config: Config, numbers: Mapping[str, Any]) -> None:
    """What the pool that was taken in gives reason to say."""
    from agent.cli.begin import notes
    from agent.cli.figures import opened
    from agent.report.standing import pool_of

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


def _options(
    people: str | None, limits: Mapping[str, str | None], prices: Sequence[str], batch: str | None, reason: str
) -> dict[str, Any]:
    """What the next run must be told again: who answers for people, and limits and prices that stand in no file."""
    asked = "" if people is None else f" --people {shlex.quote(people)}"
    for name, value in limits.items():
        if value is not None:
            asked += f" --{name} MORE" if f"--{name})" in reason else f" --{name} {shlex.quote(value)}"
    asked += "".join(f" --price {shlex.quote(price)}" for price in prices)
    if batch in ("files", "submit") and "without --batch" not in reason:
        asked += " --batch" if batch == "files" else " --batch submit"
    return {"asked_by": asked} | ({} if people is None else {"recorded_people": people})


def _close(
    common: Common, config: Config, finished: Any, most: Budget, options: Mapping[str, Any], known: str | None
) -> None:
    """The summary and what to do next. `known`: the claim before this run; another one has still to be read."""
    from agent.cli.figures import opened, table
    from agent.report.standing import again, figures, next_steps

    with opened(config, common.flags) as store:
        found = figures(config, store, most)
        told = {**found, **options, "claim": found["claim"] if found["claim"] == known else None}
        files = [] if finished.code == INTERRUPTED else take_away(common, config, store)
    if finished.code == INTERRUPTED:
        steps = [again(told, common.flags)]
        common.say("interrupted; what was paid for is kept, the same command goes on from here")
    else:
        steps = next_steps(told, common.flags)
    body = {**found, "reason": finished.reason, "code": finished.code, "summary": dict(finished.summary), "next": steps}
    body["files"] = files
    text = table({**found, "stopped": None}) + "".join(f"\nwrote {file}" for file in files)
    common.show(body, f"{text}\nstopped: {finished.reason}\nnext: {', then '.join(steps)}")


def take_away(common: Common, config: Config, store: Store) -> list[str]:
    """The labels and the report as they stand, written into the run folder. What fails here has cost nobody a label."""
    from agent import data, export, report
    from agent.report.gather import gather
    from agent.report.standing import pool_of

    pool, labels = pool_of(config, store), config.folder / "labels.parquet"
    written: list[str] = []
    try:
        data.write(export.labels(config, store, pool), str(labels))
        written.append(str(labels))
        written += map(str, report.write(gather(config, store, pool), config.folder))
    except Exception as error:  # noqa: BLE001 - the labels are in the ledger; a page that fails must not hide the rest
        common.say(f"{explain(error)[1]}\nthe ledger is whole; try again with  tutelage export report{common.flags}")
    return written
