"""`tutelage predict`: labels new rows with the saved student alone. Needs no ledger, no network and nobody to ask."""

from __future__ import annotations

import glob
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import Common, common, many
from agent.cli.strange import Strangest, watch
from agent.cli.tempo import Tempo
from agent.errors import DataError, UserError

if TYPE_CHECKING:
    from agent.data import Entry, Row, Source
    from agent.serve import Labeled, Saved

SHOWN = 10
"""How many of the rows that cannot be labeled are named; the rest are counted."""
BATCH = 1_024
OURS = ("id", "file", "row", "label", "probability", "guess", "probabilities")


@dataclass
class Way:
    """How rows are labeled and told. where: the rows come from several files, so each says from which. renamed: columns
    that are kept and would have a name of ours."""

    saved: Saved
    bar: float | None
    proba: bool
    where: bool
    strangest: Strangest | None
    renamed: Mapping[str, str]
    labeled: int = 0
    abstained: int = 0
    aside: int = 0


@click.command()
@click.argument("file", default="-")
@click.option("--model", metavar="FOLDER", help="The model's folder; that of the configuration's run when not given.")
@click.option("--text", multiple=True, metavar="COLUMN", help="A column with text; give it again for more.")
@click.option("--id", "own", metavar="COLUMN", help="A column whose values are repeated in the output.")
@click.option("--keep", multiple=True, metavar="COLUMN", help="Another column to repeat; give it again for more.")
@click.option("--abstain", metavar="BAR", help="No label below this probability; certified: the certificate's bar.")
@click.option("--proba", is_flag=True, help="The probability of every label, too.")
@click.option("--out", metavar="FILE", help="Write .csv, .jsonl or .parquet instead of stdout, whole or not at all.")
@click.option("--drift", is_flag=True, help="Say at the end whether the rows are still like those it was trained for.")
@click.option("--review", metavar="FILE", help="Look for drift, and write the 50 strangest rows for people to see.")
@click.option("--force", is_flag=True, help="With --review: overwrite a FILE that is there.")
@common
def predict(
    common: Common,
    file: str,
    model: str | None,
    text: tuple[str, ...],
    own: str | None,
    keep: tuple[str, ...],
    abstain: str | None,
    proba: bool,
    out: str | None,
    drift: bool,
    review: str | None,
    force: bool,
) -> None:
    """Label the rows of FILE (or of standard input) with the student; JSON lines go to stdout.

    Each line has the row's number, the label and its probability as the student sees it. With --abstain, a label below
    the bar is null and the guess stands beside it. Lines of a pipe are answered as they come.

    \b
    Example:
      tutelage predict new.csv > labels.jsonl
      tutelage predict new.parquet --id key --out labels.parquet --drift --review strange.jsonl
      tail -f log.txt | tutelage predict --model my-model --abstain 0.8
    """
    from agent import data, serve

    folder, columns = _model(common, model, file, text)
    if review and Path(review).exists() and not force:
        raise UserError(f"{review} is there already, and people may have written into it: name another, or --force")
    renamed = {name: f"given_{name}" for name in keep if name in OURS}
    if taken := sorted(set(keep) & set(renamed.values())):
        raise UserError(f"--keep {taken[0]}: the output has a column of that name already; rename it in {file}")
    saved = serve.Saved(folder)
    _told_of_teachers(common, folder)
    strangest = watch(saved, 50 if review else 0, file == "-") if drift or review else None
    where = file != "-" and (Path(file).is_dir() or glob.has_magic(file))
    way = Way(saved, saved.bar(abstain), proba, where, strangest, renamed)
    source = data.Source(file, text=columns, id=own, unique=False, given=True, keep=keep)
    rows = _rows(common, source, way)
    if out is None:
        for batch in rows:
            sys.stdout.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in batch))
            sys.stdout.flush()
    else:
        flat = not out.casefold().endswith((".jsonl", ".ndjson"))
        heads = _heads(way, own, keep, flat)
        made = (([_flat(row) for row in batch] if flat else batch) for batch in rows)
        data.write_rows(heads, made, out, ("label", "guess") if saved.many else ())
    named = [f" --model {shlex.quote(model)}" if model else common.flags, *(f" --text {shlex.quote(t)}" for t in text)]
    _ended(common, way, shlex.quote(file) + "".join(named), out, review)


def _model(common: Common, model: str | None, file: str, text: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The model's folder, and the columns with text."""
    if model is not None:
        return model, text
    config = common.config()
    folder = str(config.folder / "model")
    if not Path(folder).is_dir():
        raise DataError(
            f"{folder} is not there: a student is saved when it has learned; first  tutelage run{common.flags}"
        )
    return folder, text or (config.pool.text if file != "-" else ())


def _told_of_teachers(common: Common, folder: str) -> None:
    from agent import teach

    if strangers := teach.kept_out(Path(folder)):
        common.say(f"this student learned nothing from {', '.join(strangers)} (may_train_student = false)")


def _rows(common: Common, source: Source, way: Way) -> Iterator[list[dict[str, Any]]]:
    """Batches of labeled rows; those that cannot be labeled are named on stderr, and the rest goes on."""
    from agent import data

    piped = source.path == "-"
    tempo = Tempo(common, source.path)
    for batch in data.live(source, sys.stdin.buffer) if piped else data.read(source):
        for start in range(0, len(batch), BATCH):
            made = _labeled(common, batch[start : start + BATCH], way)
            if made:
                yield made
            tempo.reached(way.labeled, batch[min(start + BATCH, len(batch)) - 1].row)
    tempo.end()
    if not way.labeled:
        raise DataError(f"not one of {many(way.aside, 'row')} could be labeled; mend them as said above")


def _labeled(common: Common, batch: Sequence[Row], way: Way) -> list[dict[str, Any]]:
    from agent import data

    entries = [row for row in batch if isinstance(row, data.Entry)]
    for row in batch:
        if not isinstance(row, data.Entry):
            way.aside += 1
            if way.aside <= SHOWN:
                common.say(f"not labeled: {row.file}, row {row.row}: {row.reason}")
    if not entries:
        return []
    labeled = way.saved.label([entry.item for entry in entries])
    if way.strangest is not None:
        way.strangest.hear(entries, labeled)
    way.labeled += len(entries)
    return _told(entries, labeled, way)


def _told(entries: Sequence[Entry], labeled: Labeled, way: Way) -> list[dict[str, Any]]:
    """What is said of each row."""
    chances = way.saved.chances(labeled.said).tolist() if way.proba else ()
    rows: list[dict[str, Any]] = []
    for i, (entry, label, sure) in enumerate(zip(entries, labeled.labels, labeled.sure.tolist(), strict=True)):
        row: dict[str, Any] = {"id": entry.item.name} if entry.item.name is not None else {}
        row |= {way.renamed.get(name, name): value for name, value in entry.kept.items()}
        if way.where:
            row["file"] = entry.file
        row |= {"row": entry.row, "label": label, "probability": round(sure, 6)}
        if way.bar is not None and sure < way.bar:
            way.abstained += 1
            row |= {"label": None, "guess": label}
        if way.proba:
            row["probabilities"] = {n: round(p, 6) for n, p in zip(way.saved.names, chances[i], strict=True)}
        rows.append(row)
    return rows


def _heads(way: Way, own: str | None, keep: Sequence[str], flat: bool) -> list[str]:
    """The columns of a file."""
    heads = [
        *(["id"] if own is not None else []),
        *[way.renamed.get(name, name) for name in keep],
        *(["file"] if way.where else []),
    ]
    heads += ["row", "label", "probability", *(["guess"] if way.bar is not None else [])]
    if way.proba:
        heads += [f"p_{name}" for name in way.saved.names] if flat else ["probabilities"]
    if len(set(heads)) < len(heads):
        twice = next(head for head in heads if heads.count(head) > 1)
        raise UserError(f"two columns would be called {twice!r}: leave --keep {twice} out, or write .jsonl")
    return heads


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    chances = row.pop("probabilities", {})
    return row | {f"p_{name}": p for name, p in chances.items()}


def _ended(common: Common, way: Way, again: str, out: str | None, review: str | None) -> None:
    if way.aside > SHOWN:
        common.say(f"not labeled: {many(way.aside - SHOWN, 'more row')}")
    body: dict[str, Any] = {"rows": way.labeled, "not_labeled": way.aside, "abstained": way.abstained}
    if way.strangest is not None:
        body["drift"] = way.strangest.found
        common.say(way.strangest.words(again))
        if review:
            body["review"] = {"path": review, "rows": way.strangest.write(review)}
            common.say(
                f"{review}: the {body['review']['rows']} strangest rows; add what matters to the pool and run again"
            )
    if out is not None:
        below = f", {many(way.abstained, 'of them', 'of them')} below the bar" if way.bar is not None else ""
        left = f"; {many(way.aside, 'row')} not labeled" if way.aside else ""
        common.show(body | {"path": out}, f"{out}: {many(way.labeled, 'row')} labeled{below}{left}")
