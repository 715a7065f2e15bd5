"""A server that takes no connection any more: said once, with the time, and waited for only so long.

Knows no oracle and no ledger.
"""

from __future__ import annotations

import logging
import time

from agent.errors import Transient

log = logging.getLogger("tutelage")


class Absence:
    """`seconds`: how long it is waited for. `why`: what to say when that is too long; "" while somebody is there."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.why = ""
        self._since: float | None = None

    def noticed(self, trouble: Transient, now: float) -> None:
        """Nobody took the connection."""
        if self._since is not None:
            return
        self._since, clock = now, time.time()
        begun, until = (time.strftime("%H:%M", time.localtime(clock + more)) for more in (0.0, self.seconds))
        self.why = f"{trouble} since {begun}: start it again, then run again"
        log.warning("%s since %s: start it again; waiting until %s", trouble, begun, until)

    def over(self) -> None:
        """Somebody did."""
        self.why, self._since = "", None

    def too_long(self, now: float) -> bool:
        """Whether it has been waited for long enough."""
        return self._since is not None and now - self._since >= self.seconds
