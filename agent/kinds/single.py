"""Kind `single`: exactly one label of a list. Knows nothing of prompts or engines.

One atom, "label", whose choices are the labels' names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from agent import kinds
from agent.errors import Unparsable
from agent.types import NONE_OF_THESE, Answer, Distribution, Item, Layout, Question, Task, Value

ATOM = "label"


def choices(task: Task) -> Layout:
    """One atom, the labels in the task's order."""
    return Layout((ATOM,), (tuple(task.labels),))


def question(task: Task, item: Item, sample: int) -> Question:
    """The labels in an order seeded by item and sample (for machines: people are shown the task's order)."""
    return Question(item, kinds.options(task, item.id, sample))


def parse(task: Task, question: Question, answer: Answer) -> Distribution | None:
    """Probabilities over the labels, or None for "cannot tell".

    With log-probabilities: softmax over those of the options' codes (an option without one gets 0). Without: all
    mass on the option written, as code or name; letter case, quotes, brackets, "Label: X", `A) name` and JSON
    (`{"label": "X"}`, `["X"]`) are understood. What "none of these" gets (where it was an option) is spread evenly
    over the labels that were not shown.

    Raises:
        Unparsable: what was written is none of the options.
    """
    if answer.unsure:
        return None
    scores = kinds.finite(answer.logprobs, question)
    top = max(scores.values(), default=-math.inf)
    if top > -math.inf:
        weights = {name: math.exp(score - top) for name, score in scores.items()}
        return _spread(task, question, weights)
    choice = _choice(question, answer.text)
    if choice is None or (choice not in task.labels and choice != NONE_OF_THESE):
        raise kinds.unreadable(question, answer.text)
    return _spread(task, question, {choice: 1.0})


def _spread(task: Task, question: Question, weights: Mapping[str, float]) -> Distribution:
    """Weights of the options shown as a distribution over all labels."""
    shown = {option.choice for option in question.options}
    hidden = len(task.labels) - len(shown - {NONE_OF_THESE})
    other = weights.get(NONE_OF_THESE, 0.0) / hidden if hidden else 0.0
    total = sum(w for name, w in weights.items() if name != NONE_OF_THESE) + other * hidden
    return {ATOM: {name: (weights.get(name, 0.0) if name in shown else other) / total for name in task.labels}}


def _choice(question: Question, text: str) -> str | None:
    if len(text) > kinds.LONGEST:
        return None
    read = kinds.Names(question)
    if (found := read.one(text)) is not None:
        return found
    held = kinds.written(text)
    if isinstance(held, dict):
        named = [value for key, value in held.items() if key.casefold() in kinds.LEADS]
        held = named[0] if len(named) == 1 else next(iter(held.values())) if len(held) == 1 else None
    if isinstance(held, list):
        held = held[0] if len(held) == 1 else None
    if isinstance(held, int) and not isinstance(held, bool):
        held = str(held)
    return read.led(held) if isinstance(held, str) else None


def atoms(task: Task, value: Value) -> Mapping[str, str]:
    """The claim that a label makes.

    Raises:
        Unparsable: no label of the task has that name.
    """
    if not isinstance(value, str) or value not in task.labels:
        raise Unparsable(f"not one of the task's {len(task.labels)} labels")
    return {ATOM: value}


def value(task: Task, atoms: Mapping[str, str]) -> Value:
    """The label that a claim names."""
    return atoms[ATOM]


def loss(task: Task, guess: Value, truth: Value) -> float:
    """0 where the labels are the same, else 1."""
    return float(guess != truth)
