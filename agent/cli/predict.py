"""`tutelage predict`: labels new rows with the saved student alone. Needs no ledger, no network and nobody to ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.house import Common, common, many
from agent.errors import Damaged, DataError

if TYPE_CHECKING:
    from agent.data import Source
    from agent.types import Kind, Task

SHOWN = 10
"""How many of the rows that cannot be labeled are named; the rest are counted."""


@click.command()
@click.argument("file", default="-")
@click.option("--model", metavar="FOLDER", help="The model's folder; that of the configuration's run when not given.")
@click.option("--text", multiple=True, metavar="COLUMN", help="A column with text; give it again for more.")
@click.option("--id", "own", metavar="COLUMN", help="A column whose values are repeated in the output.")
@click.option("--abstain", type=click.FloatRange(0, 1), metavar="BAR", help="No label below this probability.")
@common
def predict(
    common: Common, file: str, model: str | None, text: tuple[str, ...], own: str | None, abstain: float | None
) -> None:
    """Label the rows of FILE (or of standard input) with the student; JSON lines go to stdout.

    Each line has the row's number, the label and its probability as the student sees it. With --abstain, a label below
    the bar is null and the guess stands beside it.

    \b
    Example:
      tutelage predict new.csv > labels.jsonl
      cat lines.txt | tutelage predict --model my-model --abstain 0.8
    """
    from agent import data, teach

    columns = text
    if model is None:
        config = common.config()
        model = str(config.folder / "model")
        columns = text or (config.pool.text if file != "-" else ())
        if not Path(model).is_dir():
            raise DataError(f"{model} is not there: a student is saved when it has learned; tutelage run{common.flags}")
    student = _student(model)
    if strangers := teach.kept_out(Path(model)):
        common.say(f"this student learned nothing from {', '.join(strangers)} (may_train_student = false)")
    aside = 0
    for row in _rows(data.Source(file, text=columns, id=own, unique=False, given=True), student, abstain):
        if isinstance(row, str):
            aside += 1
            if aside <= SHOWN:
                common.say(f"not labeled: {row}")
            continue
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if aside > SHOWN:
        common.say(f"not labeled: {many(aside - SHOWN, 'more row')}")


def _student(folder: str) -> Any:
    """The saved student, opened by the plug-in that made it."""
    from agent import plugins

    card = Path(folder) / "student.json"
    try:
        name = json.loads(card.read_text(encoding="utf-8"))["student"]
    except FileNotFoundError:
        raise DataError(f"{folder} holds no model (student.json is not there): name another folder") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise Damaged(f"{card} cannot be read as a model's card: copy the model again") from None
    return plugins.load("students", str(name)).load_from(folder)


def _kind(student: Any) -> tuple[Task, Kind]:
    """What kind of label the student's columns stand for: yes or no to each label, or one of them."""
    from agent import plugins
    from agent.types import Task

    layout, labels = student.layout, student.labels
    several = all(c == ("no", "yes") and a in labels for a, c in zip(layout.atoms, layout.choices, strict=True))
    name = "multi" if several else "single"
    return Task("", name, labels), plugins.load("kinds", name)


def _rows(source: Source, student: Any, abstain: float | None) -> Iterator[dict[str, Any] | str]:
    """Each row as a JSON object, or the words why it cannot be labeled."""
    from agent import data

    task, kind = _kind(student)
    for batch in data.read(source):
        entries = [row for row in batch if isinstance(row, data.Entry)]
        yield from (f"{r.file}, row {r.row}: {r.reason}" for r in batch if not isinstance(r, data.Entry))
        if not entries:
            continue
        said = student.predict(student.features([entry.item for entry in entries]))
        for entry, row in zip(entries, said, strict=True):
            value = kind.value(task, student.layout.best(row))
            sure = 1.0
            for atom in student.layout.slices:
                sure *= float(row[atom].max())
            label = list(value) if isinstance(value, tuple) else value
            out: dict[str, Any] = {"row": entry.row, "label": label, "probability": round(sure, 6)}
            if entry.item.name is not None:
                out = {"id": entry.item.name, **out}
            if abstain is not None and sure < abstain:
                out |= {"label": None, "guess": label}
            yield out
