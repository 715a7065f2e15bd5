"""Requests and tokens a minute, kept smoothly: two buckets that fill all the time. Knows no clock: it is told times."""

from __future__ import annotations

from agent.types import Answer, Call


class Bucket:
    """Holds up to one second's worth (at least one) and fills by so much a minute; may go below zero."""

    def __init__(self, a_minute: int, now: float) -> None:
        self._most = max(a_minute / 60, 1.0)
        self._rate = max(a_minute - self._most, a_minute / 2) / 60  # with the most it holds, no minute takes more
        self._level, self._at = self._most, now

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` may be taken; 0 when now. More than it holds is taken when it is full."""
        self._level = min(self._most, self._level + max(now - self._at, 0.0) * self._rate)
        self._at = now
        return max(0.0, (min(amount, self._most) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take it (a negative amount: give it back)."""
        self._level = min(self._most, self._level - amount)


class Pace:
    """What may be sent when, by an oracle's limits a minute; None: no limit.

    A question takes the most it can take, and what it did not need is given back when its answer is there.
    """

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None, now: float) -> None:
        self._requests = None if requests_per_minute is None else Bucket(requests_per_minute, now)
        self._tokens = None if tokens_per_minute is None else Bucket(tokens_per_minute, now)
        self.free = self._requests is None and self._tokens is None

    def wait(self, now: float, call: Call) -> float:
        """Seconds until this call may be sent."""
        requests = 0.0 if self._requests is None else self._requests.wait(now, max(call.requests, 1))
        tokens = 0.0 if self._tokens is None else self._tokens.wait(now, call.tokens)
        return max(requests, tokens)

    def take(self, call: Call) -> None:
        """It is sent."""
        if self._requests is not None:
            self._requests.take(max(call.requests, 1))
        if self._tokens is not None:
            self._tokens.take(call.tokens)

    def correct(self, call: Call, answer: Answer | None, billed: bool = False, sent: bool = True) -> None:
        """It came back: what it did not need is free again. Without an answer it took all (billed), one request, or
        nothing (not sent)."""
        if self._requests is not None and not billed:
            used = max(answer.requests, 1) if answer else int(sent)
            self._requests.take(used - max(call.requests, 1))
        if self._tokens is not None and not billed:
            used = answer.tokens_in + answer.tokens_out if answer else 0
            self._tokens.take((used if used or not answer else call.tokens) - call.tokens)
