"""What has failed in a row, and when that is reason enough to stop. Knows no clock, no ledger and no server."""

from __future__ import annotations

from agent.ask.terms import Policy
from agent.ask.verdict import Verdict
from agent.errors import Transient
from agent.types import Call


class Streaks:
    """Takes note of how calls end; what a method returns is why the run is to stop, or ""."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._held: list[tuple[Call, Verdict]] = []  # calls that failed since the last answer that was understood
        self._well = False
        self._given_up = self._strange = self._unread = 0

    def answered(self) -> None:
        """An answer came, whatever it says."""
        self._given_up = self._strange = 0

    def understood(self) -> list[tuple[Call, Verdict]]:
        """It was one of the options; the calls that failed before it, which were not the server's fault then."""
        self._unread, self._well = 0, True
        return self.let_go()

    def let_go(self) -> list[tuple[Call, Verdict]]:
        """The calls that failed since the last answer that was understood; they are held no longer."""
        held, self._held = self._held, []
        return held

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

    def failed(self, call: Call, found: Verdict) -> str:
        """An attempt ended without an answer; held where that is for good."""
        self._strange += found.strange
        if self._strange >= self._policy.strange:
            return f"{self._strange} calls in a row failed, the last one: {found.why}: a fault of ours"
        if found.status == "failed":
            self._held.append((call, found))
            lost = len({held.item for held, _ in self._held})
            if lost >= self._policy.unread:
                return self._storm(lost, found.why)
        return found.stop

    def _storm(self, lost: int, why: str) -> str:
        if not self._well:
            return f"the first {lost} questions all failed, the last one: {why}"
        return (
            f"{lost} questions in a row failed after others had been answered, the last one: {why}; look whether the "
            "server came back with other settings (context length, chat template) and mend them, or leave these "
            "items out of the pool; they stay open: run again then"
        )
