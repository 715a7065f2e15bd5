"""What machines and people said, as arrays of n items. Knows no ledger and no pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.types import Answer, Bools, Floats, Ints


@dataclass
class Heard:
    """What one machine rung said.

    `logs`: (n, width) summed log-probabilities of `soft` answers; `counts`: (n, width) choices of `hard` ones.
    """

    logs: Floats
    soft: Floats
    counts: Floats
    hard: Floats
    silent: Bools
    """Asked, but failed or unreadable: there is nothing more to expect."""
    none: Bools
    """Was shown a shortlist and said that the label is none of these; it is asked about all labels next."""
    first: Ints
    """(n, atoms) the likeliest choices of the first answer, -1 before it; answers about parts of a text apart."""
    again: Bools
    """Answered more than once: in another order, or another prompt."""
    flipped: Bools
    """Answered more than once, with another label likeliest."""
    cut: Bools
    """Was shown only a part of the text."""
    seen: Bools | None = None
    """(n, width) labels that were shown in shortlists; None where there were none."""
    whole: Bools | None = None
    """(n,) answered about all labels, though there are shortlists."""
    parts: Bools | None = None
    """(n,) was asked about a long text part by part; None where none was."""
    earlier: Floats | None = None
    """(n, 2 · width + 2) logs, counts, soft and hard as they were before another vote came; None where none did."""

    @classmethod
    def nothing(cls, n: int, width: int, atoms: int = 1) -> Heard:
        def zeros(*shape: int) -> Floats:
            return np.zeros(shape, np.float32)

        no = np.zeros(n, bool)
        logs, counts, first = zeros(n, width), zeros(n, width), np.full((n, atoms), -1, np.int64)
        return cls(logs, zeros(n), counts, zeros(n), no, no.copy(), first, no.copy(), no.copy(), no.copy())

    @property
    def any(self) -> Bools:
        """(n,) spoke readably."""
        out: Bools = (self.soft > 0) | (self.hard > 0)
        return out

    @property
    def done(self) -> Bools:
        """(n,) spoke, or failed to."""
        return self.any | self.silent

    @property
    def votes(self) -> Floats:
        """(n,) answers that could be read."""
        out: Floats = self.soft + self.hard
        return out

    def remember(self, where: int) -> None:
        """Keep what was said of an item: another vote is about to come."""
        if self.earlier is None:
            self.earlier = np.zeros((len(self.logs), 2 * self.logs.shape[1] + 2), np.float32)
        both = [self.soft[where : where + 1], self.hard[where : where + 1]]
        self.earlier[where] = np.concatenate([self.logs[where], self.counts[where], *both])

    def before(self) -> Heard:
        """The same without other votes than the first word on each item."""
        if self.earlier is None:
            return self
        width, known = self.logs.shape[1], self.earlier[:, -2:].sum(axis=1) > 0
        return replace(
            self,
            logs=np.where(known[:, None], self.earlier[:, :width], self.logs),
            counts=np.where(known[:, None], self.earlier[:, width:-2], self.counts),
            soft=np.where(known, self.earlier[:, -2], self.soft),
            hard=np.where(known, self.earlier[:, -1], self.hard),
        )

    def show(self, where: int, columns: Sequence[int]) -> None:
        """Note which labels a shortlist held."""
        if self.seen is None:
            self.seen, self.whole = np.zeros(self.logs.shape, bool), np.zeros(len(self.logs), bool)
        self.seen[where, columns] = True

    def note(self, where: int, best: Ints) -> None:
        """Hold an answer's likeliest choices, (atoms,), against those of the first answer."""
        if self.first[where, 0] < 0:
            self.first[where] = best
            return
        self.again[where] = True
        self.flipped[where] |= bool((self.first[where] != best).any())

    def listed(self) -> Bools | None:
        """(n, width) labels that the answers counted were about; a row without any is about all of them."""
        return None if self.seen is None or self.whole is None else self.seen & ~self.whole[:, None]


@dataclass
class Took:
    """What a machine's answers took so far, all told."""

    answers: int = 0
    usd: float = 0.0
    seconds: float = 0.0

    def add(self, answer: Answer) -> None:
        self.answers += 1
        self.usd += answer.usd
        self.seconds += answer.seconds


@dataclass
class People:
    """What people said, one answer an item. `said`: one-hot rows; `unsure`: "cannot tell"; `stream`: why asked."""

    said: Floats
    answered: Bools
    unsure: Bools
    stream: Ints

    @classmethod
    def nothing(cls, n: int, width: int) -> People:
        no = np.zeros(n, bool)
        return cls(np.zeros((n, width), np.float32), no, no.copy(), np.zeros(n, np.int64))
