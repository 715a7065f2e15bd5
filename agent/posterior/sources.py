"""What was heard of n items, made ready for pooling. Works on arrays and a `Layout`; knows no kind or price.

Rows are centred inside each atom, so that only differences between choices count, and machines that were silent on a
row leave their share to those that spoke there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from agent.types import Bools, Floats, Ints, Layout

Doubles = NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)
Role = Literal["student", "machine", "neighbours"]

STUDENT = 0.5
"""The student's exponent before people contradict it: it learned from the machines and may not count them twice."""
VOTE = 4.0
"""Odds of a hard vote before anybody checked, those of a coin right in four of five: log(4 (k − 1)) over any one other
of k choices."""

FIRST = 20.0
"""Imaginary votes for every choice alike: what a machine says of a handful of items is not yet its habit."""


@dataclass(frozen=True)
class Source:
    """One annotator's opinions. `logs`: (n, width) log-probabilities, read only where `heard` (n,) is true.

    `role`: a student was taught by the others, neighbours are labels of like items; machines are witnesses.
    """

    name: str
    logs: Floats
    heard: Bools
    role: Role = "machine"


def cast(name: str, votes: Ints, layout: Layout, role: Role = "machine") -> Source:
    """A source from hard votes, batch-calibrated (`calibrate.batch`): what a machine says of most items is little news.

    Args:
        votes: (n,) or (n, atoms) choice of each atom, -1 where silent.
    """
    named = votes.reshape(len(votes), -1)
    logs = np.zeros((len(named), layout.width), np.float32)
    heard = np.asarray((named >= 0).all(axis=1))
    spoke = np.flatnonzero(heard)
    for a, s in enumerate(layout.slices):
        logs[spoke, s.start + named[spoke, a]] = np.log(VOTE * max(s.stop - s.start - 1, 1))
    logs[spoke] -= logs[spoke].sum(axis=0, dtype=np.float64) / (len(spoke) + FIRST)
    return Source(name, logs, heard, role)


def starts(sources: Sequence[Source]) -> Doubles:
    """Exponents before anybody answered, (J,): machines share one vote, a student has half a one, neighbours none."""
    machines = sum(s.role == "machine" for s in sources)
    worth = {"machine": 1.0 / max(machines, 1), "student": STUDENT if machines else 1.0, "neighbours": 0.0}
    return np.array([worth[s.role] for s in sources])


def centred(rows: NDArray[Real], layout: Layout) -> NDArray[Real]:
    """Rows less their mean inside each atom. (..., width) -> (..., width)."""
    out = np.empty_like(rows)
    for s in layout.slices:
        out[..., s] = rows[..., s] - rows[..., s].mean(axis=-1, keepdims=True)
    return out


def spread(sources: Sequence[Source]) -> Floats:
    """(n, J) by what a source's row is multiplied: 0 where silent, more than 1 where other machines are silent."""
    heard = np.stack([s.heard for s in sources], axis=1).astype(np.float32)
    machines = np.array([s.role == "machine" for s in sources])
    spoke = heard[:, machines].sum(axis=1)
    heard[:, machines] *= (machines.sum() / np.maximum(spoke, 1.0))[:, None]
    return heard


def design(sources: Sequence[Source], rows: Ints | slice, layout: Layout) -> Floats:
    """The pool's terms on some rows, (m, J, width): centred, silent ones zero, machines' shares evened out."""
    part = [Source(s.name, s.logs[rows], s.heard[rows], s.role) for s in sources]
    stack = np.stack([np.where(p.heard[:, None], p.logs, np.float32(0)) for p in part], axis=1).astype(np.float32)
    return centred(stack, layout) * spread(part)[:, :, None]


def tally(sources: Sequence[Source], rows: Ints | slice, layout: Layout) -> Floats:
    """Centred log shares of the machines' votes, (m, width): log((count + .5) / (heard + .5 k)).

    Equal counts are told apart by the mean opinion, a thousandth of it.
    """
    machines = [s for s in sources if s.role == "machine"]
    first = machines[0].logs[rows]
    counts = np.zeros(first.shape, np.float32)
    mean = np.zeros(first.shape, np.float32)
    here = np.arange(len(first))
    for source in machines:
        logs, ears = source.logs[rows], source.heard[rows]
        mean += np.where(ears[:, None], logs, np.float32(0)) / len(machines)
        for s in layout.slices:
            best = s.start + logs[:, s].argmax(axis=1)
            counts[here[ears], best[ears]] += 1
    for s in layout.slices:
        total = counts[:, s].sum(axis=1, keepdims=True)
        counts[:, s] = np.log((counts[:, s] + 0.5) / (total + 0.5 * (s.stop - s.start)))
    return centred(counts + np.float32(1e-3) * centred(mean, layout), layout)
