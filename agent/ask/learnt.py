"""What has been learnt of an oracle's speed: turns do not begin from nothing each time.

Knows the limits of this process too: a connection is an open file.
"""

from __future__ import annotations

import logging
import time

from agent.ask.limit import Limit
from agent.ask.pace import Pace
from agent.ask.terms import Policy
from agent.types import Traits

log = logging.getLogger("tutelage")

OTHER_FILES = 64
"""Open files that are not connections: the ledger, the pool, logs, libraries."""


class Learnt:
    """Of one oracle: questions at once, what a minute bears, seconds an attempt may take in all.

    Kept by whoever asks an oracle more than once and handed to each `ask`; `begin` fills it at the first.
    """

    limit: Limit
    pace: Pace
    deadline: float

    def __init__(self) -> None:
        self._begun = False

    def begin(self, traits: Traits, policy: Policy) -> None:
        """Now this oracle is asked. One that answers in this process (no `traits.hosts`) is given all it takes at once:
        how it batches is its secret."""
        self.deadline = max(policy.deadline_s, traits.deadline_s or 0.0)
        if self._begun:
            return
        ceiling = max(1, traits.in_flight)
        if traits.hosts:
            ceiling = min(ceiling, _files(traits))
        start = policy.start if traits.hosts else ceiling
        self.limit = Limit(start, ceiling, traits.deadline_s or self.deadline)
        self.pace = Pace(traits.requests_per_minute, traits.tokens_per_minute, time.monotonic())
        self._begun = True


def _files(traits: Traits) -> int:
    """As many connections as this process may have open; says so when that is less than `in_flight`."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return traits.in_flight
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    room = traits.in_flight if soft == resource.RLIM_INFINITY else max(1, soft - OTHER_FILES)
    if room < traits.in_flight:
        log.warning(
            "%s is asked at most %d questions at once, not in_flight = %d: this process may open %d files "
            "(ulimit -n %d allows more)",
            traits.annotator,
            room,
            traits.in_flight,
            soft,
            traits.in_flight + OTHER_FILES,
        )
    return room
