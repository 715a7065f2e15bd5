"""What the kinds share: option codes, seeded order, and reading a written answer. Knows nothing of any one kind.

Codes: at most 26 options get A, B, C …; more get numbers of one width (`01` … `77`), so that no code begins another.
A set of codes that equals any label's name is passed over for the next, so a code and a name never mean two things.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.errors import Unparsable
from agent.types import Item, Option, Question, Task

LONGEST = 20_000
"""Characters of an answer that are looked at; a longer one is no option's name."""

EDGES = string.whitespace + "\"'`*_()[]{}<>.,:;!“”‘’«»"
"""What may stand around an answer without changing it."""

LEADS = frozenset(("answer", "category", "choice", "class", "code", "label", "labels", "option", "options"))
"""Words that may stand before a colon in front of an answer."""


def codes(names: Sequence[str]) -> tuple[str, ...]:
    """One code for each of `names`, of equal length, none of which is a name (letter case aside)."""
    taken = {name.strip().casefold() for name in names}
    for family in _families(len(names)):
        if taken.isdisjoint(code.casefold() for code in family):
            return family
    raise AssertionError("the families of codes never end")


def _families(count: int) -> Iterator[tuple[str, ...]]:
    if count <= len(string.ascii_uppercase):
        yield tuple(string.ascii_uppercase[:count])
    width = len(str(count))
    numbers = [f"{i:0{width}}" for i in range(1, count + 1)]
    for stem in itertools.count():
        yield tuple("#" * stem + number for number in numbers)


def options(task: Task, item: str, sample: int) -> tuple[Option, ...]:
    """The task's labels in an order that is a function of item id and sample only, with their codes."""
    order = sorted(task.labels, key=lambda name: hashlib.sha256(f"{item}\0{sample}\0{name}".encode()).digest())
    return tuple(Option(c, name, task.labels[name]) for c, name in zip(codes(order), order, strict=True))


def unreadable(question: Question, text: str) -> Unparsable:
    """The error for an answer that is no option; it quotes nothing, as an answer may repeat the item."""
    return Unparsable(f"an answer of {len(text)} characters is none of the {len(question.options)} options")


def finite(logprobs: Mapping[str, float] | None, question: Question) -> dict[str, float]:
    """The usable log-probabilities by choice: those of known codes that are numbers, at most zero after rounding."""
    found = {}
    for option in question.options:
        value = (logprobs or {}).get(option.code)
        if isinstance(value, int | float) and not math.isnan(value) and value < math.inf:
            found[option.choice] = float(value)
    return found


class Names:
    """Resolves what was written to a choice: an exact code or name first, then letter case and edges aside.

    A spelling that two choices share resolves to neither.
    """

    def __init__(self, question: Question) -> None:
        self._exact: dict[str, str] = {}
        self._loose: dict[str, str | None] = {}
        for option in question.options:
            for spelling in (option.code, option.choice):
                self._exact.setdefault(spelling, option.choice)
                self._learn(spelling.casefold(), option.choice)
                self._learn(spelling.strip(EDGES).casefold(), option.choice)
            self._learn(option.code.lstrip("0#"), option.choice)

    def _learn(self, spelling: str, choice: str) -> None:
        if spelling and self._loose.setdefault(spelling, choice) != choice:
            self._loose[spelling] = None

    def one(self, text: str) -> str | None:
        """The choice that `text` writes and nothing more, or None."""
        stripped = text.strip()
        for spelling in (text, stripped):
            if spelling in self._exact:
                return self._exact[spelling]
        for spelling in (stripped.casefold(), stripped.strip(EDGES).casefold()):
            if (found := self._loose.get(spelling)) is not None:
                return found
        return None

    def led(self, text: str) -> str | None:
        """Like `one`, and also "Label: X", and a code followed by its own name ("A) billing")."""
        if (found := self.one(text)) is not None:
            return found
        plain = text.strip(EDGES)
        lead, colon, rest = plain.partition(":")
        if colon and lead.strip(EDGES).casefold() in LEADS:
            return self.one(rest)
        head, *tail = plain.split(None, 1)[:2] or [""]
        first, second = self.one(head), self.one(tail[0]) if tail else None
        return first if first is not None and first == second else None


def written(text: str) -> Any:
    """What a JSON answer holds, code fences aside; the text where it is no object or list."""
    body = text.strip()
    if body.startswith("```") and body.endswith("```") and len(body) > 6:
        body = body[3:-3].removeprefix("json").strip()
    if body[:1] in ("{", "["):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return body


def shown(item: Item, choices: Sequence[str]) -> Question:
    """The question whose options were `choices`, in that order, as an answer remembers them."""
    return Question(item, tuple(Option(c, name) for c, name in zip(codes(choices), choices, strict=True)), short=True)
