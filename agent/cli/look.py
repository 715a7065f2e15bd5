"""The doctor's look at the pool: its rows, what is in the way of some, and what a run of it holds. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.begin import FIRST, left, listed, named, strangers
from agent.errors import TutelageError, UserError

if TYPE_CHECKING:
    from agent.cli.ground import Check
    from agent.config import Config
    from agent.data import Source
    from agent.types import Item, SetAside

REMEMBERED = 1_000_000
"""Rows up to which the pool is compared with what the run took in."""


@dataclass
class Seen:
    """What a reading of the pool found. `ids`: item -> the user's own id."""

    items: int = 0
    gold: int = 0
    odd: int = 0
    aside: list[SetAside] = field(default_factory=list)
    ids: dict[str, str | None] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)


def pool(config: Config, overrides: Sequence[str], some: list[Item], want: int) -> Iterator[Check]:
    """Counts, the rows set aside with their reasons, whether gold and labels agree, what changed since a run.

    The first `want` items are put into `some`.
    """
    from agent.cli.ground import Check
    from agent.loop.ground import source

    if config.pool.path == "-":
        yield Check("pool", "ok", "standard input: read when the run begins")
        return
    given = next((override for override in overrides if override.startswith("pool.")), None)
    mend = f"correct --set {given}" if given else "correct [pool]"
    try:
        seen = _read(config, source(config), some, want)
    except UserError as error:
        yield Check("pool", "fail", str(error), mend)
        return
    words = f"{seen.items:,} items of {seen.items + len(seen.aside):,} rows in {config.pool.path}"
    if not seen.items:
        yield Check("pool", "fail", words, f"the first: row {seen.aside[0].row}: {seen.aside[0].reason}")
    else:
        yield Check("pool", "ok", words)
    if seen.aside:
        rows = tuple(f"{row.file}, row {row.row}: {row.reason}" for row in seen.aside)
        finding = f"{len(rows):,}: {listed(seen.aside, len(rows))}"
        yield Check("rows set aside", "warn", finding, "correct these rows, or go on without", rows)
    if config.pool.gold:
        yield _gold(config, seen)
    yield from _since(config, seen)


def _read(config: Config, source: Source, some: list[Item], want: int) -> Seen:
    from dataclasses import replace

    from agent import data

    seen = Seen()
    for batch in data.read(source):
        for row in batch:
            if not isinstance(row, data.Entry):
                seen.aside.append(replace(row, file=data.short(source, row.file)))
                continue
            seen.items += 1
            if len(some) < want:
                some.append(row.item)
            seen.gold += row.item.gold is not None
            if seen.items <= REMEMBERED:
                seen.ids[row.item.id] = row.item.name
            odd, unknown = strangers([row.item.gold], config.task.labels)
            if odd:
                seen.odd += 1
                seen.unknown.update(unknown)
                seen.strange.append(
                    f"{data.short(source, row.file)}, row {row.row}: {', '.join(repr(name[:60]) for name in unknown)}"
                )
    return seen


def _gold(config: Config, seen: Seen) -> Check:
    from agent.cli.ground import Check

    if seen.odd:
        first = "; ".join(seen.strange[:FIRST])
        finding = f"not among the labels: {named(seen.unknown)}; the first: {first}"
        mend = "add them to task.labels, or correct the column"
        return Check("gold labels", "warn", finding, mend, tuple(seen.strange))
    if not seen.gold:
        return Check("gold labels", "warn", f"column {config.pool.gold!r} is empty", "remove pool.gold")
    return Check("gold labels", "ok", f"{seen.gold:,} of {seen.items:,} items have one")


def _since(config: Config, seen: Seen) -> Iterator[Check]:
    """What the run holds and the pool does not any more."""
    from agent.cli.figures import opened
    from agent.cli.ground import Check

    if seen.items > REMEMBERED or ("://" not in config.store_url and not Path(config.store_url).exists()):
        return
    try:
        with opened(config) as store:
            taken = dict(zip(store.item_ids(), store.names(), strict=True))
    except TutelageError:
        return  # the ledger has a check of its own
    names = {name for name in seen.ids.values() if name is not None}
    lost = {item: name for item, name in taken.items() if item not in seen.ids}
    changed = sum(name in names for name in lost.values())
    for line in left(len(lost) - changed, changed):
        yield Check("pool since then", "warn", line, "for a pool of its own, start a new run folder (run.dir)")
