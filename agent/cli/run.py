"""`tutelage run`: starts the loop, shows how it goes, says why it stopped. All thinking is the loop's."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import INTERRUPTED, Common, common
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.config import Config


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
    from agent.cli.progress import Progress

    config = common.config()
    dollars = _budget(budget)
    cap = config.goal.budget_usd if budget is None else dollars
    if cap is None and any(rung.oracle not in (None, "person") for rung in config.rung):
        common.say("no limit on money: set goal.budget_usd, or --budget")
    _terminate_in_order()
    with Progress(cap, _spent(config), common.quiet) as progress:
        finished = loop.run(
            config,
            people=people,
            limit=limit,
            budget=loop.Unset if budget is None else dollars,
            offline=offline,
            report=progress,
        )
    _close(common, config, finished)
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


def _spent(config: Config) -> float:
    """What earlier runs spent."""
    from agent.cli.figures import opened

    try:
        with opened(config) as store:
            return store.spend().usd
    except UserError:
        return 0.0


def _terminate_in_order() -> None:
    """`kill` asks for the same end in order as Ctrl-C."""

    def pass_on(number: int, frame: Any) -> None:
        del number, frame
        signal.raise_signal(signal.SIGINT)

    try:
        signal.signal(signal.SIGTERM, pass_on)
    except ValueError:
        pass  # not the main thread: whoever started us handles the signal


def _close(common: Common, config: Config, finished: Any) -> None:
    """The summary and what to do next."""
    from agent.cli.figures import figures, next_steps, opened, table

    with opened(config, common.flags) as store:
        found = figures(config, store)
    if finished.code == INTERRUPTED:
        steps = [f"tutelage run{common.flags}"]
        common.say("interrupted; what was paid for is kept, the same command goes on from here")
    else:
        steps = next_steps(found, common.flags)
    body = {**found, "reason": finished.reason, "code": finished.code, "summary": dict(finished.summary), "next": steps}
    text = table({**found, "stopped": None})
    common.show(body, f"{text}\nstopped: {finished.reason}\nnext: {', then '.join(steps)}")
