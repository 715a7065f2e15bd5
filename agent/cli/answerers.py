"""Who answers in `tutelage eval`: gold, made-up mistakes, or votes recorded in a file (columns id, label, model)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.errors import ConfigError, DataError

if TYPE_CHECKING:
    from agent.bench import Answers, Plan, Problem
    from agent.cli.labeled import Labeled
    from agent.types import Ints, Student

LEAST = 20
"""Rows that must have a vote."""


def who(
    oracle: str, plan: Plan, found: Labeled, problem: Problem, student: Student, names: Sequence[str | None]
) -> Callable[[int], Answers]:
    """What is answered, by seed. names: the ids of the rows that may be asked about.

    Raises:
        ConfigError: --oracle says nothing known, or a number that makes no sense. DataError: see `_ballots`.
    """
    from agent import bench

    sort, _, rest = oracle.partition(":")
    if sort == "gold" and not rest:
        answers = bench.gold(problem)
        return lambda seed: answers
    if sort == "noisy":
        share, _, votes = rest.partition("x")
        try:
            accuracy, count = float(share), int(votes or 1)
        except ValueError:
            accuracy, count = 0.0, 0
        if not 0 < accuracy < 1 or count < 1:
            raise ConfigError(f"--oracle {oracle}: write noisy:0.85, or noisy:0.85x2 for two votes an item")
        doubt = bench.doubts(problem, student)
        return lambda seed: bench.noisy(problem, doubt, accuracy, count, seed)
    if sort == "votes" and rest:
        recorded = bench.recorded(problem, _ballots(rest, found, names), Path(rest).name)
        heard = int(recorded.told.sum())
        if (able := heard - min(plan.pilot, heard // 5)) < plan.labels:
            raise DataError(
                f"{rest} has votes for {heard:,} of {problem.n:,} rows, and {heard - able:,} of them stand for a "
                f"pilot: give --labels {able} or less"
            )
        return lambda seed: recorded
    raise ConfigError(f"--oracle {oracle!r} is not known: write gold, noisy:0.85 or votes:FILE")


def _ballots(path: str, found: Labeled, names: Sequence[str | None]) -> Ints:
    """(voters, rows, atoms) numbers of choices, −1 where a voter has said nothing; a voter's first word counts.

    names: the ids of the rows wanted. Votes for other ids are passed over.

    Raises:
        DataError: the rows have no ids, a column is not there, a vote is no label, or hardly a row has votes.
    """
    from agent import data, plugins
    from agent.cli.peek import peek

    if not any(names):
        raise DataError(f"votes:{path}: votes name items by their id; name the column of ids with --id")
    columns = peek(path, ("label",), None, None).columns
    if missing := [name for name in ("id", "label") if name not in columns]:
        held = ", ".join(map(repr, columns))
        raise DataError(f"votes:{path}: there is no column {missing[0]!r}; votes need id and label. Columns: {held}")
    voter = "model" if "model" in columns else None
    source = data.Source(path, ("label",), "id", unique=False, given=True, keep=(voter,) if voter else ())
    where = {name: row for row, name in enumerate(names)}
    kind = plugins.load("kinds", found.task.kind)
    votes: dict[str, Ints] = {}
    for batch in data.read(source):
        for row in batch:
            at = where.get(row.item.name) if isinstance(row, data.Entry) else None
            if at is None or not isinstance(row, data.Entry):
                continue
            label = row.item.text
            value = tuple(sorted(label.split("|"))) if found.task.kind == "multi" else label
            unknown = next(
                (one for one in ((value,) if isinstance(value, str) else value) if one not in found.task.labels), None
            )
            if unknown is not None:
                raise DataError(
                    f"{row.file}, row {row.row}: the vote {unknown!r} is no label of the data; correct the row, or "
                    "leave it out"
                )
            own = votes.setdefault(
                str(row.kept.get(voter or "", "")), np.full((len(names), len(found.layout.atoms)), -1)
            )
            if (own[at] < 0).all():
                said = kind.atoms(found.task, value)
                own[at] = [c.index(said[a]) for a, c in zip(found.layout.atoms, found.layout.choices, strict=True)]
    heard = Counter({name: int((own >= 0).all(axis=1).sum()) for name, own in votes.items()})
    if not heard or max(heard.values()) < LEAST:
        raise DataError(
            f"{path} has votes for {max(heard.values(), default=0)} of the rows; at least {LEAST} are needed"
        )
    return np.stack([votes[name] for name, _ in heard.most_common()])
