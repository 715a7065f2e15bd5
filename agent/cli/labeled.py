"""Labeled rows for `tutelage eval`: from a file with a gold column, from a run's pool, or from a run's own labels.

Knows no students and no strategies; every row left out is counted, and said with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.cli.house import Common, many
from agent.errors import DataError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.data import Entry
    from agent.types import Bools, Ints, Item, Kind, Layout, Task, Value

SPLIT, TEST = "split", "test"
SHOWN = 5
"""Rows left out that are named; the rest are counted."""
FEWEST = 20
"""Labeled rows without which nothing can be measured."""


@dataclass(frozen=True)
class Labeled:
    """items and codes: rows with a label and the number of each atom's choice, (n, atoms). tested: rows that are only
    tested on, where a column says which. against: whose labels these are, in words; gold: whether they are called so.
    """

    name: str
    task: Task
    layout: Layout
    items: tuple[Item, ...]
    codes: Ints
    tested: Bools | None
    against: str
    gold: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    item: Item
    value: Value
    file: str
    row: int
    tested: bool = False


def from_file(common: Common, file: str, gold: str | None, text: Sequence[str], own: str | None) -> Labeled:
    """The rows of a file that have a label. Labels, their names and descriptions are the configuration's where one was
    named (-c), else what the column holds.

    Raises:
        DataError, ConfigError: nothing is there, no column is meant, or it holds no labels.
    """
    from agent import data
    from agent.cli.peek import peek

    guess = peek(file, text, own, gold)
    if guess.gold is None:
        raise DataError(
            f"{file}: no column holds known labels; name it, as in --gold label. Columns: "
            + ", ".join(map(repr, guess.columns))
        )
    config = common.config() if common.given else None
    kind = config.task.kind if config else "multi" if guess.several else "single"
    keep = (SPLIT,) if SPLIT in guess.columns and SPLIT not in (guess.gold, *guess.text) else ()
    source = data.Source(file, guess.text, own, guess.gold, kind=kind, given=True, keep=keep)
    rows, notes = _read(source)
    against = f"the gold column {guess.gold!r} of {file}"
    return _labeled(file, guess.gold, rows, notes, config, kind, against, True)


def from_run(config: Config, gold: str | None, flags: str) -> Labeled:
    """The configuration's pool by its gold column; without one, by the labels that its run has accepted so far.

    Raises:
        DataError: as `from_file`. UserError: there is neither a gold column nor a run.
    """
    from agent import data

    column = gold or config.pool.gold
    if column is not None:
        pool = config.pool
        source = data.Source(
            config.pool_path,
            pool.text,
            pool.id,
            column,
            pool.format,
            pool.split,
            config.task.kind,
            given=gold is not None,
        )
        rows, notes = _read(source)
        return _labeled(pool.path, column, rows, notes, config, config.task.kind, f"the gold column {column!r}", True)
    from agent import export
    from agent.cli.figures import opened
    from agent.report.standing import pool_of

    with opened(config, flags) as store:
        pooled = pool_of(config, store)
        told = export.labels(config, store, pooled, text=False)
        rows = [
            _Row(pooled.item(i), tuple(value) if isinstance(value, list) else value, told["file"][i], told["row"][i])
            for i, (value, status) in enumerate(zip(told["label"], told["status"], strict=True))
            if status == "accepted" and value is not None
        ]
        people = sum(told["by"][i] == "person" for i, status in enumerate(told["status"]) if status == "accepted")
    against = (
        f"the {many(len(rows), 'label')} that the run in {config.folder} has accepted ({people:,} of them people's): "
        "no gold, and right only as far as the run is"
    )
    return _labeled(config.pool.path, "label", rows, [], config, config.task.kind, against, False)


def _read(source: Any) -> tuple[list[_Row], list[str]]:
    from agent import data

    rows: list[_Row] = []
    aside: list[str] = []
    empty = 0
    for batch in data.read(source):
        for row in batch:
            if not isinstance(row, data.Entry):
                aside.append(f"{row.file}, row {row.row}: {row.reason}")
            elif row.item.gold is None:
                empty += 1
            else:
                rows.append(_Row(row.item, row.item.gold, row.file, row.row, _is_test(row)))
    notes = [f"left out: {one}" for one in aside[:SHOWN]]
    if len(aside) > SHOWN:
        notes.append(f"left out: {many(len(aside) - SHOWN, 'more row')}")
    if empty:
        notes.append(f"left out: {many(empty, 'row')} without a label in column {source.gold!r}")
    return rows, notes


def _is_test(row: Entry) -> bool:
    return str(row.kept.get(SPLIT) or "").strip().casefold() == TEST


def _labeled(
    name: str, column: str, rows: list[_Row], notes: list[str], config: Config | None, kind: str, against: str,
    gold: bool,
) -> Labeled:  # fmt: skip
    from agent import config as settings
    from agent import plugins
    from agent.types import Task

    if len(rows) < FEWEST:
        first = f" ({notes[0]}; labels are text, as in 'spam')" if notes and not rows else ""
        raise DataError(
            f"{name}: {many(len(rows), 'row')} with a label in column {column!r}, and at least {FEWEST} are needed"
            + first
        )
    if config is not None:
        task = settings.the_task(config)
    else:
        task = Task(name, kind, dict.fromkeys(_names(name, column, rows), ""))
    made: Kind = plugins.load("kinds", task.kind)
    layout = made.choices(task)
    codes = np.array([_codes(task, made, layout, column, row) for row in rows], np.int64)
    tested = np.array([row.tested for row in rows])
    split = tested if 0 < tested.sum() < len(tested) else None
    items = tuple(row.item for row in rows)
    return Labeled(name, task, layout, items, codes, split, against, gold, tuple(notes))


def _names(name: str, column: str, rows: list[_Row]) -> list[str]:
    """The labels a column holds, in order.

    Raises:
        DataError: one label only, or nearly as many as there are rows.
    """
    found = Counter(one for row in rows for one in ((row.value,) if isinstance(row.value, str) else row.value))
    if len(found) < 2:
        only = f"only {next(iter(found))!r}" if found else "no label"
        raise DataError(f"{name}: column {column!r} holds {only}; there must be two labels to tell apart")
    if len(found) > max(len(rows) // 2, 2):
        raise DataError(
            f"{name}: column {column!r} holds {len(found):,} different values in {len(rows):,} rows, which are no "
            "labels; name another column with --gold"
        )
    return sorted(found)


def _codes(task: Task, kind: Kind, layout: Layout, column: str, row: _Row) -> list[int]:
    for one in (row.value,) if isinstance(row.value, str) else row.value:
        if one not in task.labels:
            raise DataError(
                f"{row.file}, row {row.row}: column {column!r} says {one!r}, which is no label of the task; "
                "add it to task.labels, or correct the row"
            )
    said = kind.atoms(task, row.value)
    return [choices.index(said[atom]) for atom, choices in zip(layout.atoms, layout.choices, strict=True)]
