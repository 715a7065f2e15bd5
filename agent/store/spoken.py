"""Who may not answer a question any more: who spoke of the item, or was shown what others or machines say. Knows rows.

It is asked in the transaction that writes an answer, and there is only one of those at a time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import and_, bindparam, insert, select
from sqlalchemy.engine import Connection

from agent.store.money import chunks
from agent.store.rows import answer_row, plain
from agent.store.schema import CLOSED, insert_new
from agent.store.tables import answers, calls, seen, shown
from agent.types import Answer

GUESS, SIDES = "guess", "sides"
"""What was shown beside an item: the machines' label, on a card; what others said, to who settles."""
ASSISTED, LED = "assisted", "assisted: (page)"
"""Flag of an answer beside a machine's label; the flag where that was shown before, on a page or an earlier card."""
SAMPLES = 16
"""Samples of a question that are looked up at once; more of them where half of these are there."""

UNSURE = '"unsure":true'
"""How the body of an answer says "cannot tell"."""

Name = Callable[[str, str, int], str]
"""The key of a question, from recipe, item and sample."""

_back = answers.alias("back")
_SPOKEN = (
    select(calls.c.item, calls.c.recipe, answers.c.who, _back.c.seq, answers.c.body)
    .join_from(calls, answers, and_(answers.c.key == calls.c.key, answers.c.status == "ok"), isouter=True)
    .join(_back, and_(_back.c.key == calls.c.key, _back.c.status == "withdrawn"), isouter=True)
    .where(calls.c.key.in_(bindparam("keys", expanding=True)))
)
_SHOWN = select(shown.c.item, shown.c.what).where(
    shown.c.who == bindparam("who"), shown.c.item.in_(bindparam("items", expanding=True))
)
_LOOKED = select(seen.c.item).where(seen.c.who == bindparam("who"), seen.c.item.in_(bindparam("items", expanding=True)))


def note(connection: Connection, who: str, items: Sequence[str], what: str) -> None:
    """Notes that this was shown to somebody beside these items."""
    rows = [{"who": who, "item": item, "what": what, "at": time.time()} for item in items]
    if rows:
        connection.execute(insert_new(connection, shown), rows)


def noted(connection: Connection, since: int) -> tuple[int, list[tuple[str, str, str]]]:
    """(who, item, what) of what was shown beside items after number `since`; and the number of the last."""
    columns = (shown.c.seq, shown.c.who, shown.c.item, shown.c.what)
    rows = connection.execute(select(*columns).where(shown.c.seq > since).order_by(shown.c.seq)).all()
    return (rows[-1][0] if rows else since), [(who, item, what) for _, who, item, what in rows]


def told(
    connection: Connection, who: str, items: Sequence[str], recipes: Sequence[str], name: Name
) -> tuple[set[tuple[str, str]], set[str]]:
    """(item, recipe) of the questions that `who` is not to answer: they spoke of the item under one of these recipes,
    or saw what others said of it; who could not tell, or took their answer back, may answer that very question again.

    And the items beside which they were shown what machines say.
    """
    rows = [(row[0], row[1]) for row in connection.execute(_SHOWN, {"who": who, "items": items})]
    led = {item for item, what in rows if what == GUESS}
    led |= set(connection.execute(_LOOKED, {"who": who, "items": items}).scalars())
    shut = {(item, recipe) for item, what in rows if what == SIDES for recipe in recipes}
    pairs, first = [(item, recipe) for item in items for recipe in recipes], 0
    while pairs:
        keys = [name(recipe, item, n) for item, recipe in pairs for n in range(first, first + SAMPLES)]
        found = [row for part in chunks(keys) for row in connection.execute(_SPOKEN, {"keys": part})]
        for item, recipe, by, back, body in found:
            if by == who:
                loose = back is not None or UNSURE in body
                shut |= {(item, other) for other in recipes if not loose or other != recipe}
        there = Counter((row[0], row[1]) for row in found)
        pairs, first = [pair for pair in pairs if there[pair] >= SAMPLES // 2], first + SAMPLES
    return shut, led


def beside(answer: Answer, led: bool) -> Answer:
    """The answer, flagged where a machine's label was shown to who gives it."""
    if not led or any(flag.partition(":")[0] == ASSISTED for flag in answer.flags):
        return answer
    return replace(answer, flags=(*answer.flags, LED))


def enter(connection: Connection, since: int, rows: Sequence[tuple[str, Answer]]) -> list[bool]:
    """Records answers to questions that are open; which of them.

    None of them where one of these people was heard after answer number `since`: what the rows were
    judged by is not how things stand.
    """
    who = {plain(answer.who) for _, answer in rows}
    newer = select(answers.c.seq).where(answers.c.seq > since, answers.c.who.in_(who)).limit(1)
    if connection.execute(newer).first() is not None:
        return [False] * len(rows)
    there, shut = set[str](), set[str]()
    for part in chunks([key for key, _ in rows]):
        there |= set(connection.execute(select(calls.c.key).where(calls.c.key.in_(part))).scalars())
        closed = select(answers.c.key).where(answers.c.key.in_(part), answers.c.status.in_(CLOSED))
        shut |= set(connection.execute(closed).scalars())
    added = [key in there - shut for key, _ in rows]
    new = [answer_row(key, answer, "ok") for (key, answer), free in zip(rows, added, strict=True) if free]
    if new:
        connection.execute(insert(answers), new)
    return added
