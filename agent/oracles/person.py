"""People: what the house must know of them, and people who answered before. Knows nothing of the review page.

People answer through the queue (the calls to "person" without an answer), never through `answer`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from agent.errors import CallFailed
from agent.oracles import table
from agent.types import Answer, Context, Item, Most, Prompt, Task, Traits, Value

UNANSWERED = "no recorded answer"
NO_GOLD = "no gold"
"""Flags of answers that nobody gave."""

log = logging.getLogger("tutelage")


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with oracle = "person".

    seconds: the time one answer is assumed to take.
    people: None, "gold", or a Parquet or CSV file of recorded people's votes (columns id, annotator, label).
    """

    seconds: float = 8.0
    people: str | None = None


def build(settings: Settings, context: Context) -> Person:
    """The annotator "person"."""
    return Person()


class Person:
    """People as an annotator: free of charge, asked only through the queue."""

    @property
    def traits(self) -> Traits:
        """What the house must know of people."""
        return Traits("person", {}, local=True, person=True, calibrate=False)

    def most(self, prompt: Prompt) -> Most:
        """Nothing: people's time is counted in minutes, not dollars."""
        return Most()

    async def answer(self, prompt: Prompt) -> Answer:
        """Never answers.

        Raises:
            CallFailed: always.
        """
        raise CallFailed("people answer through the queue: run `tutelage review`")

    async def close(self) -> None:
        """Nothing is open."""


def recorded(people: str, task: Task, seed: int) -> Callable[[Item, int], Answer]:
    """People who answered before, as a function of item and sample.

    `people`: "gold" for the pool's own gold column, else a Parquet or CSV file with the columns id (the item's own
    id), annotator and label (labels of kind multi apart by "|"; "|" alone is none of them). For each item the seed
    draws one person's vote; the next sample is the next person's. "Cannot tell" are: a label outside the task, an
    empty label, gold that is missing (flagged so) and an item that nobody answered (flagged so). How many rows of a
    file cannot be used is told once, here, as a warning.

    Raises:
        DataError: the file cannot be read or lacks a column.
    """
    if people == "gold":
        return lambda item, sample: _gold(task, item)
    votes = _votes(people, task)

    def answer(item: Item, sample: int) -> Answer:
        said = votes.get(item.name or "")
        if not said:
            return Answer("", unsure=True, flags=(UNANSWERED,))

        def place(number: int) -> bytes:
            return hashlib.sha256(f"{seed}\0{item.id}\0{said[number][0]}\0{number}".encode()).digest()

        order = sorted(range(len(said)), key=place)
        who, value = said[order[sample % len(order)]]
        return _said(task, value, who)

    return answer


def _votes(path: str, task: Task) -> dict[str, list[tuple[str, Value | None]]]:
    """The file's votes by the items' own ids; warns of rows that cannot be used."""
    votes: defaultdict[str, list[tuple[str, Value | None]]] = defaultdict(list)
    rows = table(path, ["id", "annotator", "label"])
    nameless, empty, unknown = 0, 0, list[tuple[int, str]]()
    for number, row in enumerate(rows, 1 if path.endswith((".parquet", ".pq")) else 2):  # a CSV's row 1 is its header
        value, stranger = _value(task, row["label"])
        if stranger is not None:
            unknown.append((number, stranger))
        empty += value is None and stranger is None
        if row["id"] is None:
            nameless += 1
        else:
            votes[str(row["id"])].append((str(row["annotator"] or ""), value))
    where = f"the recorded votes {path}"
    if unknown:
        number, stranger = unknown[0]
        names = {label.casefold(): label for label in task.labels}
        (near,) = get_close_matches(stranger.casefold(), names, 1, 0.0)
        log.warning(
            "%s: %s with a label that is none of the task's; they count as cannot tell. The first is row %d: %r, the "
            "nearest label is %r. Correct the file, or the labels under [task.labels]",
            where, _of(len(unknown), len(rows)), number, stranger[:60], names[near],
        )  # fmt: skip
    if empty:  # a rater who could not tell is no fault of the file
        log.info("%s: %s with an empty label; they count as cannot tell", where, _of(empty, len(rows)))
    if nameless:
        log.warning("%s: %s without an id; they are left out. Fill in the ids", where, _of(nameless, len(rows)))
    return votes


def _of(count: int, rows: int) -> str:
    return f"{count:,} of {rows:,} " + ("row" if rows == 1 else "rows")


def _value(task: Task, label: object) -> tuple[Value | None, str | None]:
    """A recorded label as a value of the task, None where it is none or empty; and the name that is no label."""
    text = "" if label is None else str(label)
    if not text.strip():
        return None, None
    if task.kind != "multi":
        return (text, None) if text in task.labels else (None, text)
    names = tuple(sorted({part.strip() for part in text.split("|") if part.strip()}))
    strangers = [name for name in names if name not in task.labels]
    return (None, strangers[0]) if strangers else (names, None)


def _gold(task: Task, item: Item) -> Answer:
    if item.gold is None:
        return Answer("", unsure=True, who="gold", flags=(NO_GOLD,))
    return _said(task, item.gold, "gold")


def _said(task: Task, value: Value | None, who: str) -> Answer:
    known = {value} if isinstance(value, str) else set(value or ())
    if value is None or not known <= set(task.labels):
        return Answer("", unsure=True, who=who)
    return Answer(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), who=who)
