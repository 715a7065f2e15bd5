"""`tutelage review`: people answer the open questions, at this terminal or by a sheet. `agent.review` does the work."""

from __future__ import annotations

import dataclasses
import getpass
from typing import Any

import click

from agent.cli.house import Common, common
from agent.errors import UserError


@click.command()
@click.option("--export", "out", metavar="FILE", help="Write the open questions into a sheet (.csv).")
@click.option("--import", "back", metavar="FILE", help="Read a sheet that was filled in.")
@click.option("--who", metavar="NAME", help="Who answers; the login name when not given.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N questions.")
@common
def review(common: Common, out: str | None, back: str | None, who: str | None, limit: int | None) -> None:
    """Answer the questions that wait for people, one key a label.

    \b
    Example:
      tutelage review --who ada
      tutelage review --export questions.csv
      tutelage review --import questions.csv --who ada
    """
    from rich.console import Console

    from agent.claim import person_recipe
    from agent.cli.figures import opened, pool_of
    from agent.review import sheet, terminal

    if out and back:
        raise UserError("give --export or --import, not both")
    config = common.config()
    name = who or _login()
    flags = common.flags
    with opened(config, flags) as store:
        pool = pool_of(config, store)
        if out:
            count = sheet.export(config, store, pool, out)
            common.show({"wrote": out, "questions": count}, f"{count:,} questions in {out}; fill in the column and "
                        f"give it back with  tutelage review --import {out}{flags}")  # fmt: skip
        elif back:
            report = sheet.take(config, store, pool, back, name)
            common.show(_body(report), str(report) if type(report).__str__ is not object.__str__ else _lines(report))
        else:
            answered = terminal.session(config, store, pool, name, limit, console=Console(stderr=common.as_json))
            left = len([c for c in store.open_calls(annotator="person") if c.recipe == person_recipe(config)])
            more = f"tutelage review{flags}" if left else f"tutelage run{flags}"
            common.show({"answered": answered, "left": left}, f"{answered:,} answered, {left:,} left; next: {more}")


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def _body(report: Any) -> dict[str, Any]:
    return dataclasses.asdict(report) if dataclasses.is_dataclass(report) else {"report": str(report)}  # type: ignore[arg-type]


def _lines(report: Any) -> str:
    return "\n".join(f"{key.replace('_', ' ')}: {value}" for key, value in _body(report).items())
