"""The ways in which a machine is asked, each a recipe of its own: template, examples, all labels or a shortlist.

Knows no ledger and no item. A machine is one annotator whatever the way: what it answers in all its ways is averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent import prompt
from agent.config import Rung
from agent.types import Bools, Example, Ints, Task, Traits

PART = 1 << 20
"""Sample numbers of one part of a text: more than are ever asked, so that a number always means the same part."""


@dataclass(frozen=True, slots=True)
class Form:
    """A candidate among ways of asking. Every item is asked by every template with every number of examples."""

    templates: tuple[str, ...]
    shots: tuple[int, ...]

    @property
    def variants(self) -> list[tuple[str, int]]:
        return [(template, count) for count in self.shots for template in self.templates]

    def __str__(self) -> str:
        counts = [f"with {count} examples" if count else "with no examples" for count in self.shots]
        return f"{' and '.join(self.templates)} {' and '.join(counts)}"


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

    `known`: (block, variant's number, short) -> way. `samples`: questions about an item. `blocks`: (n,) the block of
    each item, None where there is one block. `shown`: (n,) items that are examples and never asked about.
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

    def of(self, row: int, variant: int, full: bool) -> Way:
        """The way for an item and a variant. `full`: all labels, though there is a shortlist."""
        return self.known[self.block(row), variant, bool(self.short) and not full]

    def asked(self, parts: int) -> Iterator[tuple[int, int]]:
        """(variant, sample number) of all that is asked about an item whose text is asked in `parts`.

        Each template has an order of the options of its own; with examples and without, the order is the same, so that
        a form which averages both asks nothing anew. A part has numbers of its own, whatever else is asked.
        """
        several, templates = len(self.form.variants), len(self.form.templates)
        for part in range(parts):
            for sample in range(self.samples):
                yield sample % several, sample // several * templates + sample % templates + part * PART

    def variant(self, row: int, recipe: str, full: bool) -> int | None:
        """The variant under which an item is asked by a recipe; None where it is not any more."""
        count = range(len(self.form.variants))
        return next((number for number in count if self.of(row, number, full).recipe == recipe), None)


def make(
    task: Task,
    rung: Rung,
    traits: Traits,
    form: Form,
    short: int,
    examples: Mapping[int, Sequence[tuple[Example, ...]]],
    shown: Bools,
) -> Ways:
    """The ways of a form. `examples`: number of examples -> those of each block, besides the task's own."""
    known = {}
    for number, (template, count) in enumerate(form.variants):
        for block, own in enumerate(examples[count]):
            for size in {0, short}:
                asked = prompt.asking(traits, template, size, rung.overflow, rung.rationale)
                shots = (*task.examples, *own)
                recipe = prompt.recipe(task, task.kind, asked, shots)
                known[block, number, size > 0] = Way(asked, shots, recipe, size)
    return Ways(form, max(rung.samples, len(form.variants)), known, short, shown)


def nothing(n: int) -> Bools:
    """No item is shown."""
    return np.zeros(n, bool)
