"""The items on which students and annotators disagree. Knows neither features nor labels' values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent.acquire import _score
from agent.types import Doubles, Floats, Picks, PoolView

Voice = tuple[float, NDArray[np.floating]]
"""Its weight, and what it says of a block of candidates in one atom, (rows, choices); NaN where it was not heard."""


def pick(view: PoolView, n: int, seed: int) -> Picks:
    """The n candidates of the highest disagreement; several atoms: by the one most disagreed about.

    Students share one voice (`view.members`, else the student itself), each of `view.votes` has one of its own. The
    score is the mean Kullback-Leibler divergence of the voices to their consensus (McCallum & Nigam 1998, eq. 3);
    where all of them are certain this is the vote entropy (Dagan & Engelson 1995). The chance is 1 given the voices, or
    taken / tied at the last score. Where there is one voice only, nobody disagrees: the draw is uniform.
    """
    total = len(view.probabilities)
    scores = np.zeros(total, dtype=np.float32)
    step = max(256, _score.step(view.probabilities) // 4)  # a block of every voice at a time, in the processor's cache
    for start in range(0, total, step):
        block = slice(start, start + step)
        scores[block] = np.max([disagreement(_voices(view, block, atom)) for atom in view.layout.slices], axis=0)
    return _score.top(scores, n, seed)


def disagreement(voices: Sequence[Voice]) -> Floats:
    """Entropy of the consensus less the mean entropy of the voices, over log C: (rows,), 0 = one opinion.

    The consensus is the weighted mean of the voices heard on a row.
    """
    rows, choices = voices[0][1].shape
    if choices < 2:
        return np.zeros(rows, dtype=np.float32)
    consensus, inner, heard = np.zeros((rows, choices)), np.zeros(rows), np.zeros(rows)
    for weight, says in voices:
        there = np.isfinite(says.sum(axis=1))
        p = np.where(there[:, None], says, 0).astype(np.float64)
        consensus += weight * p
        inner += weight * _entropy(p)
        heard += weight * there
    heard = np.maximum(heard, 1e-12)
    spread = (_entropy(consensus / heard[:, None]) - inner / heard) / np.log(choices)
    return np.where(spread > 1e-6, spread, 0).astype(np.float32)  # below: rounding among voices that agree


def _voices(view: PoolView, block: slice, atom: slice) -> list[Voice]:
    students = view.members or (view.probabilities,)
    shared = [(1 / len(students), np.asarray(says[block][:, atom])) for says in students]
    return shared + [(1.0, np.asarray(says[block][:, atom])) for says in view.votes]


def _entropy(p: Doubles) -> Doubles:
    return np.asarray(-(p * np.log(np.maximum(p, 1e-12))).sum(axis=1))
