"""`tutelage init`: a commented tutelage.toml beside a pool file. Guesses, and overwrites nothing unasked."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.house import Common, common, many
from agent.errors import ConfigError, UserError

if TYPE_CHECKING:
    from agent.cli.peek import Guess

SHOWN = 12
"""Labels that are told by name."""

TEMPLATE = """\
# What to label, how good it must be, and who is asked. `tutelage doctor` checks this file, `tutelage plan` shows
# what a run would do, `tutelage run` does it. Paths start from the folder this file stands in.

[task]
{kind}
question = {question}
# guidelines = "guidelines.md"     # a file with the rules, or the rules themselves

[task.labels]                      # name = "what it means"; a machine and a person are shown both
{labels}

[pool]
path = {path}
{text}
{own}
{gold}

[goal]
accuracy = 0.95                    # share of the labels that must be right, measured against people
delta = 0.05                       # the risk that the claim is wrong
# budget_usd = 25                  # the most that paid machines may cost; without it there is no limit
person_minutes = 60                # the time people give; a part of it goes to random checks that measure

# The ladder: who is asked first comes first. An item climbs until somebody is sure enough.

[[rung]]
student = "linear"                 # learns on this machine from what the others answer; asks nobody

[[rung]]
oracle = "small"                   # a small language model on this machine

# [[rung]]
# oracle = "openai"                # any server that speaks OpenAI's chat protocol
# name = "large"
# model = "…"                      # the model's name on that server
# base_url = "http://127.0.0.1:8000/v1"
# usd_per_mtok_in = 0.5            # prices per million tokens, so that the budget can be kept
# usd_per_mtok_out = 1.5
# api_key_env = "MY_KEY"           # the NAME of the environment variable; the key itself never stands here

[[rung]]
oracle = "person"                  # people, who answer by `tutelage review`
seconds = 8                        # the time one answer is assumed to take
{people}

[run]
seed = 0
"""


@click.command()
@click.argument("file", required=False)
@click.option("--labels", metavar="A,B,C", help="The labels, when the file holds no known ones.")
@click.option("--text", multiple=True, metavar="COLUMN", help="A column with text; give it again for more.")
@click.option("--id", "own", metavar="COLUMN", help="The column with your own ids.")
@click.option("--gold", metavar="COLUMN", help="The column with known labels.")
@click.option("--multi", is_flag=True, help="An item may have any number of labels.")
@click.option("--example", is_flag=True, help="Write tickets.csv, 600 made-up support tickets, and take that.")
@click.option("--force", is_flag=True, help="Overwrite a tutelage.toml that is there.")
@common
def init(
    common: Common,
    file: str | None,
    labels: str | None,
    text: tuple[str, ...],
    own: str | None,
    gold: str | None,
    multi: bool,
    example: bool,
    force: bool,
) -> None:
    """Write a tutelage.toml next to the pool FILE (CSV, JSONL, Parquet, lines of text).

    Looks at the file, finds the text, the ids and known labels, and writes what it found for you to correct.

    \b
    Example:
      tutelage init tickets.csv
      tutelage init tickets.parquet --text title --text body --labels billing,technical,other
      tutelage init --example
    """
    from agent.cli.peek import peek

    meant: Mapping[str, str] = {}
    if example:
        if file or labels:
            raise UserError("--example brings a file and labels of its own: leave out FILE and --labels")
        file, meant = _example(common, force)
        labels = ",".join(meant)
    pool = file or _only_file()
    target = Path(common.path) if common.given else _folder(pool) / "tutelage.toml"
    if target.exists() and not force:
        raise UserError(f"{target} is there already; correct it, or write a new one with --force")
    guess = peek(pool, text, own, gold)
    kind = "multi" if multi or guess.several else "single"
    found = _look(pool, guess, kind)
    rows, aside = found.items, found.aside
    names = _asked(labels) if labels else list(found.labels) or _from_terminal(pool)
    written = _filled(guess, kind, {name: meant.get(name, "") for name in names}, pool, target, found.repeats)
    _check(written, target, pool, bool(labels))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(written, encoding="utf-8")
    flags = "" if target == Path("tutelage.toml") else f" -c {shlex.quote(str(target))}"
    for note in [*guess.notes, *_odd(found, names)]:
        common.say(f"note: {note}")
    gold_words = f", known labels from {guess.gold!r}" if guess.gold else ""
    columns = " and ".join(map(repr, guess.text))
    summary = f"wrote {target}: {many(rows, 'item')}, text from {columns}{gold_words}, {_named(names)}"
    if aside:
        summary += f"\n{many(aside, 'row')} cannot become items; `tutelage doctor{flags}` says why"
    body = {"wrote": str(target), "items": rows, "set_aside": aside, "text": guess.text, "id": guess.id}
    body |= {"gold": guess.gold, "kind": kind, "labels": names, "next": f"tutelage doctor{flags}"}
    common.show(body, f"{summary}\nnext: correct it where it is wrong, then  tutelage doctor{flags}")


def _example(common: Common, force: bool) -> tuple[str, Mapping[str, str]]:
    """Write the example's pool; its file, and its labels with what they mean."""
    from agent.cli import example

    target = Path(common.path) if common.given else Path("tutelage.toml")
    if target.exists() and not force:
        raise UserError(f"{target} is there already: try the example in an empty folder")
    return str(example.write(Path(), force)), example.labels()


def _named(names: Sequence[str]) -> str:
    """The labels, those that fit a line."""
    more = " … (all in [task.labels])" if len(names) > SHOWN else ""
    return f"{many(len(names), 'label')}: {', '.join(names[:SHOWN])}{more}"


def _only_file() -> str:
    """The one pool file of this folder."""
    from agent.data.source import SUFFIXES

    here = sorted(p.name for p in Path().iterdir() if p.is_file() and p.suffix.casefold() in SUFFIXES)
    if len(here) != 1:
        found = f"this folder holds {', '.join(here[:8])}" if here else "this folder holds no data file"
        raise UserError(f"which file is the pool? {found}: write  tutelage init FILE")
    return here[0]


def _folder(pool: str) -> Path:
    """Where the configuration goes: beside the pool's file, or here for a data set of a hub."""
    if pool.startswith("hf:") or pool == "-":
        return Path()
    path = Path(pool).expanduser()
    return path if path.is_dir() else path.parent


@dataclass
class Found:
    """What the whole file holds. `labels`: known ones with their counts, commonest first; `repeats`: rows whose id was
    used before, which are among those set aside."""

    labels: dict[str, int]
    items: int
    aside: int
    repeats: int


def _look(pool: str, guess: Guess, kind: str) -> Found:
    from agent import data

    source = data.Source(pool, text=guess.text, id=guess.id, gold=guess.gold, kind=kind, given=True)
    counts: Counter[str] = Counter()
    items = aside = repeats = 0
    for batch in data.read(source):
        for row in batch:
            if not isinstance(row, data.Entry):
                aside += 1
                repeats += data.REPEATED in row.reason
                continue
            items += 1
            value = row.item.gold
            counts.update(() if value is None else (value,) if isinstance(value, str) else value)
    return Found(dict(counts.most_common()), items, aside, repeats)


def _odd(found: Found, names: Sequence[str]) -> list[str]:
    """Known labels that were not named with --labels."""
    odd = [f"{name!r} ({count:,})" for name, count in found.labels.items() if name not in names]
    more = f" and {len(odd) - 5:,} more" if len(odd) > 5 else ""
    return [f"known labels that are not among --labels: {', '.join(odd[:5])}{more}"] if odd else []


def _asked(labels: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in labels.split(",") if name.strip()))


def _from_terminal(pool: str) -> list[str]:
    if not sys.stdin.isatty():
        raise UserError(
            f"{pool} holds no known labels: name them, as in --labels billing,technical,other, "
            "or the column that holds them with --gold"
        )
    return _asked(click.prompt("The labels, separated by commas", err=True))


def _toml(value: str | list[str]) -> str:
    """A TOML string or list; JSON's escapes are TOML's, but DEL must be escaped too."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _filled(guess: Guess, kind: str, names: Mapping[str, str], pool: str, target: Path, repeats: int) -> str:
    """The template with what was found."""
    local = not pool.startswith(("hf:", "~")) and pool != "-"
    path = Path(os.path.relpath(pool, target.parent)).as_posix() if local else pool
    text = _toml(guess.text[0]) if len(guess.text) == 1 else _toml(list(guess.text))
    gold = '# gold = "…"' if guess.gold is None else f"gold = {_toml(guess.gold)}"
    people = '# people = "votes.csv"' if guess.gold is None else '# people = "gold"'
    instead = "columns id, annotator, label" if guess.gold is None else "to try it out: the gold column"
    ids = "the column with your own ids"
    if repeats:
        ids += f"; {many(repeats, 'row')} {'repeats' if repeats == 1 else 'repeat'} an id and will be set aside"
    return TEMPLATE.format(
        kind=_line(f"kind = {_toml(kind)}", '"single": one label an item; "multi": any number of them'),
        question=_toml("Which of the labels fit this text?" if kind == "multi" else "Which label fits this text best?"),
        labels="\n".join(f"{_toml(name)} = {_toml(means)}" for name, means in names.items()),
        path=_toml(path),
        text=_line(f"text = {text}", "the column, or columns, that are shown"),
        own=_line(f"id = {_toml(guess.id)}" if guess.id else '# id = "…"', ids),
        gold=_line(gold, "the column with known labels; never shown to anybody who is asked"),
        people=_line(people, f"recorded answers in place of people at a screen: {instead}"),
    )


def _line(code: str, comment: str) -> str:
    return f"{code:<34} # {comment}"


def _check(written: str, target: Path, pool: str, asked: bool) -> None:
    """What we write must be what we read; a label that cannot be one is said before the file is there."""
    from agent import config

    blamed = "--labels" if asked else pool
    try:
        config.parse(written, blamed, target.resolve().parent)
    except ConfigError as error:
        column = "" if asked else "; correct the file, name another column with --gold, or the labels with --labels"
        raise UserError("\n".join(f"{line}{column}" for line in str(error).splitlines())) from None
