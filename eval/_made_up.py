"""A student taught made-up answers of known accuracy, beside itself taught gold. Knows arrays and `agent.bench`.

Answers are `bench.noisy`: class-conditional and boundary mistakes, half of each. The student is taught a draw of the
train rows and tested on the test split against gold. One answer an item, or two whose posterior is taught (soft).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from agent import bench, teach
from agent.types import Floats, Ints, Student
from eval import _bench

ACCURACY, PILOT, FEW = 0.85, 100, 20
"""How often answers are right; items that people answer; more labels than this are too dear to try each way on."""
SETS = ("ag_news", "sst2", "trec6", "clinc150_oos", "20newsgroups", "zh_tnews", "banking77")
COLUMNS = ("teacher", "gold", "hard", "ours", "people", "two")


def once(problem: bench.Problem, one: Student, doubt: Floats, seed: int) -> tuple[dict[str, float], str]:
    """Accuracy of each column, and the way that people's answers chose.

    hard: the answers as they are. ours: what a run without people teaches, the posterior of a one-coin voter whose
    accuracy 100 random items tell. people: these 100 items with gold in the place of the answer, at people's weight;
    they choose the way. two: the posterior of two answers an item.
    """
    layout = problem.layout
    pilot = np.sort(np.random.default_rng(seed + 50).choice(problem.n, min(PILOT, problem.n // 4), replace=False))
    alone = bench.noisy(problem, doubt, ACCURACY, 1, seed)
    hard, soft = alone.targets(problem, pilot, soft=False), alone.targets(problem, pilot)
    double = bench.noisy(problem, doubt, ACCURACY, 2, seed).targets(problem, pilot)
    gold, nobody = bench.gold(problem).targets(problem, pilot), np.zeros(problem.n, dtype=bool)
    ones, drawn = np.ones(problem.n, np.float32), nobody.copy()
    drawn[pilot] = True
    out = {"teacher": _right(hard, problem.gold)}
    for name, targets in (("gold", gold), ("hard", hard)):
        student = one.fresh()
        student.fit(problem.pool, targets, ones)
        out[name] = _right(student.predict(problem.test), problem.truth)
    way = ""
    for name, targets, spoken in (("ours", soft, nobody), ("people", soft, drawn), ("two", double, nobody)):
        if name == "people" and layout.width > FEW:
            continue
        lesson = teach.lesson(targets, ~nobody, gold, spoken, layout, drawn=drawn)
        student = one.fresh()
        if spoken.any():
            teach.teach(student, problem.pool, lesson, problem.n, 5, seed)
            way = getattr(student, "memory", {})["way"].way
        else:  # without people the lesson is taught as it is; twins would judge taught rows only
            student.fit(problem.pool, lesson.targets, lesson.weights)
        out[name] = _right(student.predict(problem.test), problem.truth)
    return out, way


def measure(name: str, seeds: range, rows: int) -> tuple[dict[str, list[float]], Counter[str], int]:
    """Columns over seeds, the ways chosen, and how many rows were taught."""
    problem, one = _bench.load(name, pool=rows)
    doubt = bench.doubts(problem, one)
    got: dict[str, list[float]] = {column: [] for column in COLUMNS}
    ways: Counter[str] = Counter()
    for seed in seeds:
        told, way = once(problem, one, doubt, seed)
        ways[way] += 1
        for column, value in told.items():
            got[column].append(value)
    return got, ways, problem.n


def _right(p: Floats, codes: Ints) -> float:
    return float((p.argmax(axis=1) == codes[:, 0]).mean())
