"""Prodigy: open questions as tasks of its `choice` interface, what `db-out` writes as answers.

Knows its formats by its public documents (https://prodi.gy/docs/api-interfaces#choice, /docs/api-web-app); it is sold,
and was not tried. Knows no ledger.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent import data
from agent.config import Config
from agent.review.trips import questions, words
from agent.review.trips.loose import fields, number, strings, text
from agent.review.trips.match import Told
from agent.review.trips.questions import Asked
from agent.types import Task

TOOL = "Prodigy"
KEY, ID, SHOWN = "tutelage_key", "tutelage_id", "tutelage_shown"
NAMELESS = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")
"""What a session is called that names nobody: when it began."""


def export(config: Config, task: Task, asked: Sequence[Asked], path: str) -> str:
    """Write the tasks to `path` (.jsonl).

    Returns: what to do with them, in a few lines.
    Raises:
        UserError: another ending. DataError: the place cannot be written.
    """
    if path != "-":
        questions.ending(path, ".jsonl", TOOL)
    options = [{"id": label, "text": label} for label in task.labels]
    options.append({"id": words.sign(task), "text": words.spoken(task)})
    style = "single" if task.kind == "single" else "multiple"
    table: dict[str, list[Any]] = {
        "text": [question.item.text for question in asked],
        "options": [options] * len(asked),
        "config": [{"choice_style": style}] * len(asked),
        KEY: [question.key for question in asked],
        ID: [question.item.name or "" for question in asked],
    }
    if any(question.guess is not None for question in asked):
        table |= {
            "accept": [list(questions.names(question)) for question in asked],
            SHOWN: [None if question.guess is None else list(questions.names(question)) for question in asked],
        }
    data.write(table, path, "jsonl")
    override = "" if style == "single" else 'PRODIGY_CONFIG_OVERRIDES=\'{"choice_style": "multiple"}\' '
    return (
        f"{override}prodigy mark DATASET {shlex.quote(path)} --view-id choice; "
        "and for the answers: prodigy db-out DATASET > answers.jsonl; ignore leaves a question open"
    )


def known(record: Mapping[str, Any]) -> bool:
    """Whether a record of a JSON file is one of Prodigy's tasks."""
    return "answer" in record and ("options" in record or "_task_hash" in record or "accept" in record)


def read(task: Task, records: Sequence[Any]) -> Iterator[Told]:
    """One row a task, the earliest first; those that were ignored, or not answered, are left open.

    Rejecting all options is "cannot tell".
    """
    rows = [(row, fields(record)) for row, record in enumerate(records, 1) if record is not None]
    rows.sort(key=lambda told: number(told[1].get("_timestamp")))
    for row, record in rows:
        answer = record.get("answer")
        labels: tuple[str, ...] | None = tuple(strings(record.get("accept")))
        if answer == "reject":
            labels = (words.sign(task),)
        elif answer != "accept" or not (labels or task.kind != "single"):
            labels = None
        shown = record.get(SHOWN)
        yield Told(
            row,
            text(record.get(KEY)),
            text(record.get(ID)),
            labels,
            _who(record),
            texts=(text(record["text"]),) if "text" in record else None,
            shown=None if shown is None else tuple(strings(shown)),
        )


def _who(record: Mapping[str, Any]) -> str:
    """Who is named by the session; "" where it has only a time for a name."""
    named = text(record.get("_annotator_id")) or text(record.get("_session_id"))
    return "" if NAMELESS.search(named) else named
