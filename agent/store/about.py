"""What the dashboard reads: people's clock by small steps, one item's history, who was shown what. Knows the tables.

Nothing here reads what an answer says but `of_item`, which reads it of one item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, func, select
from sqlalchemy.engine import Connection

from agent.store.reading import CALL, CARRIED, READ
from agent.store.rows import answer_of, call_of
from agent.store.schema import CLOSED, PERSON
from agent.store.tables import answers, calls, certificates, decisions, outcomes, seen
from agent.types import Answer, Call

ASSISTED = "assisted:"
"""How a flag begins that says which label of a machine was shown before the answer."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What closed a question. status: "ok", "failed" or "withdrawn"; seconds: it took; at: unix seconds; assisted: a
    machine's label was shown; carried: it was given under other labels, at another time."""

    seq: int
    key: str
    status: str
    who: str
    seconds: float
    at: float
    assisted: bool
    carried: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A decision about an item, as it was written."""

    turn: int
    action: str
    by: str
    value: str
    confidence: float
    why: str


@dataclass(frozen=True, slots=True)
class News:
    """What came since, as of one moment. questions: (number, key, purpose, turn); both oldest first."""

    marks: tuple[int, ...]
    questions: list[tuple[int, str, str, int]]
    closings: list[Closing]


def news(connection: Connection, question: int, answer: int, recipes: Sequence[str]) -> News:
    """The questions of these recipes after number `question`, and what closed any after answer number `answer`."""
    found = marks(connection), _questions(connection, question, recipes), _closings(connection, answer, recipes)
    return News(*found)


def _questions(connection: Connection, seq: int, recipes: Sequence[str]) -> list[tuple[int, str, str, int]]:
    columns = (calls.c.seq, calls.c.key, calls.c.purpose, calls.c.turn)
    query = select(*columns).where(calls.c.recipe.in_(recipes), calls.c.seq > seq).order_by(calls.c.seq)
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]


def _closings(connection: Connection, seq: int, recipes: Sequence[str]) -> list[Closing]:
    columns = (answers.c.seq, answers.c.key, answers.c.status, answers.c.who, answers.c.seconds, answers.c.at)
    query = (
        select(*columns, answers.c.body.like(f'%"{ASSISTED}%'), answers.c.body.like(f'%"flags":["{CARRIED}%'))
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.seq > seq, answers.c.status.in_(CLOSED), calls.c.recipe.in_(recipes))
        .order_by(answers.c.seq)
    )
    rows = connection.execute(query)
    return [Closing(r[0], r[1], r[2], r[3], r[4], r[5], bool(r[6]), bool(r[7])) for r in rows]


def of_item(connection: Connection, item: str) -> list[tuple[Call, Answer | None]]:
    """Every question about an item that was not withdrawn, oldest first, with its good answer; None: none (yet)."""
    taken_back = answers.alias("taken_back")
    query = (
        select(*CALL, *READ)
        .join_from(calls, answers, (answers.c.key == calls.c.key) & (answers.c.status == "ok"), isouter=True)
        .where(
            calls.c.item == item, ~exists().where(taken_back.c.key == calls.c.key, taken_back.c.status == "withdrawn")
        )
        .order_by(calls.c.seq)
    )
    middle = len(CALL)
    rows = connection.execute(query).all()
    return [(call_of(row[:middle]), None if row[middle] is None else answer_of(row[middle:])) for row in rows]


def history(connection: Connection, item: str) -> list[Step]:
    """Every decision about an item, first one first."""
    columns = [decisions.c[name] for name in ("turn", "action", "by", "value", "confidence", "why")]
    query = select(*columns).where(decisions.c.item == item).order_by(decisions.c.seq)
    return [Step(*row) for row in connection.execute(query)]


def waits(connection: Connection, item: str, recipes: Sequence[str]) -> bool:
    """Whether an open question to people under these recipes is about this item; older labels' wait for nobody."""
    closed = exists().where(answers.c.key == calls.c.key, answers.c.status.in_(CLOSED))
    people = calls.c.annotator == PERSON, calls.c.recipe.in_(recipes)
    query = select(calls.c.seq).where(calls.c.item == item, *people, ~closed)
    return connection.execute(query.limit(1)).first() is not None


def ending(connection: Connection, words: str) -> list[str]:
    """Items of which a decision's reason ends in these words."""
    query = select(decisions.c.item).distinct().where(decisions.c.why.endswith(words, autoescape=True))
    return list(connection.execute(query.order_by(decisions.c.item)).scalars())


def shown_to(connection: Connection, who: str) -> set[str]:
    """The items whose page this person has opened."""
    return set(connection.execute(select(seen.c.item).where(seen.c.who == who)).scalars())


def marks(connection: Connection) -> tuple[int, ...]:
    """The last numbers of calls, answers, decisions, outcomes and certificates: while they stay nothing has changed."""
    lasts = (calls.c.seq, answers.c.seq, decisions.c.seq, outcomes.c.seq, certificates.c.look)
    return tuple(int(connection.execute(select(func.coalesce(func.max(c), 0))).scalar_one()) for c in lasts)
