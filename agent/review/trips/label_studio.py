"""Label Studio: open questions as its tasks and labeling config, its JSON and JSON-MIN exports as answers.

Knows its formats (https://labelstud.io/guide/task_format, /guide/export and /tags/choices), tried with 1.23.2; knows no
ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from agent import data
from agent.config import Config
from agent.errors import UserError
from agent.review.trips import questions, words
from agent.review.trips.loose import fields, items, number, strings, text
from agent.review.trips.match import Told
from agent.review.trips.questions import Asked
from agent.types import Task

TOOL = "Label Studio"
KEY, ID, SHOWN = "tutelage_key", "tutelage_id", "tutelage_shown"
CONTROL = "label"
MANY = 10
"""Labels from which on they are a list to search instead of a row of buttons."""


def export(config: Config, task: Task, asked: Sequence[Asked], path: str) -> str:
    """Write the tasks to `path` (.json) and the labeling config beside it (.xml).

    Returns: what to do with them, in a few lines.
    Raises:
        UserError: another ending, or a label that XML cannot hold.
        DataError: the place cannot be written.
    """
    questions.ending(path, ".json", TOOL)
    parts = questions.widest(asked)
    names = questions.texts(parts)
    setup = config_xml(task, questions.columns(config, parts, ()))
    table: dict[str, list[Any]] = {"data": [_data(question, names) for question in asked]}
    if any(question.guess is not None for question in asked):
        table["predictions"] = [_predictions(question, names[0]) for question in asked]
    data.write(table, path, "json")
    beside = str(Path(path).with_suffix(".xml"))
    questions.beside(beside, setup)
    return (
        f"in Label Studio: make a project, put {beside} into Settings > Labeling Interface > Code, then import {path}; "
        "export the answers as JSON (or JSON-MIN); Skip leaves a question open"
    )


def config_xml(task: Task, titles: Sequence[str]) -> str:
    """The labeling config: one <Text> an item's part, one <Choices>; one more choice says "cannot tell".

    Args:
        titles: what the parts are called; shown where there are several.
    """
    many = task.kind != "single"
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value=_shown(task.question or "Which label?"))
    names = questions.texts(len(titles))
    for name, title in zip(names, titles, strict=True):
        if len(titles) > 1:
            ElementTree.SubElement(view, "Header", value=_shown(title), size="5")
        ElementTree.SubElement(view, "Text", name=name, value=f"${name}", valueType="text")
    told = {"choice": "multiple"} if many else {"choice": "single", "required": "true"}
    told |= {"layout": "select"} if len(task.labels) > MANY else {"showInLine": "true"}
    choices = ElementTree.SubElement(view, "Choices", {"name": CONTROL, "toName": names[0], **told})
    for label, meaning in task.labels.items():
        hint = {"hint": _shown(meaning)} if meaning.strip() else {}
        ElementTree.SubElement(choices, "Choice", {"value": _shown(label), "alias": label, **hint})
    ElementTree.SubElement(choices, "Choice", {"value": words.spoken(task), "alias": words.sign(task)})
    ElementTree.indent(view)
    return _sound(ElementTree.tostring(view, encoding="unicode") + "\n")


def _shown(text: str) -> str:
    """Text as its reader sees it: Label Studio takes $name in a tag for the task's field of that name."""
    return " ".join(text.split()).replace("$", "\uff04")


def _sound(xml: str) -> str:
    try:
        ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise UserError(
            "a label, its description or the question holds a character that XML cannot carry; change it under [task], "
            "or use --as argilla, prodigy or csv"
        ) from error
    return xml


def _data(question: Asked, names: Sequence[str]) -> dict[str, Any]:
    parts = question.item.parts
    told: dict[str, Any] = {name: parts[i].data if i < len(parts) else "" for i, name in enumerate(names)}
    told |= {KEY: question.key, ID: question.item.name or ""}
    if question.guess is not None:
        told[SHOWN] = list(questions.names(question))
    return told


def _predictions(question: Asked, to: str) -> list[dict[str, Any]]:
    """The machines' label without a score; nothing for a card that is blind."""
    if question.guess is None:
        return []
    value = {"choices": list(questions.names(question))}
    return [{"result": [{"from_name": CONTROL, "to_name": to, "type": "choices", "value": value}]}]


def known(record: Mapping[str, Any]) -> bool:
    """Whether a record of a JSON file is one of Label Studio's exports."""
    return KEY in fields(record.get("data")) or (KEY in record and ("annotation_id" in record or "annotator" in record))


def read(task: Task, records: Sequence[Any]) -> Iterator[Told]:
    """One row an annotation, the earliest first; skipped ones and tasks without any are left open."""
    for row, record in enumerate(records, 1):
        told = fields(record)
        if record is None:
            continue
        if "data" in told:
            yield from _full(row, told)
        else:
            yield from _least(row, told, task.kind != "single")


def _full(row: int, told: Mapping[str, Any]) -> Iterator[Told]:
    """A task of the JSON export."""
    task = fields(told.get("data"))
    led = bool(told.get("predictions"))
    found = [fields(one) for one in items(told.get("annotations") or told.get("completions"))]
    found.sort(key=lambda one: text(one.get("created_at")))
    if not found:
        yield _told(row, task, None, {}, led)
    for one in found:
        skipped = one.get("was_cancelled") or one.get("skipped")
        labels: list[str] = []
        for result in map(fields, items(one.get("result"))):
            if result.get("from_name") == CONTROL:
                labels += strings(fields(result.get("value")).get("choices"))
        shown = led or bool(one.get("prediction"))
        yield _told(row, task, None if skipped else tuple(labels), one, shown, one.get("completed_by"))


def _least(row: int, told: Mapping[str, Any], many: bool) -> Iterator[Told]:
    """A record of the JSON-MIN export: one annotation, flat, without what is empty."""
    found = told.get(CONTROL)
    named = fields(found).get("choices") if isinstance(found, dict) else found
    labels: tuple[str, ...] | None = tuple(strings(named))
    if told.get("annotation_id") is None or (not labels and not many):
        labels = None
    yield _told(row, told, labels, told, False, told.get("annotator"))


def _told(
    row: int,
    task: Mapping[str, Any],
    labels: tuple[str, ...] | None,
    annotation: Mapping[str, Any],
    led: bool,
    by: Any = None,
) -> Told:
    texts = [name for name in task if name == "text" or (name.startswith("text_") and name[5:].isdigit())]
    texts.sort(key=lambda name: int(name[5:] or 0))
    shown = tuple(strings(task[SHOWN])) if SHOWN in task else None
    return Told(
        row,
        text(task.get(KEY)),
        text(task.get(ID)),
        labels,
        _who(by),
        number(annotation.get("lead_time")),
        texts=tuple(text(task[name]) for name in texts) or None,
        shown=shown,
        led=led,
    )


def _who(by: Any) -> str:
    """An annotator's address, or their number in Label Studio, which alone would not say whose number it is."""
    if isinstance(by, dict):
        return text(by.get("email")) or _who(by.get("id"))
    if isinstance(by, int) and not isinstance(by, bool):
        return f"label-studio:{by}"
    return text(by)
