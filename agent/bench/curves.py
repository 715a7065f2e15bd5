"""Learning curves: accuracy by labels asked for, their mean over seeds, and the labels needed to reach an accuracy.

Knows numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.types import Doubles, Ints


@dataclass(frozen=True)
class Curve:
    """One run of one strategy. labels: (steps + 1,), from 0 on. accuracy: (steps + 1,) on the test rows.

    right: the share of the answers asked for that are gold's (nan: none were asked for). by: the strategy that each
    step's picks came from. seconds: CPU time of picks, and of lessons with the tests.
    """

    strategy: str
    seed: int
    labels: Ints
    accuracy: Doubles
    right: float
    by: tuple[str, ...]
    seconds: tuple[float, float]

    @property
    def mean(self) -> float:
        """Mean accuracy over the steps, the one before any label left out."""
        return float(self.accuracy[1:].mean()) if len(self.accuracy) > 1 else float(self.accuracy[0])


@dataclass(frozen=True)
class Summary:
    """Curves of one strategy over seeds. accuracy, spread: (steps + 1,) mean and standard deviation over seeds.

    mean, start, end: (mean, standard deviation) over seeds of the mean curve, of accuracy at no label and at the end.
    right: mean share of right answers. seconds: mean CPU time a curve.
    """

    strategy: str
    seeds: int
    labels: Ints
    accuracy: Doubles
    spread: Doubles
    mean: tuple[float, float]
    start: tuple[float, float]
    end: tuple[float, float]
    right: float
    seconds: float

    def needed(self, accuracy: float) -> float | None:
        """Labels at which the mean over seeds reaches an accuracy for the first time, None where it does not."""
        return needed(self.labels, self.accuracy, accuracy)


def summary(curves: Sequence[Curve]) -> Summary:
    """Curves of one strategy, one a seed.

    Raises:
        ValueError: there are none, or they differ in strategy or steps.
    """
    if not curves or any(
        c.strategy != curves[0].strategy or not np.array_equal(c.labels, curves[0].labels) for c in curves
    ):
        raise ValueError("a summary is of curves of one strategy and the same steps")
    every = np.stack([c.accuracy for c in curves])
    return Summary(
        curves[0].strategy,
        len(curves),
        curves[0].labels,
        every.mean(axis=0),
        _deviation(every),
        _pair([c.mean for c in curves]),
        _pair(every[:, 0]),
        _pair(every[:, -1]),
        float(np.mean([c.right for c in curves])),
        float(np.mean([sum(c.seconds) for c in curves])),
    )


def needed(labels: Ints, accuracy: Doubles, target: float) -> float | None:
    """Labels where a curve first reaches the target, straight between its points; None where it does not."""
    there = np.flatnonzero(accuracy >= target)
    if not len(there):
        return None
    at = int(there[0])
    if at == 0:
        return float(labels[0])
    share = (target - accuracy[at - 1]) / (accuracy[at] - accuracy[at - 1])
    return float(labels[at - 1] + share * (labels[at] - labels[at - 1]))


def _deviation(rows: Doubles) -> Doubles:
    return np.asarray(rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1:]))


def _pair(values: Sequence[float] | Doubles) -> tuple[float, float]:
    found = np.asarray(values, dtype=np.float64)
    return float(found.mean()), float(_deviation(found))
