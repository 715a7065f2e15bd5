"""What has failed in a row, and when that is reason enough to stop. Knows no clock, no ledger and no server."""

from __future__ import annotations

from agent.ask.terms import Policy
from agent.ask.verdict import Verdict
from agent.errors import Transient


class Streaks:
    """Takes note of how calls end; what a method returns is why the run is to stop, or ""."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._lost: int | None = 0  # calls that failed before the first answer came; None once one has come
        self._given_up = self._strange = self._unread = 0

    def answered(self) -> None:
        """An answer came, whatever it says."""
        self._lost, self._given_up, self._strange = None, 0, 0

    def understood(self) -> None:
        """It was one of the options."""
        self._unread = 0

    def unread(self, annotator: str) -> str:
        """It was none of them."""
        self._unread += 1
        if self._unread < self._policy.unread:
            return ""
        return (
            f"the last {self._unread} answers of {annotator} were none of the options: look at the model and its "
            "prompt (tutelage doctor, tutelage plan), then run again"
        )

    def given_up(self, trouble: Transient) -> str:
        """A call is out of attempts."""
        self._given_up += 1
        if self._given_up < self._policy.breaker:
            return ""
        return (
            f"{self._given_up} calls in a row came to nothing, the last one: {trouble}; "
            "run again when the endpoint is well"
        )

    def failed(self, found: Verdict) -> str:
        """An attempt ended without an answer."""
        if found.alive and self._lost is not None:
            self._lost += 1
            if self._lost >= self._policy.unread:
                return f"the first {self._lost} questions all failed, the last one: {found.why}"
        self._strange += found.strange
        if self._strange >= self._policy.strange:
            return f"{self._strange} calls in a row failed, the last one: {found.why}: a fault of ours"
        return found.stop
