"""What one fine-tuning is taught: texts with their frozen embeddings, and which of them are held out. Knows no network.

A text is found again by the fingerprint of its row, and is held out or taught whatever else is in the pool: a network
that goes on from the last fit's weights is never judged by a row it was taught.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from agent.students import _head
from agent.types import Bools, Floats, Ints

HELD = 0.2
"""Share of the rows that is not taught, but stops the training and sets the temperature."""


class Learning(Protocol):
    """The settings; a frozen dataclass."""

    @property
    def mode(self) -> str: ...
    @property
    def robust(self) -> str: ...
    @property
    def forget(self) -> float | None: ...
    @property
    def epochs(self) -> int: ...
    @property
    def patience(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def rate(self) -> float | None: ...
    @property
    def longest(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def names(self) -> bool: ...


@dataclass(frozen=True)
class Lesson:
    """What one fit is taught: texts, frozen vectors (n, d), targets (n, width), weights (n,), and who is held out."""

    texts: Sequence[str]
    vectors: Floats
    targets: Floats
    weights: Floats
    held: Bools

    def part(self, rows: Any) -> Lesson:
        """Some of its rows: a mask or row numbers."""
        chosen: Ints = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        texts = [self.texts[i] for i in chosen.tolist()]
        return Lesson(texts, self.vectors[chosen], self.targets[chosen], self.weights[chosen], self.held[chosen])

    def seen(self) -> Floats:
        """(width,) how much of each choice it has."""
        return np.asarray((self.weights[:, None] * self.targets).sum(axis=0), dtype=np.float32)

    def with_rows(self, texts: Sequence[str], vectors: Floats, targets: Floats, weights: Floats) -> Lesson:
        """The lesson with rows below that are never held out."""
        return Lesson(
            [*self.texts, *texts],
            np.concatenate([self.vectors, vectors]),
            np.concatenate([self.targets, targets]),
            np.concatenate([self.weights, weights]),
            np.concatenate([self.held, np.zeros(len(texts), dtype=bool)]),
        )


def logits(head: _head.Head, rows: Floats) -> Floats:
    """(n, width)."""
    return np.asarray(rows @ head.weight[:-1] + head.weight[-1], dtype=np.float32)


def fingerprints(rows: Any) -> list[bytes]:
    """16 bytes a row that say which text it is of."""
    plain = np.ascontiguousarray(rows, dtype=np.float32)
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in plain]


def held_out(keys: Sequence[bytes], seed: int) -> Bools:
    """(n,) whether each row is held out: the same for a text in every fit."""
    own = f"held out {seed}".encode()
    drawn = [int.from_bytes(hashlib.blake2b(key, digest_size=8, key=own).digest(), "big") / 2.0**64 for key in keys]
    return np.array(drawn, dtype=np.float64) < HELD
