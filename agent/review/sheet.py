"""Review in a spreadsheet: the open questions out, the filled-in labels back. Knows columns and cells, and no screen.

Rows to check and rows to repair look alike, and none shows a guess. How rows are taken is `trips.match`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from agent import data
from agent.config import Config
from agent.errors import DataError
from agent.review.queue import Items
from agent.review.trips import match, questions, words
from agent.review.trips.match import Told
from agent.review.trips.report import Report
from agent.store import Store
from agent.types import Task

KEY, ID, LABEL, NOTE = "key", "id", "label", "note"
FLAG = "sheet"
MAX_CHARS = 8_000_000
"""Longest row that is read back, in characters."""


def export(config: Config, store: Store, pool: Items, path: str, force: bool = False) -> int:
    """Write the open questions to `path` (.csv, .tsv, .jsonl, .json, .parquet), in the queue's order.

    Columns: key, id (the user's own), the text columns, label (empty), note (empty). CSV is safe to open in a
    spreadsheet. Nothing tells why a row is asked, and no guess is shown.

    Returns: the number of rows; nothing is written when there are none.
    Raises:
        UserError: the file is there and may hold answers; `force` overwrites it.
        DataError: its folder is not there, the place cannot be written, or its ending tells no format.
    """
    asked = questions.asked(config, store, pool)
    if not asked:
        return 0
    if path != "-":
        questions.free(path, force)
    items = [question.item for question in asked]
    table: dict[str, Sequence[str]] = {
        KEY: [question.key for question in asked],
        ID: [item.name or "" for item in items],
    }
    for i, name in enumerate(_texts(config, questions.widest(asked))):
        table[name] = [item.parts[i].data if i < len(item.parts) else "" for item in items]
    table |= {LABEL: [""] * len(asked), NOTE: [""] * len(asked)}
    return data.write(table, path)


def how_to(task: Task) -> str:
    """How the exported sheet is filled in, in one line."""
    several = "; several labels joined by |; | alone = none of the labels" if task.kind != "single" else ""
    labels, unsure = questions.listed(task), words.sign(task)
    return f"fill in `label` with one of: {labels}{several}; {unsure} = cannot tell; an empty cell stays open"


def take(config: Config, store: Store, pool: Items, path: str, who: str) -> Report:
    """Read a sheet that was filled in and commit its answers; reading it twice adds nothing.

    A label is one of the task's, letter case aside; several are apart by "|", and "|" alone is none of them. "?" is
    "cannot tell", an empty cell leaves the question open. What cannot be taken is reported with its row, and the rest
    goes on. How long an answer took is not known here and is kept as 0 seconds.

    Raises:
        DataError: there is no such file, or it has no columns `key` and `label`.
    """
    return match.take(config, store, pool, list(read(config, path)), FLAG, who)


def read(config: Config, path: str) -> Iterator[Told]:
    """The rows of a sheet."""
    kind = "multi" if config.task.kind != "single" else "single"
    columns, rows = _rows(config, path, kind)
    texts = [name for name in columns if name not in (KEY, ID, NOTE)]
    for row in rows:
        if not isinstance(row, data.Entry):
            yield Told(row.row, wrong=row.reason)
            continue
        told = dict(zip(columns, (part.data for part in row.item.parts), strict=True))
        gold = row.item.gold
        yield Told(
            row.row,
            told[KEY].strip(),
            data.excel_plain(told.get(ID, "")),
            (gold,) if isinstance(gold, str) else gold,
            note=data.excel_plain(told.get(NOTE, "")),
            texts=tuple(told[name] for name in texts) if texts else None,
        )


def _texts(config: Config, parts: int) -> list[str]:
    return questions.columns(config, parts, {KEY, ID, LABEL, NOTE})


def _rows(config: Config, path: str, kind: str) -> tuple[tuple[str, ...], list[data.Row]]:
    """The columns that the sheet has of those we write, and its rows. Key and label it must have."""
    parts = len(config.pool.text) or 1
    optional = [(ID,), (NOTE,), tuple(_texts(config, parts))]
    for n in range(len(optional), -1, -1):
        for some in combinations(optional, n):
            columns = (KEY, *(name for names in some for name in names))
            source = data.Source(path, text=columns, gold=LABEL, kind=kind, given=True, max_chars=MAX_CHARS)
            try:
                return columns, [row for batch in data.read(source) for row in batch]
            except DataError as error:
                problem = error
    raise DataError(
        f"{path} cannot be read as an answered sheet: it needs the columns key and label, as "
        f"`tutelage review --export` writes them ({problem})"
    ) from problem
