"""`tutelage labels`: rename, merge, split or add labels and keep what was answered. `agent.relabel` does the work."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agent.cli.house import Common, common, many
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.relabel import Change, Told
    from agent.types import Task

F = TypeVar("F", bound=Callable[..., Any])


def changing(verb: F) -> F:
    """The options of every verb that changes labels."""
    for option in (
        click.option("--describe", multiple=True, metavar="LABEL=TEXT", help="What a label means, as in billing=…"),
        click.option("--dry-run", is_flag=True, help="Only say what would be carried and what asked again."),
        click.option("--now", is_flag=True, help="Although somebody has a question in hand."),
    ):
        verb = option(verb)
    return verb


@click.group()
def labels() -> None:
    """Rename, merge, split or add labels: only what the change touches is asked again.

    tutelage.toml is edited (comments stay, the file as it was is kept beside it), and what people and machines answered
    is carried over in the ledger, under new keys and at no cost. What was answered stays there under the old labels.

    \b
    Example:
      tutelage labels rename refund refunds
      tutelage labels merge crash bug --into fault
      tutelage labels split billing --into invoice payment
      tutelage labels add spam --like other
    """


@labels.command()
@click.argument("old")
@click.argument("new")
@changing
@common
def rename(common: Common, old: str, new: str, describe: tuple[str, ...], dry_run: bool, now: bool) -> None:
    """Give a label another name. Nothing is asked again."""
    from agent import relabel

    _change(common, lambda task, said: relabel.rename(task, old, new, said), describe, dry_run, now)


@labels.command()
@click.argument("old", nargs=-1, required=True, metavar="LABEL LABEL...")
@click.option("--into", required=True, metavar="LABEL", help="The one label; it may be one of those that are merged.")
@changing
@common
def merge(
    common: Common, old: tuple[str, ...], into: str, describe: tuple[str, ...], dry_run: bool, now: bool
) -> None:  # fmt: skip
    """Make one label of several. Nothing is asked again: their answers, and machines' probabilities, are summed."""
    from agent import relabel

    _change(common, lambda task, said: relabel.merge(task, old, into, said), describe, dry_run, now)


@labels.command()
@click.argument("old", nargs=-1, required=True, metavar="LABEL")
@click.option("--into", required=True, multiple=True, metavar="PART PART...", help="The labels it becomes.")
@changing
@common
def split(
    common: Common, old: tuple[str, ...], into: tuple[str, ...], describe: tuple[str, ...], dry_run: bool, now: bool
) -> None:
    """Make several labels of one. What bears it is asked again, of people in the stream it was drawn for."""
    from agent import relabel

    _change(common, lambda task, said: relabel.split(task, old[0], [*into, *old[1:]], said), describe, dry_run, now)


@labels.command()
@click.argument("new", nargs=-1, required=True, metavar="LABEL")
@click.option("--like", multiple=True, metavar="LABEL...", help="Labels whose items may bear the new one.")
@changing
@common
def add(
    common: Common, new: tuple[str, ...], like: tuple[str, ...], describe: tuple[str, ...], dry_run: bool, now: bool
) -> None:
    """Add a label. Asked again is what nobody could tell and, with --like, what bears one of those labels."""
    from agent import relabel

    if new[1:] and not like:
        raise UserError("one label at a time: tutelage labels add LABEL [--like LABEL...]")
    _change(common, lambda task, said: relabel.add(task, new[0], [*like, *new[1:]], said), describe, dry_run, now)


@labels.command()
@common
def finish(common: Common) -> None:
    """Do what a change that was cut off left undone, and carry what was answered under the old labels since."""
    from agent import relabel
    from agent.cli.figures import opened

    config = common.config()
    with opened(config, common.flags):
        pass  # there is a run
    told = relabel.finish(Path(common.path), config, common.overrides)
    if told is None:
        common.show({"changed": None}, "the ledger and tutelage.toml have the same labels: there is nothing to finish")
    else:
        _show(common, told, False)


@labels.command("list")
@common
def listed(common: Common) -> None:
    """Show the labels, how often each stands, and how they have changed."""
    from agent.config import the_task
    from agent.store import Store

    config = common.config()
    task, counts, changes = the_task(config), Counter[str](), list[str]()
    if "://" in config.store_url or Path(config.store_url).exists():
        with Store.open(config.store_url) as store:
            for value in store.decisions().values:
                counts.update([value] if isinstance(value, str) else value or ())
            changes = [one.body["words"] for one in store.review.relabels()]
    rows = [{"label": name, "description": text, "items": counts[name]} for name, text in task.labels.items()]
    lines = [f"{row['label']}  ({many(int(str(row['items'])), 'item')})  {row['description']}".rstrip() for row in rows]
    common.show({"labels": rows, "changes": changes}, "\n".join([*lines, *(f"changed: {one}" for one in changes)]))


def _change(
    common: Common, make: Callable[[Task, Mapping[str, str]], Change], describe: Sequence[str], dry_run: bool, now: bool
) -> None:
    from agent import relabel
    from agent.cli.figures import refuse_file
    from agent.config import the_task
    from agent.relabel.carry import free
    from agent.store import Store

    config = common.config()
    refuse_file(config)
    there = "://" in config.store_url or Path(config.store_url).exists()
    if there:
        with Store.open(config.store_url) as store:
            cut_off = relabel.unfinished(config, store)
            if not now and not dry_run:
                free(config, store)
        change = make(the_task(config), _said(describe))
        if cut_off is not None and cut_off.body["words"] != change.words:
            raise UserError(f"{cut_off.body['words']} was cut off: first give  tutelage labels finish{common.flags}")
    else:
        change = make(the_task(config), _said(describe))
    _show(common, relabel.relabel(Path(common.path), config, change, common.overrides, dry_run), dry_run)


def _said(describe: Sequence[str]) -> dict[str, str]:
    out = {}
    for one in describe:
        name, equals, text = one.partition("=")
        if not equals:
            raise UserError(f"--describe {one}: write it as LABEL=TEXT, as in --describe 'billing=charges, invoices'")
        out[name.strip()] = text.strip()
    return out


def _show(common: Common, told: Told, dry_run: bool) -> None:
    again = sum(told.people.again.values())
    lines = [f"{told.words}{' (only tried out)' if dry_run else ''}"]
    lines.append(
        f"people: {many(told.people.carried, 'answer')} carried, {many(told.people.open, 'open question')} go along, "
        + (f"{many(again, 'question')} put again" if again else "nothing is asked again")
    )
    for name, found in told.machines.items():
        asked = f"{many(found.again, 'item')} to be asked again" if found.again else "nothing is asked again"
        line = f"{name}: answers about {many(found.items, 'item')} carried, {asked}"
        lines.append(f"{name}: all is asked again, for {found.why}" if found.why and not found.items else line)
    lines += told.lost
    if told.audited and not told.words.startswith("rename"):
        lines.append(
            f"{many(told.audited, 'answer')} of the audit were in when the labels were changed: a certificate from now "
            "on is about all labels, and its terms say so"
        )
    if told.kept is not None:
        lines.append(f"{common.path} is changed; as it was it stands in {told.kept.name}")
        lines.append(f"next: {shlex.join(['tutelage', 'run'])}{common.flags}")
    body = dataclasses.asdict(told)
    # How many of them are the audit's would tell what was answered there, before a look and for nothing.
    body["people"]["again"] = again
    for one in body["machines"].values():
        del one["recipes"]
    common.show({"changed": told.words, **body}, "\n".join(lines))
