"""The tools that questions go out to, by name: which module knows whose format. Knows no format itself."""

from __future__ import annotations

import os
from types import ModuleType

from agent import config as settings
from agent.config import Config
from agent.errors import UserError
from agent.review import sheet
from agent.review.queue import Items
from agent.review.trips import argilla, label_studio, match, prodigy, questions
from agent.review.trips.loose import fields, records
from agent.review.trips.report import Report
from agent.store import Store

TOOLS: dict[str, ModuleType] = {"label-studio": label_studio, "argilla": argilla, "prodigy": prodigy}
CSV = "csv"
FORMS = (*TOOLS, CSV)


def export(
    config: Config, store: Store, pool: Items, path: str, form: str = CSV, force: bool = False
) -> tuple[int, str]:
    """Write the open questions for a tool, one of `FORMS`, in the queue's order. Nothing tells why an item is asked.

    A guess goes along only in assisted mode, and only with questions that may show one.

    Returns: the number of questions, and what to do with the file; nothing is written when there are none.
    Raises:
        UserError: the file is there and `force` is not given, or its ending is not the tool's.
        DataError: the place cannot be written.
    """
    task = settings.the_task(config)
    if form == CSV:
        return sheet.export(config, store, pool, path, force), sheet.how_to(task)
    asked = questions.asked(config, store, pool)
    if not asked:
        return 0, ""
    if path != "-":
        questions.free(path, force)
    return len(asked), TOOLS[form].export(config, task, asked, path)


def take(
    config: Config,
    store: Store,
    pool: Items,
    path: str,
    form: str | None = None,
    who: str | None = None,
    login: str = match.NOBODY,
) -> Report:
    """Read a file that came back and commit its answers; reading it twice adds nothing.

    Args:
        form: one of `FORMS`; None guesses from what the file holds. who: who answered, where the file does not say or
            names one person. login: who answered, where nobody says.

    Raises:
        DataError: the file cannot be read.
        UserError: it cannot be told which tool wrote it.
    """
    form = form or guess(path)
    if form == CSV:
        return match.take(config, store, pool, list(sheet.read(config, path)), sheet.FLAG, who, login)
    told = list(TOOLS[form].read(settings.the_task(config), records(path)))
    return match.take(config, store, pool, told, f"import: {form}", who, login)


def guess(path: str) -> str:
    """Which tool wrote this file.

    Raises:
        DataError: it cannot be read. UserError: it is none that is known.
    """
    if os.path.splitext(path)[1].casefold() not in (".json", ".jsonl", ".ndjson"):
        return CSV
    found = [fields(record) for record in records(path) if record is not None]
    for record in found[:1]:
        for form, tool in TOOLS.items():
            if tool.known(record):
                return form
        if sheet.KEY in record and sheet.LABEL in record:
            return CSV
    raise UserError(f"{path}: cannot tell which tool wrote it; say so with --as {'|'.join(FORMS)}")
