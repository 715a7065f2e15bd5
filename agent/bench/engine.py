"""The simulation: pick, hear, teach, test, again. Knows strategies and students only by their protocols."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent import plugins, teach
from agent.bench.answers import Answers
from agent.bench.curves import Curve
from agent.bench.problem import Problem, hot, right
from agent.bench.view import LazyView, Members, later
from agent.errors import PluginError
from agent.types import Bools, Doubles, Floats, Ints, Picks, Student, Tried

Report = Callable[[int, int, str], None]
"""Called with the steps done, the steps in all, and which curve is at work."""


@dataclass(frozen=True)
class Plan:
    """How a simulated run goes.

    labels: answers asked for in all, at most the pool's. batch: a step. pilot: rows drawn at random that people
    answered beforehand, as in a run: voters' worth and the gain of each batch are measured on them; they are neither
    taught nor counted. soft: targets are posteriors, weighted by how sure they are; else the first voter's word, all
    alike. folds, members: twins for cross-fitting and for ensembles. balance: see `PoolView`.
    """

    labels: int = 1_000
    batch: int = 50
    pilot: int = 100
    soft: bool = True
    folds: int = 5
    members: int = 5
    balance: bool = False

    def sizes(self, most: int) -> list[int]:
        """The sizes of the batches, of at most `most` rows in all."""
        total = min(self.labels, most)
        return [min(self.batch, total - start) for start in range(0, total, self.batch)]


@dataclass(frozen=True)
class Known:
    """What a student says before it was taught anything: of the pool, (n, width), and how often right on the test."""

    pool: Floats
    accuracy: float


def know(problem: Problem, student: Student) -> Known:
    """What an untrained twin of a student says by the labels' names alone, if it does so."""
    twin = student.fresh()
    return Known(twin.predict(problem.pool), _accuracy(twin, problem))


def full(problem: Problem, student: Student) -> float:
    """Accuracy on the test rows of a student that was taught the whole pool's gold labels."""
    twin = student.fresh()
    twin.fit(problem.pool, hot(problem.gold, problem.layout), np.ones(problem.n, dtype=np.float32))
    return _accuracy(twin, problem)


def run(
    problem: Problem,
    student: Student,
    strategies: Sequence[str],
    oracle: Callable[[int], Answers],
    seeds: Iterable[int] = range(5),
    plan: Plan = Plan(),
    report: Report | None = None,
) -> list[Curve]:
    """A curve for each seed and strategy, seeds outermost.

    student: untrained; each curve is taught to a twin (`fresh`). oracle: the answers of a seed. A seed fixes the pilot,
    the strategies' draws and the folds, the same for all strategies; the same arguments give the same curves.

    Raises:
        PluginError: no strategy of that name, or its picks are not distinct candidates, as many as it was asked for.
    """
    known = know(problem, student)
    seeds = list(seeds)
    steps = len(plan.sizes(problem.n))
    out: list[Curve] = []
    for seed in seeds:
        answers = oracle(seed)
        for name in strategies:
            made = _Run(problem, student.fresh(), name, answers, plan, seed, known)
            for done in made.steps():
                if report:
                    report(len(out) * steps + done, len(seeds) * len(strategies) * steps, f"{name}, seed {seed}")
            out.append(made.curve())
    return out


class _Run:
    """One strategy at work with one seed."""

    def __init__(
        self, problem: Problem, student: Student, name: str, answers: Answers, plan: Plan, seed: int, known: Known
    ) -> None:
        self.problem, self.student, self.name, self.answers, self.plan = problem, student, name, answers, plan
        self.seed, self.known = seed, known
        function = plugins.load("acquire", name)
        self.pick = getattr(function, "pick", function)
        told = np.flatnonzero(answers.told)
        drawn = np.random.default_rng(seed).permutation(told)
        self.pilot: Ints = np.sort(drawn[: min(plan.pilot, len(told) // 5)])
        self.targets = answers.targets(problem, self.pilot, plan.soft)
        self.open: Bools = answers.told.copy()
        self.open[self.pilot] = False
        self.rows: Ints = np.zeros(0, np.int64)
        self.says = known.pool
        self.history: list[Tried] = []
        self.memory: dict[str, Any] = {}
        self.labels, self.accuracy, self.by = [0], [known.accuracy], list[str]()
        self.seconds = [0.0, 0.0]

    def steps(self) -> Iterable[int]:
        """Take all steps; gives the number of each one taken."""
        for number, size in enumerate(self.plan.sizes(int(self.open.sum()))):
            begun = time.process_time()
            picks, rows = self._picks(number, size)
            picked = time.process_time()
            self._learn(picks, rows)
            self.seconds[0] += picked - begun
            self.seconds[1] += time.process_time() - picked
            yield number + 1

    def curve(self) -> Curve:
        """What came of the steps."""
        votes = self.answers.votes[:, self.rows]
        right = float((votes == self.problem.gold[self.rows])[votes >= 0].mean()) if len(self.rows) else float("nan")
        labels, accuracy = np.array(self.labels, np.int64), np.array(self.accuracy, np.float64)
        seconds = (self.seconds[0], self.seconds[1])
        return Curve(self.name, self.seed, labels, accuracy, right, tuple(self.by), seconds)

    def _picks(self, number: int, size: int) -> tuple[Picks, Ints]:
        candidates = np.flatnonzero(self.open)
        picks: Picks = self.pick(self._view(candidates), size, self.seed * 10_007 + number)
        if len(picks.rows) != size or len(np.unique(picks.rows)) != size:
            raise PluginError(f"{self.name} picked {len(np.unique(picks.rows))} items; it was asked for {size}")
        return picks, candidates[picks.rows]

    def _view(self, candidates: Ints) -> LazyView:
        features, plan, rows = self.problem.pool, self.plan, self.rows
        members: Sequence[Floats] = ()
        if len(rows) and hasattr(self.student, "members"):
            crowd: Any = self.student
            members = Members(lambda: crowd.members(features[candidates], plan.members, self.seed), plan.members)
        return LazyView(
            layout=self.problem.layout,
            probabilities=self.says[candidates],
            features=features[candidates],
            labeled=features[rows] if len(rows) else None,
            targets=self.targets[rows] if len(rows) else None,
            said=later(self._said) if len(rows) else None,
            members=members,
            knowledge=self.known.pool[candidates],
            balance=plan.balance,
            history=tuple(self.history),
            memory=self.memory,
            rows=candidates,
            labeled_rows=rows,
        )

    def _lesson(self) -> teach.Lesson:
        """What is settled, in the order it was asked: row i of the lesson stays item i, and so does its fold."""
        targets, all_of_them = self.targets[self.rows], np.ones(len(self.rows), bool)
        return teach.lesson(targets, all_of_them, targets, ~all_of_them, self.problem.layout)

    def _said(self) -> Floats:
        """What twins that were not taught them say of the rows asked about."""
        lesson = self._lesson()
        features = self.problem.pool[self.rows]
        return teach.teach(self.student, features, lesson, len(self.rows), self.plan.folds, self.seed)

    def _learn(self, picks: Picks, rows: Ints) -> None:
        self.open[rows] = False
        self.rows = np.concatenate([self.rows, rows])
        lesson = self._lesson()
        before = self._loss()
        self.student.fit(self.problem.pool[self.rows], lesson.targets, lesson.weights)
        self.says = self.student.predict(self.problem.pool)
        after = self._loss()
        by = picks.by or self.name
        if len(self.pilot):
            gain = before - after
            error = float(gain.std() / max(len(gain) - 1, 1) ** 0.5)
            self.history.append(Tried(by, len(rows), float(gain.mean()), error))
        self.by.append(by)
        self.labels.append(len(self.rows))
        self.accuracy.append(_accuracy(self.student, self.problem))

    def _loss(self) -> Doubles:
        """−log of what the student gives the truth on the pilot's rows, summed over atoms, (pilot,)."""
        given = np.maximum(self.says[self.pilot], 1e-6, dtype=np.float64)
        return np.asarray(-(np.log(given) * hot(self.problem.gold[self.pilot], self.problem.layout)).sum(axis=1))


def _accuracy(student: Student, problem: Problem) -> float:
    """The share of right choices on the test rows, over all atoms."""
    return float(right(student.predict(problem.test), problem.truth, problem.layout).mean())
