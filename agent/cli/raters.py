"""Do the people agree with one another, as far as several answered the same items? Asks nobody.

From the ledger, where answers say who gave them, and from recorded votes. Only people are compared with people here, so
that nothing is learnt of the machines' labels, of audited items neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from agent.opinions import FEW, Said, label, table
from agent.types import Answer, Item, Task, Value

if TYPE_CHECKING:
    from agent.config import Config

ITEMS = 2_000
"""Recorded items that are looked at: enough for an interval of two points."""
LOOKED = 20_000
"""Items that are looked through for such as several people answered."""
RATERS = 50
"""People of one item that are looked at."""


@dataclass(frozen=True)
class Consent:
    """How people agree. alpha, pairs: value, low, high. ceiling: the most that labels can agree with one person drawn
    at random, at the upper end of the interval. items: with two answers or more. where: the answers are from."""

    items: int
    people: int
    alpha: tuple[float, float, float]
    pairs: tuple[float, float, float]
    ceiling: float
    where: str


def consent(config: Config) -> Consent | None:
    """From recorded votes where people are recorded, else from the ledger; None where too little is known."""
    from agent import config as settings

    recorded = config.person.settings.people if config.person else None
    if recorded in (None, "gold"):
        return judged(_ledger(config)[0], settings.the_task(config), "answers of several people in the ledger")
    return judged(of_file(config, _items(config)), settings.the_task(config), f"recorded votes in {recorded}")


def waits(config: Config) -> str:
    """What of the ledger's doubled answers is left out for now; "" where nothing is, or recorded votes are counted."""
    from agent.opinions import held_back

    recorded = config.person.settings.people if config.person else None
    more = held_back(_ledger(config)[1]) if recorded in (None, "gold") else ""
    return f"not told yet how far two people agree: {more}" if more else ""


def judged(said: Said, task: Task, where: str) -> Consent | None:
    """Agreement, and the ceiling it sets."""
    from agent import agreement

    votes, people, _ = table(said)
    if int(((votes >= 0).sum(axis=1) >= 2).sum()) < FEW:
        return None
    a, same = agreement.alpha(votes), agreement.pairs(votes)
    labels = len(task.labels) if task.kind == "single" else 2 ** min(len(task.labels), 30)
    most = agreement.ceiling(same.high, labels)
    return Consent(same.items, len(people), (a.value, a.low, a.high), (same.value, same.low, same.high), most, where)


def of_file(config: Config, items: Iterable[Item]) -> Said:
    """Recorded votes of these items, as long as there are several an item; nothing where nobody is recorded."""
    from agent import config as settings
    from agent import plugins

    recorded = config.person.settings.people if config.person else None
    if recorded in (None, "gold"):
        return {}
    task, kind = settings.the_task(config), settings.kind(config)
    answer: Callable[[Item, int], Answer] = plugins.load("oracles", "person").recorded(
        str(config.root / recorded), task, 0
    )
    out: Said = {}
    for item in islice(items, LOOKED):
        found: dict[str, Value] = {}
        for sample in range(RATERS):
            given = answer(item, sample)
            if not given.who or given.who in found:
                break  # they come round again
            if (value := label(kind, task, item, given)) is not None:
                found[given.who] = value
        if len(found) > 1:
            out[item.id] = found
        if len(out) >= ITEMS:
            break
    return out


def _items(config: Config) -> Iterator[Item]:
    from agent import data
    from agent.loop.ground import source

    for batch in data.read(source(config)):
        yield from (row.item for row in batch if isinstance(row, data.Entry))


def _ledger(config: Config) -> tuple[Said, int]:
    """Blind answers in the ledger that figures may rest on, by item and who gave them, where several did, and how many
    items are left out for now; nothing where there is no run."""
    from agent import config as settings
    from agent import opinions, prompt
    from agent.cli.figures import opened
    from agent.errors import UserError
    from agent.report.standing import pool_of

    task, kind = settings.the_task(config), settings.kind(config)
    try:
        store = opened(config)
    except UserError:
        return {}, 0
    with store:
        pool = pool_of(config, store)
        twice, later = opinions.counted(store, prompt.person_recipe(task))
        read = opinions.labels(twice, kind, task, lambda one: pool.item(pool.position(one)))
    said = {one: {who: value for who, value in each.items() if value is not None} for one, each in read.items()}
    return said, later


def words(found: Consent | None, accuracy: float) -> str:
    """What that means for the goal; "" where nothing is known."""
    if found is None:
        return ""
    value, low, high = (100 * share for share in found.pairs)
    most = int(1000 * found.ceiling) / 10
    told = f"two people say the same in {value:.0f} % ({low:.0f} to {high:.0f} %) of {found.items:,} items"
    told += f", α = {found.alpha[0]:.2f}" if np.isfinite(found.alpha[0]) else ""
    if accuracy > found.ceiling:
        return (
            f"{100 * accuracy:g} % is out of reach: {told}, so no labels can agree with one of them in more than "
            f"{most:g} %: write goal.accuracy = {int(100 * found.ceiling) / 100:g} or less, or let the guidelines say "
            "how to decide where they differ"
        )
    return f"{told}: labels can agree with one of them in at most {most:g} %"
