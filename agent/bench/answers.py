"""What an oracle would say of every row of the pool: gold, made-up mistakes, or votes recorded before. Knows arrays.

Made-up mistakes are of two sorts, half of each. Of a class: some labels are mistaken more often than others, and for
labels they look like. At the boundary: an item that a model taught on all gold labels is unsure of is mistaken more
often, and for what that model takes it for. So doubtful picks get worse labels than random ones, as in real life.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent import teach
from agent.bench.problem import UNKNOWN, Problem, hot
from agent.types import Bools, Floats, Ints, Layout, Student

WORST = 0.95
"""No item is mistaken with a greater chance than this."""
EVEN = 0.1
"""The share of mistakes that fall on any other label alike."""


@dataclass(frozen=True)
class Answers:
    """votes: (v, n, atoms) numbers of choices, `UNKNOWN` where a voter has none. exact: they are gold, and known to be.

    A vote's worth is what a pilot shows (`targets`).
    """

    name: str
    votes: Ints
    exact: bool = False

    @property
    def told(self) -> Bools:
        """Rows that somebody has a vote for in every atom, (n,)."""
        return np.asarray((self.votes != UNKNOWN).any(axis=0).all(axis=1))

    def targets(self, problem: Problem, pilot: Ints, soft: bool = True) -> Floats:
        """What a student is taught of each row, (n, width).

        Soft: the posterior of one-coin voters, each right as often as on the pilot's rows (Laplace's rule), mistakes
        spread evenly, voters independent given the truth, labels as frequent as each other; gold as it is. Hard: the
        first voter's word.
        """
        layout = problem.layout
        if self.exact or not soft:
            first = self.votes[0].copy()
            for vote in self.votes[1:]:
                first = np.where(first == UNKNOWN, vote, first)
            return hot(first, layout)
        logs = np.zeros((problem.n, layout.width), dtype=np.float32)
        for vote in self.votes:
            for number, atom in enumerate(layout.slices):
                choices = atom.stop - atom.start
                heard = pilot[vote[pilot, number] != UNKNOWN]
                rate = (float((vote[heard, number] == problem.gold[heard, number]).sum()) + 1) / (len(heard) + 2)
                odds = np.log(max(rate, 1 / choices)) - np.log((1 - min(rate, 1 - 1e-6)) / max(choices - 1, 1))
                logs[:, atom] += np.float32(odds) * hot(vote[:, [number]], _one(layout, number))
        return layout.normalise(logs)


def _one(layout: Layout, number: int) -> Layout:
    return Layout(layout.atoms[number : number + 1], layout.choices[number : number + 1])


def gold(problem: Problem) -> Answers:
    """An oracle that is always right."""
    return Answers("gold", problem.gold[None].copy(), exact=True)


def recorded(problem: Problem, votes: Ints, name: str = "votes") -> Answers:
    """Votes recorded before, (v, n, atoms), `UNKNOWN` where there is none.

    Raises:
        ValueError: the shape is not the pool's.
    """
    if votes.ndim != 3 or votes.shape[1:] != problem.gold.shape:
        raise ValueError(f"votes of shape {votes.shape}; the pool has {problem.gold.shape}")
    return Answers(name, votes)


def doubts(problem: Problem, student: Student, folds: int = 3, seed: int = 0) -> Floats:
    """What a student taught all gold labels says of the pool, cross-fitted, (n, width): for `noisy`."""
    sure = np.ones(problem.n, dtype=np.float32)
    lesson = teach.Lesson(np.arange(problem.n), hot(problem.gold, problem.layout), sure)
    return teach.teach(student.fresh(), problem.pool, lesson, problem.n, folds, seed)


def noisy(problem: Problem, doubt: Floats, accuracy: float, votes: int = 1, seed: int = 0) -> Answers:
    """Votes that are right with the chance `accuracy` on the whole pool, drawn anew for each vote. doubt: see `doubts`.

    Raises:
        ValueError: accuracy is not above 0 and below 1, or there are no votes.
    """
    if not 0 < accuracy < 1 or votes < 1:
        raise ValueError(f"accuracy = {accuracy} and votes = {votes}: between 0 and 1, and 1 or more")
    rng = np.random.default_rng(seed)
    out = np.empty((votes, *problem.gold.shape), dtype=np.int64)
    for number, atom in enumerate(problem.layout.slices):
        truth = problem.gold[:, number]
        chance, instead = _mistakes(doubt[:, atom], truth, 1 - accuracy)
        for vote in out:
            wrong = rng.random(problem.n) < chance
            drawn = (np.cumsum(instead, axis=1) < rng.random((problem.n, 1))).sum(axis=1)
            vote[:, number] = np.where(wrong, np.minimum(drawn, instead.shape[1] - 1), truth)
    return Answers(f"noisy:{accuracy:g}" + (f"x{votes}" if votes > 1 else ""), out)


def _mistakes(doubt: Floats, truth: Ints, share: float) -> tuple[Floats, Floats]:
    """The chance that each row is mistaken, (n,), of mean `share`; and for what, (n, choices), rows summing to one."""
    n, choices = doubt.shape
    if choices < 2:
        return np.zeros(n, np.float32), np.ones((n, choices), np.float32)
    rows = np.arange(n)
    confused = np.zeros((choices, choices))
    np.add.at(confused, truth, doubt)
    confused /= np.maximum(np.bincount(truth, minlength=choices), 1)[:, None]
    unsure = 1 - np.diff(np.sort(doubt, axis=1)[:, -2:], axis=1)[:, 0]  # one less the margin
    of_class = 1 - confused[truth, truth]
    weight = of_class / max(of_class.mean(), 1e-9) + unsure / max(float(unsure.mean()), 1e-9)
    low, high = 0.0, float(n)  # the scale that gives the mean share, the greatest chances being cut off
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(middle * weight, WORST).mean() < share else (low, middle)
    instead = (confused[truth] + doubt) / 2
    instead[rows, truth] = 0
    instead /= np.maximum(instead.sum(axis=1, keepdims=True), 1e-12)
    even = np.full((n, choices), 1 / (choices - 1))
    even[rows, truth] = 0
    instead = (1 - EVEN) * instead + EVEN * even
    return np.minimum(low * weight, WORST).astype(np.float32), np.asarray(
        instead / instead.sum(axis=1, keepdims=True), dtype=np.float32
    )
