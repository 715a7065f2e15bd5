"""Questions to the ledger that change nothing. Knows the tables; runs on the readers' connections."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import and_, case, exists, func, or_, select
from sqlalchemy.engine import Connection

from agent.store import tables
from agent.store.money import CUT, chunks, open_reservations, taken
from agent.store.rows import (
    ANSWER_COLUMNS,
    CALL_COLUMNS,
    DECISION_COLUMNS,
    Decisions,
    Spend,
    Usage,
    answer_of,
    call_of,
    value_of,
)
from agent.store.schema import CLOSED, PERSON
from agent.store.tables import answers, calls, decisions
from agent.types import Answer, Call, SetAside

TOKENS = ("tokens_in", "tokens_out", "tokens_cached")
CARRIED = "carried: "
"""How the first flag of an answer begins that was given under other labels."""
RECENT = 20_000
"""Answers that are looked through for the last one of an annotator."""

CALL = [calls.c[name] for name in CALL_COLUMNS]
READ = [answers.c[name] for name in ANSWER_COLUMNS]


def answers_since(connection: Connection, seq: int, recipes: Sequence[str] | None) -> list[tuple[int, Call, Answer]]:
    taken_back = answers.alias("taken_back")
    query = (
        select(answers.c.seq, *CALL, *READ)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(
            answers.c.seq > seq,
            answers.c.status == "ok",
            ~exists().where(taken_back.c.key == answers.c.key, taken_back.c.status == "withdrawn"),
        )
        .order_by(answers.c.seq)
    )
    if recipes is not None:
        query = query.where(calls.c.recipe.in_(recipes))
    middle = 1 + len(CALL)
    with _no_collection():
        return [(row[0], call_of(row[1:middle]), answer_of(row[middle:])) for row in connection.execute(query).all()]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Many small objects at once, none in a cycle: the garbage collector would take half the time for nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def events_since(connection: Connection, seq: int, recipes: Sequence[str]) -> list[tuple[int, str, Call, Answer]]:
    query = (
        select(answers.c.seq, answers.c.status, *CALL, *READ)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.seq > seq, answers.c.status.in_(CLOSED), calls.c.recipe.in_(recipes))
        .order_by(answers.c.seq)
    )
    middle = 2 + len(CALL)
    rows = connection.execute(query).all()
    return [(row[0], row[1], call_of(row[2:middle]), answer_of(row[middle:])) for row in rows]


def noted(connection: Connection) -> list[tuple[Call, Answer]]:
    query = (
        select(*CALL, *READ)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(
            answers.c.status.in_(("ok", "failed")),
            answers.c.body.like('%"flags":[%') | answers.c.body.like('%"rationale":"%'),
        )
        .order_by(answers.c.seq)
    )
    middle = len(CALL)
    return [(call_of(row[:middle]), answer_of(row[middle:])) for row in connection.execute(query)]


def last_answer(connection: Connection, annotator: str) -> Answer | None:
    """The last good answer of an annotator, where it is among the last of all."""
    recent = select(func.coalesce(func.max(answers.c.seq), 0) - RECENT).scalar_subquery()
    query = (
        select(*READ)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.seq > recent, answers.c.status == "ok", calls.c.annotator == annotator)
        .order_by(answers.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else answer_of(row)


def asked(connection: Connection, recipe: str) -> list[Call]:
    taken_back = exists().where(answers.c.key == calls.c.key, answers.c.status == "withdrawn")
    query = select(*CALL).where(calls.c.recipe == recipe, ~taken_back).order_by(calls.c.seq)
    return [call_of(row) for row in connection.execute(query)]


def unanswered(connection: Connection, recipes: Sequence[str]) -> dict[str, str]:
    good = answers.alias("good")
    query = (
        select(calls.c.item, answers.c.body)
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(
            answers.c.status.in_(("error", "failed")),
            calls.c.recipe.in_(recipes),
            ~exists().where(good.c.key == answers.c.key, good.c.status == "ok"),
        )
        .order_by(answers.c.seq)
    )
    return {item: str(json.loads(body).get("error", "")) for item, body in connection.execute(query)}


def opened(connection: Connection, recipe: str) -> dict[str, int]:
    table = tables.opened
    return dict(iter(connection.execute(select(table.c.item, table.c.turn).where(table.c.recipe == recipe))))


def seed(connection: Connection) -> int | None:
    return connection.execute(select(tables.turns.c.seed).order_by(tables.turns.c.n).limit(1)).scalar()


def answered(connection: Connection) -> dict[tuple[str, str], int]:
    query = (
        select(calls.c.annotator, calls.c.recipe, func.count())
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .where(answers.c.status == "ok", calls.c.annotator != PERSON)
        .group_by(calls.c.annotator, calls.c.recipe)
    )
    return {(row[0], row[1]): int(row[2]) for row in connection.execute(query)}


def open_calls(connection: Connection, annotator: str | None, people: bool | None) -> list[Call]:
    query = select(*CALL).where(~exists().where(answers.c.key == calls.c.key, answers.c.status.in_(CLOSED)))
    if annotator is not None:
        query = query.where(calls.c.annotator == annotator)
    if people is not None:
        query = query.where(calls.c.annotator == PERSON if people else calls.c.annotator != PERSON)
    return [call_of(row) for row in connection.execute(query.order_by(calls.c.seq))]


def the_calls(connection: Connection, keys: Sequence[str]) -> dict[str, Call]:
    found: dict[str, Call] = {}
    for part in chunks(keys):
        for row in connection.execute(select(*CALL).where(calls.c.key.in_(part))):
            found[row[0]] = call_of(row)
    return found


def last_decisions(connection: Connection, turn: int | None) -> Decisions:
    last = select(func.max(decisions.c.seq)).group_by(decisions.c.item)
    if turn is not None:
        last = last.where(decisions.c.turn <= turn)
    columns = [decisions.c[name] for name in DECISION_COLUMNS]
    rows = connection.execute(select(*columns).where(decisions.c.seq.in_(last)).order_by(decisions.c.seq)).all()
    turns, items, actions, by, values, confidences, whys = zip(*rows, strict=True) if rows else ((),) * 7
    known = {text: value_of(text) for text in set(values)}  # few labels, many items
    return Decisions(
        list(items), list(actions), list(by), [known[text] for text in values], list(confidences), list(whys),
        list(turns),
    )  # fmt: skip


def spend(connection: Connection) -> Spend:
    def count(*conditions: Any) -> Any:
        return func.sum(case((and_(*conditions), 1), else_=0))

    cut = and_(answers.c.status == "error", answers.c.body.like(f'%"error":"{CUT}"%'))
    # Given under other labels, and counted there: `agent.relabel` writes them anew, at no cost, machines' in no time.
    once = or_(answers.c.seconds == 0, calls.c.annotator == PERSON)
    carried = and_(once, answers.c.body.like(f'%"flags":["{CARRIED}%'))
    # What a person took back was answered anew, under another key: one question, and at most one answer.
    back = answers.alias("back")
    stands = or_(
        calls.c.annotator != PERSON, ~exists().where(back.c.key == answers.c.key, back.c.status == "withdrawn")
    )
    made = or_(answers.c.requests > 0, calls.c.requests == 0)  # one that never left is no attempt
    sums = (
        select(
            calls.c.annotator,
            *taken(),
            count(answers.c.status == "ok", ~carried, stands),
            count(answers.c.status == "error", made, ~cut),
            count(answers.c.status == "failed", ~carried),
            count(answers.c.status == "withdrawn", ~carried),
            count(
                or_(
                    and_(answers.c.status.in_(("ok", "failed")), carried, stands),
                    and_(answers.c.status == "withdrawn", calls.c.annotator == PERSON),
                )
            ),
            *(func.sum(answers.c[name]) for name in TOKENS),
            *(func.sum(case((cut, answers.c[name]), else_=0)) for name in ("tokens_in", "requests")),
            func.sum(case((cut, answers.c.usd), else_=0.0)),
        )
        .join_from(answers, calls, answers.c.key == calls.c.key)
        .group_by(calls.c.annotator)
    )
    by: dict[str, Usage] = {}
    asked = select(calls.c.annotator, func.count()).group_by(calls.c.annotator).order_by(func.min(calls.c.seq))
    for annotator, number in connection.execute(asked):
        by[annotator] = Usage(calls=number)
    for annotator, usd, *numbers, lost_usd in connection.execute(sums):
        names = ("tokens", "requests", "answers", "errors", "failed", "withdrawn", "calls", *TOKENS)
        counts = dict(zip((*names, "lost_tokens", "lost_requests"), map(int, numbers), strict=True))
        counts["calls"] = by[annotator].calls - counts["calls"]
        by[annotator] = Usage(float(usd), lost_usd=float(lost_usd), **counts)
    held = open_reservations(connection)
    who = {key: call.annotator for key, call in the_calls(connection, list(held)).items()}
    for key, one in held.items():
        u = by[who[key]]
        by[who[key]] = replace(
            u,
            reserved=u.reserved + one.usd,
            held_tokens=u.held_tokens + one.tokens,
            held_requests=u.held_requests + one.requests,
        )
    return Spend(_total(list(by.values())), by)


def _total(usages: Sequence[Usage]) -> Usage:
    none = Usage()
    names = [field.name for field in fields(Usage)]
    return Usage(**{name: sum((getattr(usage, name) for usage in usages), getattr(none, name)) for name in names})


def set_aside(connection: Connection, source: str | None) -> list[SetAside]:
    table, sources = tables.set_aside, tables.sources
    if source is None:
        source = connection.execute(select(sources.c.fingerprint).order_by(sources.c.seq.desc()).limit(1)).scalar()
    query = select(table.c.file, table.c.row, table.c.reason).order_by(table.c.seq)
    wanted = query if source is None else query.where(table.c.source == source)
    return [SetAside(*row) for row in connection.execute(wanted)]


def outcomes(connection: Connection) -> list[dict[str, Any]]:
    table = tables.outcomes
    query = select(table.c.turn, table.c.at, table.c.body).order_by(table.c.seq)
    return [{**json.loads(body), "turn": turn, "at": at} for turn, at, body in connection.execute(query)]
