"""`tutelage review`: people answer the open questions, at this terminal or by a sheet. `agent.review` does the work."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

import click

from agent.cli import trips, web
from agent.cli.house import DONE, INTERRUPTED, Common, common
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.pool import Pool
    from agent.store import Store


@click.command()
@click.option("--export", "out", metavar="FILE", help="Write the open questions into a sheet, or for another tool.")
@click.option("--force", is_flag=True, help="With --export: overwrite a FILE that is there.")
@click.option("--import", "back", metavar="FILE", help="Read a sheet that was filled in, or what the tool wrote.")
@click.option(
    "--as", "form", type=click.Choice(trips.FORMS), help="Whose format FILE has: csv, or guessed with --import."
)
@click.option("--who", metavar="NAME", help="Who answers; the login name when not given.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N questions.")
@click.option("--pipe", is_flag=True, help="Take answers from a pipe or a file, a line each.")
@web.options
@common
def review(
    common: Common,
    out: str | None,
    force: bool,
    back: str | None,
    form: str | None,
    who: str | None,
    limit: int | None,
    pipe: bool,
) -> None:
    """Answer the questions that wait for people, one key a label.

    \b
    Example:
      tutelage review --who ada
      tutelage review --web
      tutelage review --export questions.csv
      tutelage review --import questions.csv --who ada
      tutelage review --export questions.json --as label-studio
    """
    from agent.cli.figures import opened
    from agent.report.standing import pool_of
    from agent.review import guide

    pages = web.where(click.get_current_context())
    if sum((bool(out), bool(back), pages.web)) > 1:
        raise UserError("give --export, --import or --web, not both")
    if form and not (out or back):
        raise UserError("--as goes with --export or --import: add one of them")
    if not pages.web and pages != web.Where():
        raise UserError("options of where pages are served (--host, --port and the like) go with --web: add it")
    config = common.config()
    name = who or _login()
    with opened(config, common.flags) as store:
        guide.refuse_moved(store, config)
        pool = pool_of(config, store)
        if pages.web:
            web.serve(common, config, store, pool, pages, name)
            return
        if out:
            code = trips.export(common, config, store, pool, out, form, force, lambda: _after(common, config, store))
        elif back:
            code = trips.take(common, config, store, pool, back, form, who, name)
        else:
            code = _sit(common, config, store, pool, name, limit, pipe)
    if code:
        click.get_current_context().exit(code)


def _sit(
    common: Common, config: Config, store: Store, pool: Pool, name: str, limit: int | None, pipe: bool
) -> int:  # fmt: skip
    from rich.console import Console

    from agent.claim import person_recipe
    from agent.review import terminal
    from agent.review.queue import number

    if not pipe and not (sys.stdin and sys.stdin.isatty()):
        raise UserError(
            "standard input is no terminal: nobody is there to read the questions. To answer by lines of a pipe or a "
            "file give --pipe; to answer in a spreadsheet use --export FILE and then --import FILE"
        )
    code = DONE
    try:
        answered = terminal.session(config, store, pool, name, limit, console=Console(stderr=common.as_json))
    except terminal.Interrupted as stopped:
        answered, code = stopped.answered, INTERRUPTED
    left = len([c for c in store.open_calls(annotator="person") if c.recipe == person_recipe(config)])
    more = f"tutelage review{common.flags}" if left else _after(common, config, store)
    words = f"{number(answered, 'answer')} saved, {number(left, 'open question')} left; next: {more}"
    common.show({"answered": answered, "left": left}, words)
    return code


def _after(common: Common, config: Config, store: Store) -> str:
    """What goes on with the answers: the run, or the certificate of the file they are about."""
    from agent.report.standing import certify_step, file_of

    file = file_of(config, store)
    return certify_step(file) if file else f"tutelage run{common.flags}"


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
