"""What machines' votes say when nobody checked: who is believed follows from who agrees with whom. Knows no people.

Dawid & Skene (1979), as one way of pooling among others; it is believed only as far as people's answers bear it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent import aggregate
from agent.posterior.sources import Doubles, Source, centred
from agent.types import Floats, Ints, Layout

LEARNT = 20_000
"""Items that confusions are learnt from: drawn at random where there are more."""
SUREST = 1e-4
"""No choice is less likely: annotators that err together make this model far too sure."""


@dataclass(frozen=True)
class Crowd:
    """`tables`: one an atom, (J, k + 1, k): log chance of machine j's vote v where the label is c at [j, v, c], and
    zeros at v = k for one that is silent; `prior`: one an atom, (k,) log shares."""

    tables: Sequence[Doubles]
    prior: Sequence[Doubles]

    def says(self, sources: Sequence[Source], rows: Ints | slice, layout: Layout) -> Floats:
        """Centred log posterior of some rows, (m, width)."""
        votes = _votes(sources, rows, layout)
        out = np.empty((len(votes), layout.width), np.float32)
        for a, s in enumerate(layout.slices):
            z = np.repeat(self.prior[a][None], len(votes), axis=0)
            for j, table in enumerate(self.tables[a]):
                z += table[votes[:, j, a]]
            z = np.exp(z - z.max(axis=1, keepdims=True))
            out[:, s] = np.log(np.maximum(z / z.sum(axis=1, keepdims=True), SUREST))
        return centred(out, layout)


def crowd(sources: Sequence[Source], layout: Layout, seed: int = 0, learnt: int = LEARNT) -> Crowd | None:
    """Learn who is to be believed; None where fewer than three machines spoke, since two can only contradict."""
    n = len(sources[0].logs)
    rows = np.arange(n)
    if n > learnt:
        rows = np.sort(np.random.default_rng(seed).choice(n, learnt, replace=False))
    if sum(s.role == "machine" for s in sources) < 3:
        return None
    votes = _votes(sources, rows, layout)
    tables, prior = [], []
    for a, s in enumerate(layout.slices):
        k = s.stop - s.start
        named = np.where(votes[:, :, a] == k, -1, votes[:, :, a])
        belief, confusion = aggregate.dawid_skene(named, k)
        table = np.zeros((votes.shape[1], k + 1, k))
        table[:, :k] = np.log(confusion.transpose(0, 2, 1))
        tables.append(table)
        prior.append(np.log(np.maximum(belief.mean(axis=0, dtype=np.float64), 1e-9)))
    return Crowd(tables, prior)


def _votes(sources: Sequence[Source], rows: Ints | slice, layout: Layout) -> Ints:
    """(m, J, atoms) likeliest choices of the machines, k where one is silent."""
    machines = [s for s in sources if s.role == "machine"]
    out = np.empty((len(machines[0].logs[rows]), len(machines), len(layout.slices)), np.int64)
    for j, source in enumerate(machines):
        logs, silent = source.logs[rows], ~source.heard[rows]
        for a, s in enumerate(layout.slices):
            out[:, j, a] = np.where(silent, s.stop - s.start, logs[:, s].argmax(axis=1))
    return out
