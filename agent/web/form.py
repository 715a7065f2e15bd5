"""A card's form: which labels it offers, by which keys, what a filled-in one says. Knows the kind's schema, no HTTP.

A kind gets a card by a template `card_KIND.html`; nothing here knows a kind by its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import UserError
from agent.review.names import DIGITS, assign
from agent.types import Item, Kind, Task, Value

SENT = 20_000
"""Characters of a part that come with the card; the rest is fetched when it is asked for."""
FOLDED = 1_200
"""Characters from which on a part is folded."""
UNSURE, NONE = "unsure", "none"
"""What the buttons beside the labels say, in the field `say`."""


class NoLabel(UserError):
    """A form for several labels was saved with none chosen, which may be a slip."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A label on the page. key: the digit that chooses it, "" where labels are found by typing."""

    name: str
    told: str
    key: str


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked on every card of a task. many: any number of labels; typed: labels are found by typing."""

    template: str
    choices: tuple[Choice, ...]
    many: bool
    typed: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an item as it is shown. body: its first `SENT` characters at most; chars: how many it has."""

    number: int
    heading: str
    body: str
    chars: int

    @property
    def folded(self) -> bool:
        """Whether it is long enough to be folded."""
        return self.chars > FOLDED

    @property
    def cut(self) -> bool:
        """Whether there is more of it than `body`."""
        return self.chars > len(self.body)


def draw(task: Task, kind: Kind) -> Form:
    """The form of a task, from its kind's atoms: one atom is a choice among its claims, several are switches."""
    layout = kind.choices(task)
    first = {atom: choices[0] for atom, choices in zip(layout.atoms, layout.choices, strict=True)}
    many = not isinstance(kind.value(task, first), str)
    names = layout.atoms if many else layout.choices[0]
    typed = len(names) > len(DIGITS)
    keys = {} if typed else {label: key for key, label in assign(names).items()}
    choices = tuple(Choice(name, task.labels.get(name, ""), keys.get(name, "")) for name in names)
    plain = re.sub(r"[^a-z0-9_]", "_", task.kind.lower())
    return Form(f"card_{plain}.html", choices, many, typed)


def read(form: Form, say: str, labels: Sequence[str]) -> Value | None:
    """The value a filled-in form says, None for "cannot tell". `say`: the button beside the labels, "" for none.

    Raises:
        NoLabel: several may be chosen, none is, and "none of these" was not said.
        UserError: it says nothing, two things, or names what is not on the form.
    """
    known = {choice.name for choice in form.choices}
    if not set(labels) <= known:
        raise UserError("that is no label of this task: choose one of those shown")
    if say == UNSURE:
        return None
    if form.many:
        if say == NONE and labels:
            raise UserError("labels are chosen: switch them off first, or save them")
        if not labels and say != NONE:
            raise NoLabel("no label is chosen: choose some, or say that none applies")
        return tuple(sorted(set(labels)))
    if len(labels) != 1:
        raise UserError("choose one label")
    return labels[0]


def pieces(item: Item, columns: Sequence[str]) -> list[Piece]:
    """The parts of an item in their order; each has the name of its column as heading where there are several."""
    named = columns if len(columns) == len(item.parts) else [f"text {i + 1}" for i in range(len(item.parts))]
    alone = len(item.parts) == 1
    return [Piece(i, "" if alone else named[i], part.data[:SENT], len(part.data)) for i, part in enumerate(item.parts)]


def reason(told: str) -> list[str]:
    """The flags that go with an answer: why somebody marked the item, at most 500 characters, on one line."""
    plain = " ".join(told.split())[:500]
    return [f"flagged: {plain}"] if plain else []


def took(told: str, most: float) -> tuple[float, list[str]]:
    """Seconds an answer took, as the page told them, and the flag "idle" where they were more than `most`.

    0 seconds where what the page told cannot be read: not known.
    """
    try:
        seconds = float(told)
    except ValueError:
        return 0.0, []
    if not seconds > 0.0:
        return 0.0, []
    return (most, ["idle"]) if seconds > most else (seconds, [])
