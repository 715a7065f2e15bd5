"""Belief and teaching on boards filled by hand: who is believed, and what the student is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import teach
from agent.belief import believe
from agent.board import PILOT, Board
from agent.kinds import single
from agent.pool import Pool
from agent.types import Floats, Layout, Task

LABELS = ("a", "b", "c")
TASK = Task("t", "single", dict.fromkeys(LABELS, ""))
LAYOUT = Layout(("label",), (LABELS,))
N = 600


@pytest.fixture
def truth() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 3, N)


def votes(truth: np.ndarray[Any, Any], strength: float, seed: int) -> Floats:
    """Log-probabilities of a model that knows something (strength > 0) or nothing (0)."""
    logits = np.random.default_rng(seed).normal(0, 1, (len(truth), 3))
    logits[np.arange(len(truth)), truth] += strength
    return np.log(LAYOUT.normalise(logits.astype(np.float32)))


def board(tmp_path: Path, truth: np.ndarray[Any, Any], pilot: int, **machines: Floats) -> Board:
    """`pilot` answers of people, right, and every machine heard on every item."""
    made = Board(TASK, single, LAYOUT, Pool(tmp_path), N, list(machines), "person")
    for name, logs in machines.items():
        made.machine[name].logs += logs
        made.machine[name].soft += 1
    made.people.said[np.arange(pilot), truth[:pilot]] = 1
    made.people.answered[:pilot] = True
    made.people.stream[:pilot] = PILOT
    return made


def right(posterior: Floats, truth: np.ndarray[Any, Any], start: int = 100) -> float:
    """Share of the items after the pilot that are right."""
    return float((posterior[start:].argmax(axis=1) == truth[start:]).mean())


def test_a_machine_that_disagrees_with_people_is_not_believed(tmp_path: Path, truth: np.ndarray[Any, Any]) -> None:
    student = np.exp(votes(truth, 2.5, 1))
    there = board(tmp_path, truth, 80, weak=votes(truth, 0.0, 2))
    found = believe(there, student, {"weak": False}, has_people=True)
    weights = found.weights["weak"]
    assert found.grounded and weights["weak"] < weights["student"] / 4
    alone = right(student, truth)
    assert right(found.posterior, truth) >= alone - 0.02, "noise costs next to nothing once people have contradicted it"


def test_two_sources_that_know_something_are_better_than_either(tmp_path: Path, truth: np.ndarray[Any, Any]) -> None:
    student, logs = np.exp(votes(truth, 1.5, 1)), votes(truth, 1.5, 2)
    found = believe(board(tmp_path, truth, 80, llm=logs), student, {"llm": False}, has_people=True)
    assert right(found.posterior, truth) > max(right(student, truth), right(np.exp(logs), truth)) + 0.02


def test_what_is_believed_is_about_as_often_right(tmp_path: Path, truth: np.ndarray[Any, Any]) -> None:
    boastful = np.log(LAYOUT.normalise(4 * votes(truth, 1.5, 2)) + 1e-9)
    found = believe(board(tmp_path, truth, 100, llm=boastful), None, {"llm": False}, has_people=True)
    gap = found.confidence[100:].mean() - right(found.posterior, truth)
    # 500 coin flips have a standard error of .022; the exponent itself rests on 100 answers.
    assert abs(gap) < 0.1 < np.exp(boastful).max(axis=1)[100:].mean() - right(np.exp(boastful), truth)


def test_people_have_the_last_word(tmp_path: Path, truth: np.ndarray[Any, Any]) -> None:
    found = believe(board(tmp_path, truth, 50, llm=votes((truth + 1) % 3, 5.0, 1)), None, {"llm": False}, True)
    assert (found.posterior[:50].argmax(axis=1) == truth[:50]).all() and (found.confidence[:50] == 1).all()


def test_without_people_the_student_is_held_against_the_machines(tmp_path: Path, truth: np.ndarray[Any, Any]) -> None:
    logs = votes(truth, 3.0, 1)
    found = believe(board(tmp_path, truth, 0, llm=logs), np.exp(votes(truth, 0.0, 2)), {"llm": False}, False)
    assert not found.grounded and found.weights["student"]["student"] < 0.3


def test_an_audit_answer_is_not_seen_before_it_is_opened(tmp_path: Path, truth: np.ndarray[Any, Any]) -> None:
    there = board(tmp_path, truth, 50, llm=votes(truth, 1.0, 1))
    before = believe(there, None, {"llm": False}, True)
    there.audit.said[300, 0], there.audit.answered[300] = 1, True
    assert (believe(there, None, {"llm": False}, True).posterior == before.posterior).all()
    there.opened[300] = True
    assert believe(there, None, {"llm": False}, True).posterior[300].tolist() == [1, 0, 0]


class Parrot:
    """A student that says back what it was taught, and is uniform about the rest."""

    def __init__(self) -> None:
        self.known: dict[int, Floats] = {}

    def fresh(self) -> Parrot:
        return Parrot()

    def fit(self, features: Any, targets: Floats, weights: Floats) -> None:
        self.known = {int(f): t for f, t in zip(features, targets, strict=True)}

    def predict(self, features: Any) -> Floats:
        return np.stack([self.known.get(int(f), np.full(3, 1 / 3, np.float32)) for f in features])


def test_nobody_is_judged_by_what_he_was_taught(truth: np.ndarray[Any, Any]) -> None:
    taught = np.arange(N) < 200
    targets = np.eye(3, dtype=np.float32)[truth]
    lesson = teach.lesson(targets, taught, np.zeros_like(targets), np.zeros(N, bool), LAYOUT)
    parrot: Any = Parrot()
    said = teach.teach(parrot, np.arange(N), lesson, N, folds=5, seed=0)
    assert (said == np.float32(1 / 3)).all(), "a parrot that was not taught an item knows nothing of it"
    assert len(parrot.known) == 200, "the student itself keeps everything"


def test_people_weigh_most_and_unsure_machines_least() -> None:
    machine = np.array([[0.98, 0.01, 0.01], [0.4, 0.3, 0.3], [0.98, 0.01, 0.01]], np.float32)
    words, spoken = np.zeros((3, 3), np.float32), np.array([False, False, True])
    words[2, 1] = 1
    lesson = teach.lesson(machine, np.ones(3, bool), words, spoken, LAYOUT)
    assert lesson.weights[2] > lesson.weights[0] > lesson.weights[1] > 0
    assert lesson.targets[2].tolist() == [0, 1, 0]
    assert lesson.seal() == teach.lesson(machine, np.ones(3, bool), words, spoken, LAYOUT).seal()
