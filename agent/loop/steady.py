"""Which form of asking to take where no people judge: the one whose answers depend least on the options' order.

The first items of the draw are asked in every form, each with its options in two orders. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent import forms, kinds, prompt
from agent.errors import Unparsable
from agent.loop.ground import Ground, Machine
from agent.loop.ways import Ways
from agent.types import Answer, Bools, Call, Floats, Ints

LOOK = 60
"""Items asked in two orders, in every form."""

ORDERS = 2

LEAST, UNSAID = 1e-6, 0.02
"""Shares below which none is taken: of log-probabilities, and of what an engine without them did not say."""


@dataclass(frozen=True)
class Compared:
    """Forms in two orders. `index` and `why`: the choice; `missing`: what must be asked first, the form and the items
    of each."""

    index: int
    why: str
    missing: list[tuple[Ways, Ints]]


def compare(ground: Ground, machine: Machine, ways: Sequence[Ways]) -> Compared:
    """The steadiest form, or what is missing to tell. A form that shows no order takes no part, for it cannot flip."""
    rows = _rows(ground, machine, ways)
    able = [number for number, form in enumerate(ways) if len(rows) and _ordered(ground, machine, form, int(rows[0]))]
    if len(able) < 2:
        return Compared(0, "", [])
    missing, said, spoke = [], [], np.ones(len(rows), bool)
    for number in able:
        logs, closed, heard = _heard(ground, ways[number], rows)
        left = rows[~closed.all(axis=0) & ~machine.tired[rows]]
        if len(left):
            missing.append((replace(ways[number], samples=ORDERS), left))
        said.append(logs)
        spoke &= heard.all(axis=0)
    if missing:
        return Compared(0, "", missing)
    pairs = [(logs[0][spoke], logs[1][spoke]) for logs in said]
    best, why = forms.steadiest(pairs, ground.layout)
    return Compared(able[best], why, [])


def chance(ground: Ground) -> float:
    """The chance with which an item is among those compared."""
    return min(LOOK / ground.n, 1.0)


def _rows(ground: Ground, machine: Machine, ways: Sequence[Ways]) -> Ints:
    """The last items of the draw whose two orders differ (of two labels half do not) and that are asked about in one
    piece: sample numbers of parts would be mistaken. Its front is audited, and is asked about no more than others."""
    out: list[int] = []
    for row in ground.order[::-1][: 4 * LOOK].tolist():
        item = machine.mask.item(ground.pool.item(row))
        asked = [ground.kind.question(machine.task, item, sample).options for sample in range(ORDERS)]
        orders = {tuple(option.choice for option in options) for options in asked}
        if len(orders) == ORDERS and all(prompt.parts(item, form.of(row, 0, False).traits) == 1 for form in ways):
            out.append(row)
    return np.array(out[:LOOK], np.int64)


def _ordered(ground: Ground, machine: Machine, form: Ways, row: int) -> bool:
    """Does the prompt change with the order of the options?"""
    way, item = form.of(row, 0, True), machine.mask.item(ground.pool.item(row))
    asked = [ground.kind.question(machine.task, item, sample) for sample in range(ORDERS)]
    made = [prompt.render(machine.task, one, way.traits, way.recipe, 0, way.shots) for one in asked]
    return made[0].messages != made[1].messages


def _heard(ground: Ground, form: Ways, rows: Ints) -> tuple[Floats, Bools, Bools]:
    """(orders, rows, width) log-probabilities, and (orders, rows) which calls are closed, which of them readably."""
    where = {row: number for number, row in enumerate(rows.tolist())}
    logs = np.zeros((ORDERS, len(rows), ground.layout.width), np.float32)
    closed, heard = np.zeros((2, ORDERS, len(rows)), bool)
    for _, status, call, answer in ground.store.events_since(0, sorted(form.recipes)):
        at = where.get(ground.pool.position(call.item))
        if at is None or call.sample >= ORDERS:
            continue
        closed[call.sample, at] = True
        row = _row(ground, call, answer) if status == "ok" else None
        if row is not None:
            heard[call.sample, at], logs[call.sample, at] = True, row
    return logs, closed, heard


def _row(ground: Ground, call: Call, answer: Answer) -> Floats | None:
    item = ground.pool.item(ground.pool.position(call.item))
    shown = answer.options
    question = kinds.shown(item, shown) if shown else ground.kind.question(ground.task, item, call.sample)
    try:
        read = ground.kind.parse(ground.task, question, answer)
    except Unparsable:
        return None
    if read is None:
        return None
    out: Floats = np.log(np.maximum(ground.layout.row(read), UNSAID if answer.logprobs is None else LEAST))
    return out
