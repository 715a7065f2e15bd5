"""People: what the house must know of them, and people who answered before. Knows nothing of the review page.

People answer through the queue (the calls to "person" without an answer), never through `answer`.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from agent.errors import CallFailed
from agent.oracles import table
from agent.types import Answer, Context, Item, Prompt, Task, Traits, Value

UNANSWERED = "no recorded answer"


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

    def price(self, prompt: Prompt) -> float:
        """Nothing: people's time is counted in minutes, not dollars."""
        return 0.0

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
    id), annotator and label (labels of kind multi apart by "|"). For each item the seed draws one person's vote;
    the next sample is the next person's. A label outside the task, gold that is missing and an item that nobody
    answered (flagged so) are "cannot tell".

    Raises:
        DataError: the file cannot be read or lacks a column.
    """
    if people == "gold":
        return lambda item, sample: _said(task, item.gold, "gold")
    votes: defaultdict[str, list[tuple[str, Value | None]]] = defaultdict(list)
    for row in table(people, ["id", "annotator", "label"]):
        votes[str(row["id"])].append((str(row["annotator"]), _value(task, row["label"])))

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


def _value(task: Task, label: object) -> Value | None:
    """A recorded label as a value of the task; None where it is none."""
    text = "" if label is None else str(label)
    if task.kind != "multi":
        return text if text in task.labels else None
    names = tuple(sorted({part.strip() for part in text.split("|") if part.strip()}))
    return names if set(names) <= set(task.labels) else None


def _said(task: Task, value: Value | None, who: str) -> Answer:
    known = {value} if isinstance(value, str) else set(value or ())
    if value is None or not known <= set(task.labels):
        return Answer("", unsure=True, who=who)
    return Answer(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), who=who)
