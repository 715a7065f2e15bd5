"""How many questions a server bears at once, found out while asking. Knows neither clock nor network: it is told times.

It begins small and doubles while that pays; then it rises one by one, and the faster the longer that pays. More
questions in flight pay when clearly more answers come back in the same time; where they do not, they only make every
answer later, so the limit stays and tries again now and then. Trouble halves it, once a round trip.
"""

from __future__ import annotations

import math

PAYS = 1.05
"""A larger limit must bring so many times the answers a second."""

TOLERATED = 0.1
"""Share of what is in flight that may fail in a window before that counts as congestion: one bad item is not."""

SHORTEST_S = 0.03
"""A window is no shorter, or it would measure our own ledger."""

REST, LONGEST_REST = 4, 64
"""Windows to stay after a larger limit did not pay: doubled each time."""


class Limit:
    """The limit `now`, between 1 and `ceiling`. A window is as many good answers as the limit: one round trip.

    deadline: seconds an answer may take; nothing grows any more when a quarter of them is used.
    """

    def __init__(self, start: int, ceiling: int, deadline: float = math.inf) -> None:
        self.now = min(start, ceiling)
        self._ceiling, self._deadline = ceiling, deadline
        self._base: tuple[int, float] | None = None  # the limit the present one has to beat, and its answers a second
        self._doubling = start < ceiling
        self._falling = False
        self._unsure = False
        self._step, self._rest, self._next_rest = 1, 0, REST
        self._fell = self._lowered = -math.inf
        self._draining = False
        self.begin(-math.inf)

    def begin(self, now: float) -> None:
        """A new window."""
        self._start, self._count, self._full, self._took, self._bad = now, 0, 0, 0.0, 0

    def well(self, now: float, sent: float, full: bool) -> None:
        """An answer to a question sent at `sent`. `full`: as many were in flight as the limit allows."""
        if sent < self._lowered:
            return  # one of those that were too many: it would flatter the smaller limit
        if self._draining:
            self._draining = False
            self.begin(now)
            return
        self._count += 1
        self._full += full
        self._took += now - sent
        if self._count >= self.now * (1 + self._unsure) and now - self._start >= SHORTEST_S:
            self._judge(now)

    def trouble(self, now: float, sent: float) -> None:
        """A question sent at `sent` came to nothing in a way that may mean too many at once."""
        if sent < self._fell:
            return  # it was sent before the limit fell
        self._bad += 1
        if self._bad < self.now * TOLERATED:
            return
        self._base, self._doubling, self._falling, self._unsure = None, False, False, False
        self._step, self._rest, self._next_rest = 1, 0, REST
        self._fell = now
        self._lower(now, max(1, self.now // 2))

    def _lower(self, now: float, to: int) -> None:
        self.now, self._lowered, self._draining = to, now, True
        self.begin(now)

    def _judge(self, now: float) -> None:
        """At the end of a window: does this limit pay? Says nothing when it was not made use of."""
        full, late = self._full >= 0.8 * self._count, self._took / self._count > self._deadline / 4
        rate = self._count / (now - self._start)
        self.begin(now)
        if not full:
            return
        if self._base is None:
            self._base = (self.now, rate)
            self._grow(late)
        elif self._falling:
            self._judge_smaller(now, rate)
        elif self.now == self._base[0]:
            self._base = (self.now, 0.8 * self._base[1] + 0.2 * rate)
            self._rest -= 1
            if self._rest <= 0:
                self._grow(late)
        elif self.now < self._top():
            self._grow(late)
        else:
            self._judge_larger(now, rate, late)

    def _judge_larger(self, now: float, rate: float, late: bool) -> None:
        assert self._base is not None
        smaller, before = self._base
        if rate >= before * min(PAYS, 1 + (self.now / smaller - 1) / 2):
            self._base, self._next_rest, self._unsure = (self.now, rate), REST, False
            self._step *= 2
            self._grow(late)
        elif not self._unsure:
            self._unsure = True  # a longer window decides
        else:
            first = self._doubling and self._step == 1
            self._unsure = self._doubling = False
            self._settle(now, smaller)
            if first and smaller > 1:  # where even the first doubling does not pay, fewer may do as well
                self._falling = True
                self._lower(now, smaller // 2)

    def _judge_smaller(self, now: float, rate: float) -> None:
        assert self._base is not None
        larger, before = self._base
        if rate * PAYS >= before:
            self._base = (self.now, rate)
            if self.now > 1:
                self._lower(now, self.now // 2)
                return
            larger = self.now
        self._falling = False
        self._settle(now, larger)

    def _settle(self, now: float, at: int) -> None:
        if at < self.now:
            self._lower(now, at)
        self.now, self._step = at, 1
        self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, LONGEST_REST)

    def _top(self) -> int:
        """How far to climb from the base before that is judged: by a quarter, when doubling to twice."""
        assert self._base is not None
        base = self._base[0]
        return min(self._ceiling, 2 * base if self._doubling else base + max(1, base // 4))

    def _grow(self, late: bool) -> None:
        if late:
            self._doubling, self._rest = False, self._next_rest
        elif self._doubling:
            self.now = self._top()
        else:
            self.now = min(self.now + self._step, self._top())
