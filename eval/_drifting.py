"""Streams with and without a change, for the drift monitor: real sets, MiniLM embeddings, a linear head.

A student is taught some rows; the reference and the stream are drawn at random from the others, so that without a
change they are exchangeable exactly. A change mixes rows of somewhere else into the stream from row 1,000 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent import drift
from agent.kinds import single
from agent.students import linear
from agent.types import Context, Floats, Item, Layout, Part, Task
from eval import _sets

CACHE = str(Path(__file__).with_name(".cache") / "embeddings")
TAUGHT, BEFORE, AFTER = 2_000, 1_000, 2_000
FULL = 1_024 + 2_048
"""Rows that a full reference takes."""
LEFT_OUT = ("comp.graphics", "rec.sport.hockey", "sci.space", "talk.politics.guns")


@dataclass(frozen=True)
class Known:
    """What a student says of rows it was not taught: features and probabilities, of rows like its pool's and others."""

    layout: Layout
    near: tuple[Floats, Floats]
    far: tuple[Floats, Floats]


def known(near: Sequence[_sets.Row], far: Sequence[_sets.Row], seed: int) -> Known:
    """A student taught 2,000 of `near` says what it thinks of the rest and of `far`."""
    labels = tuple(sorted({row.label for row in near}))
    task = Task("t", "single", dict.fromkeys(labels, ""))
    layout = single.choices(task)
    student = linear.build(linear.Settings(), Context(task, layout, seed, CACHE, "."))
    rows = [near[i] for i in np.random.default_rng(seed).permutation(len(near))]
    x = features(student, rows)
    targets = np.zeros((TAUGHT, layout.width), dtype=np.float32)
    targets[np.arange(TAUGHT), [labels.index(row.label) for row in rows[:TAUGHT]]] = 1
    student.fit(x[:TAUGHT], targets, np.ones(TAUGHT, dtype=np.float32))
    rest, other = x[TAUGHT:], features(student, far)
    return Known(layout, (rest, student.predict(rest)), (other, student.predict(other)))


def features(student: object, rows: Sequence[_sets.Row]) -> Floats:
    """Embeddings, from the cache where they are known."""
    items = [Item(str(i), (Part("text/plain", row.text),)) for i, row in enumerate(rows)]
    return student.features(items)  # type: ignore[attr-defined, no-any-return]


def stream(of: Known, share: float, seed: int, before: int = BEFORE) -> drift.Monitor:
    """A monitor that heard a stream: `before` rows like the pool's, then 2,000 more.

    share: of the rows after the change that come from elsewhere.
    """
    rng = np.random.default_rng(seed)
    x, p = of.near
    order = rng.permutation(len(x))
    pool = min(FULL, len(x) - before - AFTER)
    made = drift.reference(x[order[:pool]], p[order[:pool]], of.layout, seed)
    assert made is not None
    monitor = drift.Monitor(made, of.layout, seed=seed)
    rows = order[pool : pool + before + AFTER]
    x, p = x[rows], p[rows]
    if share:
        other = np.flatnonzero(np.r_[np.zeros(before, bool), rng.random(len(rows) - before) < share])
        drawn = rng.choice(len(of.far[0]), len(other), replace=len(of.far[0]) < len(other))
        x[other], p[other] = of.far[0][drawn], of.far[1][drawn]
    monitor.hear(x, p)
    return monitor


def worlds(quick: bool) -> dict[str, Known]:
    """Name of a change -> what is known of it."""
    bank, news, reviews = (_sets.load(name) for name in ("banking77", "20newsgroups", "sst2"))
    both = [*bank.train, *bank.test]
    out = {"banking77, then movie reviews (sst2)": known(both, reviews.test, 0)}
    if not quick:
        every = [*news.train, *news.test]
        out["16 newsgroups, then 4 others"] = known(
            [row for row in every if row.label not in LEFT_OUT], [row for row in every if row.label in LEFT_OUT], 0
        )
        twenty = bank.labels[:20]
        out["banking77, then its first 20 labels only"] = known(both, [row for row in both if row.label in twenty], 0)
    return out
