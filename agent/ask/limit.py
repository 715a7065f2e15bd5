"""How many questions a server bears at once, found out while asking. Knows neither clock nor network: it is told times.

It begins small and doubles while that clearly pays. Then it is tried, now and then, whether a quarter more in flight
brings more answers in the same time, and, where answers have to queue, whether a fifth less brings as many: questions
that only wait in the server's queue make every answer later. Trouble halves the limit, once a round trip; from there it
rises by one a window, and faster the longer that pays.
"""

from __future__ import annotations

import math
from typing import Literal

DOUBLES, PAYS, SPARES = 1.4, 1.05, 0.97
"""Answers a second, as a multiple of those at the limit it is measured against, with which a doubled, a larger and a
smaller limit are kept."""

CLEAR, MANY = 0.1, 48
"""A ratio that is closer to the one needed is measured for three windows and at least so many answers."""

TOLERATED = 0.1
"""Failures in a window, as a share of the limit, that are congestion; fewer, and one alone, are bad items."""

QUEUED = 1.1
"""Answers that take so many times as long as the quickest window's had to queue."""

SHORTEST_S = 0.03
"""A window is no shorter, or it would measure our own ledger."""

REST, LONGEST_REST = 4, 64
"""Windows before something else is tried: doubled each time that nothing was better."""


class Limit:
    """The limit `now`, between 1 and `ceiling`. A window is as many good answers as the limit: one round trip.

    deadline: seconds an answer may take; nothing grows any more when a quarter of them is used. A limit that begins at
    its ceiling stays there, but for trouble.
    """

    def __init__(self, start: int, ceiling: int, deadline: float = math.inf) -> None:
        self.now = min(start, ceiling)
        self._ceiling, self._deadline = ceiling, deadline
        self._base: tuple[int, float] | None = None  # a limit and its answers a second: what the present one must beat
        self._trial: Literal["", "double", "up", "down"] = ""
        self._next: Literal["double", "up", "down"] = "double"
        self._fixed = start >= ceiling
        self._calm = True
        self._step, self._rest, self._next_rest = 1, 0, REST
        self._quickest = math.inf
        self._lowered = -math.inf
        self._draining = False
        self._good = self._bad = 0
        self.begin(-math.inf)

    def begin(self, now: float) -> None:
        """A new window."""
        self._start, self._count, self._full, self._took = now, 0, 0, 0.0
        self._want = self.now

    def well(self, now: float, sent: float, full: bool) -> None:
        """An answer to a question sent at `sent`. `full`: as many were in flight as the limit allows."""
        self._good += 1
        if self._good >= self.now:
            self._good = self._bad = 0
        if sent < self._lowered:
            return  # one of those that were too many: it would flatter the smaller limit
        if self._draining:
            self._draining = False
            self.begin(now)
            return
        self._count += 1
        self._full += full
        self._took += now - sent
        if self._count >= self._want and now - self._start >= SHORTEST_S:
            self._judge(now)

    def trouble(self, now: float, sent: float) -> None:
        """A question sent at `sent` came to nothing in a way that may mean too many at once."""
        if sent < self._lowered:
            return  # it was sent before the limit fell
        self._bad += 1
        if self._bad < max(min(2, self.now), self.now * TOLERATED):
            return
        self._base, self._trial, self._next = None, "", "up"
        self._step, self._rest, self._next_rest = 1, 0, REST
        self._calm = self._fixed = False  # what was said of it does not hold: it has to find its own way back
        self._lower(now, max(1, self.now // 2))

    def _lower(self, now: float, to: int) -> None:
        self.now, self._lowered, self._draining = to, now, True
        self._good = self._bad = 0
        self.begin(now)

    def _judge(self, now: float) -> None:
        """At the end of a window: what does it say of this limit? Nothing, when the limit was not made use of."""
        rate, mean = self._count / (now - self._start), self._took / self._count
        if self._full < 0.8 * self._count:
            self.begin(now)
            return
        self._quickest = min(self._quickest, mean)
        if self._base is None:
            self._base = (self.now, rate)
            self._try(now, mean)
        elif not self._trial:
            self._base = (self.now, 0.8 * self._base[1] + 0.2 * rate)
            self._rest -= 1
            self._try(now, mean)
        elif self._trial == "up" and self.now < self._top(self._base[0]):
            self._climb(now)
        else:
            self._compare(now, rate, mean)

    def _compare(self, now: float, rate: float, mean: float) -> None:
        """Is the limit on trial better than the one before?"""
        assert self._base is not None
        limit, before = self._base
        larger = min(PAYS, 1 + (self.now / limit - 1) / 2)
        needed = DOUBLES if self._trial == "double" else larger if self._trial == "up" else SPARES
        if abs(rate / before - needed) < CLEAR and self._count < max(3 * self.now, MANY):
            self._want = max(3 * self.now, MANY)
            return
        if rate >= needed * before:
            self._base, self._next_rest, self._rest = (self.now, rate), REST, 0
            self._step *= 2
            if self._trial == "up" and self._calm and rate / before > 1 + 0.7 * (self.now / limit - 1):
                self._next = "double"  # a hiccup had ended the doubling too soon
            self._try(now, mean)
            return
        doubled, self._trial = self._trial == "double", ""
        self._next = "up" if self._next == "down" or (doubled and rate >= larger * before) else "down"
        self._step, self._rest = 1, 1 if doubled else self._next_rest
        self._next_rest = min(2 * self._next_rest, LONGEST_REST)
        self._lower(now, limit)

    def _try(self, now: float, mean: float) -> None:
        """Another limit, when it is time and one is sensible; else on with this one."""
        self._trial = ""
        if self._next == "down" and (self.now == 1 or mean < QUEUED * self._quickest):
            self._next = "up"
        if self._next != "down" and (self.now == self._ceiling or mean > self._deadline / 4):
            self._next = "down"
        useless = self._next == "down" and (self.now == 1 or mean < QUEUED * self._quickest)
        if self._rest > 0 or self._fixed or useless:
            self.begin(now)
            return
        self._trial = self._next
        if self._trial == "down":
            self._lower(now, max(1, min(self.now - 1, self.now * 4 // 5)))
        else:
            self._climb(now)

    def _top(self, base: int) -> int:
        """How far to climb from the base before that is compared: by a quarter, when doubling to twice."""
        return min(self._ceiling, 2 * base if self._trial == "double" else base + max(1, base // 4))

    def _climb(self, now: float) -> None:
        assert self._base is not None
        top = self._top(self._base[0])
        self.now = top if self._trial == "double" else min(self.now + self._step, top)
        self.begin(now)
