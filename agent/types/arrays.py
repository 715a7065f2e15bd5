"""Labels as columns of an array. Knows atoms and choices, nothing else of a task.

The mathematics works on arrays whose columns are the choices of all atoms side by side; `Layout` says which columns
belong to which atom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.types.nouns import Distribution

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Layout:
    """Which columns of an array of distributions belong to which atom.

    `choices[a]` are the choices of `atoms[a]`; arrays have shape (items, width), float32, and within each atom's
    columns a row sums to one.
    """

    atoms: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        ends = np.cumsum([len(c) for c in self.choices]).tolist()
        return tuple(slice(end - len(c), end) for end, c in zip(ends, self.choices, strict=True))

    @property
    def width(self) -> int:
        return sum(len(c) for c in self.choices)

    def normalise(self, logits: Floats) -> Floats:
        """Softmax inside each atom. (n, width) -> (n, width)."""
        out = np.empty(logits.shape, dtype=np.float32)
        for s in self.slices:
            block = logits[:, s] - logits[:, s].max(axis=1, keepdims=True)
            np.exp(block, out=block)
            out[:, s] = block / block.sum(axis=1, keepdims=True)
        return out

    def row(self, distribution: Distribution) -> Floats:
        """A distribution as one row, shape (width,)."""
        return np.array(
            [distribution[a].get(c, 0.0) for a, cs in zip(self.atoms, self.choices, strict=True) for c in cs],
            dtype=np.float32,
        )

    def best(self, row: Floats) -> dict[str, str]:
        """The likeliest choice of each atom in one row."""
        return {a: cs[int(np.argmax(row[s]))] for a, cs, s in zip(self.atoms, self.choices, self.slices, strict=True)}

    def distribution(self, row: Floats) -> dict[str, dict[str, float]]:
        """One row as atom -> choice -> probability."""
        return {
            a: dict(zip(cs, map(float, row[s]), strict=True))
            for a, cs, s in zip(self.atoms, self.choices, self.slices, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Tried:
    """What an earlier batch of picks came to, on the yardstick: items drawn at random.

    by: the strategy that chose it; labels: answers it came to; gain: mean log-loss on the yardstick before less after,
    error: its standard error.
    """

    by: str
    labels: int
    gain: float
    error: float


@dataclass(frozen=True, slots=True)
class PoolView:
    """What an acquisition function sees: candidates only, row i of every array is candidate i.

    Arrays of n or m rows may be memory maps and of float16 or float32; a function reads them in blocks. All but the
    first two fields may be missing; a function that cannot do without one says so in its docstring and draws at random.

    probabilities: (n, width) of the student (uniform before it is trained). features: (n, d), rows of length one, or
    CSR. labeled: features of the items asked about so far, (m, d). targets: (m, width) what they are taught as.
    said: (m, width) what a student that was not taught them says of them. members: ensemble members, each (n, width).
    votes: annotators heard on candidates, each (n, width), rows of NaN where one was not. knowledge: (n, width) what
    names, descriptions, keywords and examples of the labels alone say. balance: the user wants the classes even.
    history: earlier batches, oldest first. memory: a function may keep here what makes the next call of the same run
    faster; its picks are the same without. rows: (n,) numbers from 0 up, ascending, that stay with the candidates and
    their features between calls of a run; labeled_rows: (m,) the labelled items' of the same numbering.
    """

    layout: Layout
    probabilities: Floats
    features: Any = None
    labeled: Any = None
    targets: Floats | None = None
    said: Floats | None = None
    members: Sequence[Floats] = ()
    votes: Sequence[Floats] = ()
    knowledge: Floats | None = None
    balance: bool = False
    history: Sequence[Tried] = ()
    memory: dict[str, Any] = field(default_factory=dict)
    rows: Ints | None = None
    labeled_rows: Ints | None = None


@dataclass(frozen=True, slots=True)
class Picks:
    """Which candidates to ask about: row numbers, and the chance each had of being picked. by: the strategy that chose
    them, where one chose among several."""

    rows: Ints
    probabilities: Floats
    by: str = ""
