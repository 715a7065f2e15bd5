"""Kind `multi`: any number of labels of a list, none included. Knows nothing of prompts or engines.

One atom a label, with the choices "no" and "yes".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agent import kinds
from agent.errors import Unparsable
from agent.types import Answer, Distribution, Item, Layout, Question, Task, Value

NO, YES = "no", "yes"
NONE = frozenset(("none", "none of these", "none of them", "nothing", "no label", "no labels"))
"""Words for the empty set, where no label is called so."""

SAID = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def choices(task: Task) -> Layout:
    """An atom for each label, in the task's order."""
    return Layout(tuple(task.labels), tuple((NO, YES) for _ in task.labels))


def question(task: Task, item: Item, sample: int) -> Question:
    """The labels in an order seeded by item and sample (for machines: people are shown the task's order)."""
    return Question(item, kinds.options(task, item.id, sample), many=True)


def parse(task: Task, question: Question, answer: Answer) -> Distribution | None:
    """P(yes) of each label, or None for "cannot tell".

    With log P(yes) for every option: those. Otherwise the text: a JSON list of codes or names, `{"labels": [...]}`,
    `{"name": true, ...}`, or names apart by line, "|", ";" or ","; `[]` and "none" are the empty set.

    Raises:
        Unparsable: something written is none of the options, or nothing is written.
    """
    if answer.unsure:
        return None
    scores = kinds.finite(answer.logprobs, question)
    if scores and len(scores) == len(question.options):
        yes = {name: math.exp(min(score, 0.0)) for name, score in scores.items()}
    else:
        chosen = _chosen(question, answer.text)
        if chosen is None:
            raise kinds.unreadable(question, answer.text)
        yes = dict.fromkeys(chosen, 1.0)
    return {name: {NO: 1.0 - yes.get(name, 0.0), YES: yes.get(name, 0.0)} for name in task.labels}


def _chosen(question: Question, text: str) -> set[str] | None:
    if len(text) > kinds.LONGEST:
        return None
    read = kinds.Names(question)
    held: Any = kinds.written(text)
    if isinstance(held, dict):
        named = [value for key, value in held.items() if key.casefold() in kinds.LEADS]
        if len(held) == 1 and named and read.one(next(iter(held))) is None:
            held = named[0]
        else:
            return _said(read, held)
    if isinstance(held, list):
        return _all(read, [str(part) if isinstance(part, int) else part for part in held])
    return _listed(read, held) if isinstance(held, str) else None


def _all(read: kinds.Names, parts: Sequence[Any]) -> set[str] | None:
    found = [read.led(part) if isinstance(part, str) else None for part in parts]
    return None if None in found else {name for name in found if name is not None}


def _said(read: kinds.Names, held: Mapping[str, Any]) -> set[str] | None:
    """What an object such as {"toxic": "yes", "rude": false} says."""
    if _all(read, list(held)) is None or not held:
        return None
    verdicts = {key: SAID.get(str(value).strip().casefold()) for key, value in held.items()}
    return None if None in verdicts.values() else _all(read, [key for key, yes in verdicts.items() if yes])


def _listed(read: kinds.Names, text: str) -> set[str] | None:
    """What a list in plain words says; the first separator under which every part is an option holds."""
    if not text.strip():
        return None
    lead, colon, rest = text.partition(":")
    if colon and lead.strip(kinds.EDGES).casefold() in kinds.LEADS and read.one(text) is None:
        text = rest
    if (only := read.led(text)) is not None:
        return {only}
    if text.strip(kinds.EDGES).casefold() in NONE:
        return set()
    for separator in ("\n", "|", ";", ","):
        parts = [part.strip().removeprefix("- ") for part in text.split(separator) if part.strip(kinds.EDGES)]
        if len(parts) > 1 and (found := _all(read, parts)) is not None:
            return found
    return None


def atoms(task: Task, value: Value) -> Mapping[str, str]:
    """The claims that a set of labels makes: "yes" for those in it, "no" for the others.

    Raises:
        Unparsable: a name is none of the task's labels.
    """
    named = _set(value)
    if not named <= set(task.labels):
        raise Unparsable(f"not all are among the task's {len(task.labels)} labels")
    return {name: YES if name in named else NO for name in task.labels}


def value(task: Task, atoms: Mapping[str, str]) -> Value:
    """The sorted names of the labels claimed."""
    return tuple(sorted(name for name, choice in atoms.items() if choice == YES))


def loss(task: Task, guess: Value, truth: Value) -> float:
    """1 − Jaccard: the share of the labels that either names and not both do (0 where both are empty).

    The Hamming share would call every answer nearly right where most labels are "no".
    """
    left, right = _set(guess), _set(truth)
    return 1.0 - len(left & right) / len(left | right) if left | right else 0.0


def _set(value: Value) -> set[str]:
    return {value} if isinstance(value, str) else set(value)
