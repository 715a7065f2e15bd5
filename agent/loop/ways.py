"""The ways in which a machine is asked, each a recipe of its own: template, examples, all labels or a shortlist.

Knows no ledger and no item. A machine is one annotator whatever the way: what it answers in all its ways is averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent import prompt
from agent.config import Rung
from agent.types import Bools, Example, Ints, Task, Traits


@dataclass(frozen=True, slots=True)
class Form:
    """A candidate among ways of asking. `templates`: sample s uses number s mod T. `shots`: how many examples."""

    templates: tuple[str, ...]
    shots: int

    def __str__(self) -> str:
        shown = f"{self.shots} examples" if self.shots else "no examples"
        return f"{' and '.join(self.templates)} with {shown}"


@dataclass(frozen=True, slots=True)
class Way:
    """One way. `traits`: the oracle's, with what the rung says of the asking; `short`: labels shown, 0 is all."""

    traits: Traits
    shots: tuple[Example, ...]
    recipe: str
    short: int


@dataclass(frozen=True)
class Ways:
    """All the ways of one form.

    `known`: (block, template's number, short) -> way. `blocks`: (n,) the block of each item, None where there is one
    block. `shown`: (n,) items that are examples and never asked about.
    """

    form: Form
    samples: int
    known: Mapping[tuple[int, int, bool], Way]
    short: int
    shown: Bools
    blocks: Ints | None = None

    @property
    def recipes(self) -> frozenset[str]:
        return frozenset(way.recipe for way in self.known.values())

    def block(self, row: int) -> int:
        return 0 if self.blocks is None else int(self.blocks[row])

    def of(self, row: int, sample: int, full: bool) -> Way:
        """The way for an item and a sample. `full`: all labels, though there is a shortlist."""
        number = sample % self.samples % len(self.form.templates)
        return self.known[self.block(row), number, bool(self.short) and not full]

    def part(self, sample: int) -> int:
        """Which part of a long text a sample is about: samples are counted on from part to part."""
        return sample // self.samples


def make(
    task: Task,
    rung: Rung,
    traits: Traits,
    form: Form,
    short: int,
    examples: Sequence[tuple[Example, ...]],
    shown: Bools,
    blocks: Ints | None = None,
) -> Ways:
    """The ways of a form. `examples`: the examples of each block, besides the task's own, which all are shown."""
    known = {}
    for block, own in enumerate(examples):
        shots = (*task.examples, *own)
        for number, template in enumerate(form.templates):
            for size in {0, short}:
                asked = prompt.asking(traits, template, size, rung.overflow, rung.rationale)
                recipe = prompt.recipe(task, task.kind, asked, shots)
                known[block, number, size > 0] = Way(asked, shots, recipe, size)
    return Ways(form, rung.samples, known, short, shown, blocks)


def nothing(n: int) -> Bools:
    """No item is shown."""
    return np.zeros(n, bool)
