"""Argilla: open questions as its records and settings, its exported records with responses as answers.

Knows its formats (https://docs.argilla.io: `Record.from_dict`, `Settings.from_json`, `records.to_list`), tried with
argilla 2.8.0; knows no ledger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent import data
from agent.config import Config
from agent.review.trips import questions, words
from agent.review.trips.loose import fields, items, strings, text
from agent.review.trips.match import Told
from agent.review.trips.questions import Asked
from agent.types import Task

TOOL = "Argilla"
ID, SHOWN = "tutelage_id", "tutelage_shown"
QUESTION = "label"
ANSWERS = f"{QUESTION}.responses"
DRAFT = (
    "it does not say whether this answer was submitted or is a draft: export with dataset.records.to_list(flatten=True)"
)


def export(config: Config, task: Task, asked: Sequence[Asked], path: str) -> str:
    """Write the records to `path` (.json) and the dataset's settings beside it (.settings.json).

    Returns: what to do with them, in a few lines.
    Raises:
        UserError: another ending. DataError: the place cannot be written.
    """
    questions.ending(path, ".json", TOOL)
    parts = questions.widest(asked)
    names = questions.texts(parts)
    made = settings(task, questions.columns(config, parts, ()))
    shown = any(question.guess is not None for question in asked)
    table: dict[str, list[Any]] = {
        "id": [question.key for question in asked],
        "fields": [_fields(question, names) for question in asked],
        "metadata": [_metadata(question) for question in asked],
    }
    if shown:
        table["suggestions"] = [_suggestions(question, task) for question in asked]
    data.write(table, path, "json")
    beside = str(Path(path).with_suffix(".settings.json"))
    questions.beside(beside, json.dumps(made, ensure_ascii=False, indent=1))
    return (
        f'in Python: settings = rg.Settings.from_json("{beside}"); dataset = rg.Dataset("NAME", settings=settings); '
        f'dataset.create(); dataset.records.from_json("{path}"); and for the answers: '
        "json.dump(dataset.records.to_list(flatten=True), file); Discard leaves a question open"
    )


def settings(task: Task, titles: Sequence[str]) -> dict[str, Any]:
    """The dataset's settings as `Settings.from_json` reads them; one more option says "cannot tell"."""
    many = task.kind != "single"
    options = [{"value": label, "text": label} for label in task.labels]
    options.append({"value": words.sign(task), "text": words.spoken(task)})
    kind: dict[str, Any] = {"type": "multi_label_selection" if many else "label_selection", "options": options}
    if many:
        kind["options_order"] = "natural"
    # A multi-label question that is required could not be answered "no label applies".
    question = {
        "name": QUESTION,
        "title": task.question or "Which label?",
        "description": questions.described(task) or None,
        "required": not many,
        "settings": kind,
    }
    names = questions.texts(len(titles))
    shown = [
        {"name": name, "title": title, "required": False, "settings": {"type": "text", "use_markdown": False}}
        for name, title in zip(names, titles, strict=True)
    ]
    shown[0]["required"] = True
    return {
        "guidelines": task.guidelines or None,
        "fields": shown,
        "questions": [question],
        "vectors": [],
        "metadata": [],
        "allow_extra_metadata": True,
    }


def _fields(question: Asked, names: Sequence[str]) -> dict[str, str]:
    parts = question.item.parts
    return {name: parts[i].data if i < len(parts) else "" for i, name in enumerate(names)}


def _metadata(question: Asked) -> dict[str, Any]:
    told: dict[str, Any] = {ID: question.item.name or ""}
    if question.guess is not None:
        told[SHOWN] = list(questions.names(question))
    return told


def _suggestions(question: Asked, task: Task) -> dict[str, Any]:
    """The machines' label without a score; nothing for a card that is blind."""
    if question.guess is None:
        return {}
    names = list(questions.names(question))
    return {QUESTION: {"value": names[0] if task.kind == "single" else names}}


def known(record: Mapping[str, Any]) -> bool:
    """Whether a record of a JSON file is one of Argilla's exports."""
    return ANSWERS in record or ("fields" in record and ("responses" in record or "_server_id" in record)) or (
        "_server_id" in record
    )  # fmt: skip


def read(task: Task, records: Sequence[Any]) -> Iterator[Told]:
    """One row a response; drafts, discarded ones and records without any are left open."""
    for row, record in enumerate(records, 1):
        told = fields(record)
        if record is None:
            continue
        responses = list(_flat(told) if "fields" not in told else _nested(told))
        if not responses:
            yield _told(row, told, None, "")
        for who, status, value in responses:
            labels = tuple(strings(value))
            if status == "submitted" and (labels or task.kind != "single"):
                yield _told(row, told, labels, who)
            elif status in ("draft", "discarded", "submitted"):
                yield _told(row, told, None, who)
            else:
                yield Told(row, id=_id(told), wrong=DRAFT)


def _flat(record: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(who, status, value) of `to_list(flatten=True)`."""
    who, status = items(record.get(f"{ANSWERS}.users")), items(record.get(f"{ANSWERS}.status"))
    for i, value in enumerate(items(record.get(ANSWERS))):
        yield text(who[i]) if i < len(who) else "", text(status[i]) if i < len(status) else "", value


def _nested(record: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(who, status, value) of `to_json`. It drops the status, which is sure only of the one answer that completed."""
    found = [fields(one) for one in items(fields(record.get("responses")).get(QUESTION))]
    for one in found:
        sure = "submitted" if len(found) == 1 and record.get("status") == "completed" else ""
        yield text(one.get("user_id")), text(one.get("status")) or sure, one.get("value")


def _told(row: int, record: Mapping[str, Any], labels: tuple[str, ...] | None, who: str) -> Told:
    nested = "fields" in record
    parts = fields(record.get("fields")) if nested else record
    metadata = fields(record.get("metadata")) if nested else record
    texts = [name for name in parts if name == "text" or (name.startswith("text_") and name[5:].isdigit())]
    texts.sort(key=lambda name: int(name[5:] or 0))
    suggested = fields(record.get("suggestions")).get(QUESTION) if nested else record.get(f"{QUESTION}.suggestion")
    return Told(
        row,
        text(record.get("id")),
        _id(record),
        labels,
        who,
        texts=tuple(text(parts[name]) for name in texts) or None,
        shown=tuple(strings(metadata[SHOWN])) if metadata.get(SHOWN) is not None else None,
        led=bool(suggested),
    )


def _id(record: Mapping[str, Any]) -> str:
    return text((fields(record.get("metadata")) if "fields" in record else record).get(ID))
