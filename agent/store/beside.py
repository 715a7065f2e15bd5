"""What machines said of items that people labeled to teach, calibrate or repair: never of the audit. Reads only."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.engine import Connection

from agent.store.rows import ANSWER_COLUMNS, CALL_COLUMNS, answer_of, call_of
from agent.store.schema import PERSON
from agent.store.tables import answers, calls
from agent.types import Answer, Call


def beside(connection: Connection, recipe: str) -> list[tuple[int, Call, Answer]]:
    """Machines' good answers about items that people were asked about under `recipe`, none of them audited: number,
    call, answer; oldest first."""
    asked = calls.alias("asked")
    people = select(asked.c.item).where(asked.c.recipe == recipe)
    measured = people.where(asked.c.purpose == "audit")
    columns = [calls.c[name] for name in CALL_COLUMNS], [answers.c[name] for name in ANSWER_COLUMNS]
    query = (
        select(answers.c.seq, *columns[0], *columns[1])
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.status == "ok", calls.c.annotator != PERSON)
        .where(calls.c.item.in_(people), calls.c.item.not_in(measured))
        .order_by(answers.c.seq)
    )
    middle = 1 + len(CALL_COLUMNS)
    return [(row[0], call_of(row[1:middle]), answer_of(row[middle:])) for row in connection.execute(query)]
