"""`tutelage guidelines`: what people read, its versions, and how it gets to machines. Knows only how that is shown."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.house import Common, common, many
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.store.guides import Guide


@click.group()
def guidelines() -> None:
    """Show the guidelines people read, their versions, and write them into tutelage.toml for machines.

    \b
    Example:
      tutelage guidelines show
      tutelage guidelines versions
      tutelage guidelines write
    """


@guidelines.command()
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="An older version.")
@common
def show(common: Common, version: int | None) -> None:
    """Print the guidelines in force: the text, the labels, the examples."""
    from agent.cli.figures import opened
    from agent.review import guide

    config = common.config()
    with opened(config, common.flags) as store:
        newest = guide.current(store, config)
        found = next((one for one in store.review.guides() if one.version == (version or newest.version)), None)
    if found is None:
        raise UserError(f"there is no version {version}; the newest is {newest.version}")
    body = {"version": found.version, "who": found.who, "text": guide.text(found), "labels": guide.labels(found)}
    body["examples"] = [{"text": o.text, "label": list(o.label), "why": o.why} for o in guide.samples(found)]
    common.show(body, f"version {found.version}, {_by(found)}\n\n" + "\n".join(guide.lines(found)))


@guidelines.command()
@common
def versions(common: Common) -> None:
    """Print who changed what, the newest last."""
    from agent.cli.figures import opened
    from agent.review import guide

    config = common.config()
    with opened(config, common.flags) as store:
        guide.current(store, config)
        every = store.review.guides()
    rows, lines = [], list[str]()
    for before, one in zip([None, *every[:-1]], every, strict=True):
        changed = [] if before is None else guide.difference(before, one)
        rows.append({"version": one.version, "who": one.who, "at": one.at, "changed": changed})
        lines += [f"version {one.version}, {_by(one)}", *(f"  {line}" for line in changed)]
    common.show({"versions": rows}, "\n".join(lines))


def _by(one: Guide) -> str:
    return f"by {one.who}, {datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M} UTC"


@guidelines.command()
@click.option("-y", "--yes", is_flag=True, help="Without being asked.")
@common
def write(common: Common, yes: bool) -> None:
    """Write the newest guidelines and their examples into tutelage.toml, for machines to read from now on.

    What machines answered was asked by the guidelines as they were: the next run asks it again. What people answered
    stands. Texts that measure how good machines are never become examples for them.
    """
    from agent.cli.figures import opened, refuse_file
    from agent.relabel import written
    from agent.report.standing import pool_of
    from agent.review import guide

    config = common.config()
    refuse_file(config)
    with opened(config, common.flags) as store:
        newest = guide.current(store, config)
        made = written.draft(Path(common.path), config, store, pool_of(config, store), newest)
        if made is None:
            common.show({"written": None}, f"{common.path} says what people read already: nothing was written")
            return
        cost = sum(usd for _, usd in made.stale.values())
        stale = [f"{many(count, 'answer')} of {name}" for name, (count, _) in made.stale.items()]
        common.say(
            f"version {newest.version} goes into {', '.join(path.name for path in made.texts)}, with "
            f"{many(made.added, 'new example')}"
            + (f" ({many(made.kept, 'example')} for people only)" if made.kept else "")
            + (f"; {' and '.join(stale)} become stale, and asking again costs about ${cost:.2f}" if stale else "")
            + "; what people answered stands"
        )
        if not yes and not _agreed():
            raise UserError("nothing was written; to write it without being asked give --yes")
        kept = written.write(made)
        guide.noted(store, common.config())
    files = [str(path) for path in made.texts]
    as_was = ", ".join(path.name for path in kept)
    body = {"written": newest.version, "files": files, "examples": made.added, "stale": dict(made.stale)}
    common.show(body, f"wrote {', '.join(files)}; as it was it stands in {as_was}\nnext: tutelage run{common.flags}")


def _agreed() -> bool:
    if not (sys.stdin and sys.stdin.isatty()):
        return False
    return click.confirm("write it?", default=False, err=True)
