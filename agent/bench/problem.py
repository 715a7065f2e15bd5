"""Labeled data as arrays: rows that may be asked about, rows that are only tested on. Knows no texts and no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.types import Bools, Floats, Ints, Layout

UNKNOWN = -1
"""The number of a choice where nobody said one."""


@dataclass(frozen=True)
class Problem:
    """pool, test: a student's features, (n, d) and (t, d), dense or CSR. gold, truth: their labels, (n, atoms) and
    (t, atoms), the number of the choice in each atom.

    Raises:
        ValueError: labels and rows do not match, or a label is no choice of its atom.
    """

    layout: Layout
    pool: Any
    gold: Ints
    test: Any
    truth: Ints

    def __post_init__(self) -> None:
        most = np.array([len(c) for c in self.layout.choices])
        for name, rows, codes in (("pool", self.pool, self.gold), ("test", self.test, self.truth)):
            if codes.shape != (rows.shape[0], len(most)):
                raise ValueError(f"{name}: {rows.shape[0]} rows and {len(most)} atoms, but labels of {codes.shape}")
            if len(codes) == 0 or (codes < 0).any() or (codes >= most).any():
                raise ValueError(f"{name}: needs rows, each with the number of one of its atom's choices")

    @property
    def n(self) -> int:
        """Rows of the pool."""
        return len(self.gold)


def hot(codes: Ints, layout: Layout) -> Floats:
    """Numbers of choices, (n, atoms), as columns, (n, width): one 1 an atom, none where the choice is `UNKNOWN`."""
    out = np.zeros((len(codes), layout.width), dtype=np.float32)
    for number, atom in enumerate(layout.slices):
        rows = np.flatnonzero(codes[:, number] != UNKNOWN)
        out[rows, atom.start + codes[rows, number]] = 1
    return out


def best(probabilities: Floats, layout: Layout) -> Ints:
    """The number of the likeliest choice of each atom. (n, width) -> (n, atoms)."""
    return np.stack([probabilities[:, atom].argmax(axis=1) for atom in layout.slices], axis=1).astype(np.int64)


def right(probabilities: Floats, codes: Ints, layout: Layout) -> Bools:
    """Whether the likeliest choice is the label, (n, atoms)."""
    return np.asarray(best(probabilities, layout) == codes)
