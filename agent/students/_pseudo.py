"""What is known of the labels before anybody answered, as rows to learn from. Knows words and weights, no inputs.

A label's name and description are one text; each keyword stands in a sentence of its own; examples are texts as they
are. All of them fade as answers come.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agent.types import Floats, Known, Layout

NAME_WEIGHT, NAME_HALF = 8.0, 2.0
"""A label's name counts as 8 examples, as 4 once 2 examples of it are known, and so on: 8 / (1 + n / 2)."""
KEYWORDS_WEIGHT = 4.0
"""All keywords of a label together; they fade as its name does."""
EXAMPLE_WEIGHT, EXAMPLE_HALF = 2.0, 20.0


@dataclass(frozen=True)
class Pseudo:
    """Texts with what they teach, (k, width), and what each weighs alone and how soon that halves, both (k,)."""

    texts: list[str]
    aims: Floats
    weight: Floats
    half: Floats

    def weights(self, seen: Floats) -> Floats:
        """(k,) weights when so much of each choice was seen, (width,)."""
        own = np.array([seen[aim > 0].min() for aim in self.aims])
        return (self.weight / (1 + own / self.half)).astype(np.float32)


def pseudo(layout: Layout, labels: Mapping[str, str], known: Mapping[str, Known], names: bool = True) -> Pseudo:
    """All that is known of the labels; `names`: their names and descriptions, too."""
    texts, aims = name_rows(layout, labels)
    weight, half = [NAME_WEIGHT] * len(texts), [NAME_HALF] * len(texts)
    named = list(zip(_named(layout, labels), list(aims), strict=True))
    if not names:
        texts, aims, weight, half = [], aims[:0], [], []
    rows = list(aims)
    for name, aim in named:
        found = known.get(name, Known())
        texts += [f"{spoken(name, '')}: {word}" for word in found.keywords] + list(found.examples)
        words, whole = len(found.keywords), len(found.examples)
        weight += [KEYWORDS_WEIGHT / max(words, 4)] * words + [EXAMPLE_WEIGHT] * whole
        half += [NAME_HALF] * words + [EXAMPLE_HALF] * whole
        rows += [aim] * (words + whole)
    stacked = np.stack(rows) if rows else np.zeros((0, layout.width), dtype=np.float32)
    return Pseudo(texts, stacked, np.array(weight, dtype=np.float32), np.array(half, dtype=np.float32))


def name_rows(layout: Layout, labels: Mapping[str, str]) -> tuple[list[str], Floats]:
    """Texts of the labels' names and descriptions, and the targets of each, (texts, width).

    An atom of the choices ("no", "yes") is a label by itself: its text means yes to it and nothing to the others.
    Otherwise each choice that is a label has a text.
    """
    names = _named(layout, labels)
    aims = np.zeros((len(names), layout.width), dtype=np.float32)
    for row, column in enumerate(names.values()):
        aims[row, column] = 1
    return [spoken(name, labels[name]) for name in names], aims


def _named(layout: Layout, labels: Mapping[str, str]) -> dict[str, int]:
    """The labels that have a column, and which."""
    out: dict[str, int] = {}
    for atom, choices, columns in zip(layout.atoms, layout.choices, layout.slices, strict=True):
        binary = choices == ("no", "yes") and atom in labels
        for place, choice in enumerate(choices):
            name = atom if binary else choice
            if name in labels and not (binary and choice == "no"):
                out[name] = columns.start + place
    return out


def spoken(name: str, description: str) -> str:
    """A label as words: `card_not_working` -> "card not working: the description"."""
    words = " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])|[_/\-]+", " ", name).split())
    return f"{words}: {description}" if description else words
