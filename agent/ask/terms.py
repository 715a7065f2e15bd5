"""How to ask, and what became of it: the words in which `ask` is told and tells. Knows no clock and no ledger."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.errors import Transient
from agent.store.rows import Reserved
from agent.types import Answer, Budget, Call, Prompt

Job = tuple[Call, Prompt]
Read = Callable[[Call, Prompt, Answer], object]
"""Reads an answer, only to see whether it can be read. Raises Unparsable."""
OnEvent = Callable[[str, Call, Answer | None], None]
"""Told of each call: kind is "answered", "failed", "given up" (out of attempts), "refused" (budget) or, of an attempt,
"error"."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How to ask. Times in seconds; `budget` is what all machines may take in all.

    deadline_s: total time of one attempt, however the bytes drip. attempts: in all, for trouble that may pass; waits
    double from wait_s to at most longest_wait_s, plus jitter. patience_s: an endpoint that wants us to wait longer is
    down. stall_s: nothing came back for so long (and for no less than a deadline) with questions under way, and the run
    pauses. gone_s: so long is a server waited for that takes no connection. breaker: so many calls in a row out of
    attempts, and the endpoint is down. strange: so many unforeseen errors in a row pause the run, and so do `unread`
    answers in a row that are none of the options, or as many items in a row whose calls failed: those then stay open.
    grace_s: how long calls in flight may still come in after an interruption. start: questions in flight at first.
    """

    budget: Budget | None = None
    deadline_s: float = 120.0
    attempts: int = 5
    wait_s: float = 1.0
    longest_wait_s: float = 60.0
    patience_s: float = 300.0
    stall_s: float = 180.0
    gone_s: float = 60.0
    breaker: int = 10
    strange: int = 20
    unread: int = 20
    grace_s: float = 5.0
    start: int = 8

    def pause(self, attempt: int, error: BaseException | None) -> float:
        """Seconds to wait after so many attempts: what the endpoint asked for or doubling, and up to half more; none
        where it may be asked again at once (0)."""
        if isinstance(error, Transient) and error.after == 0:
            return 0.0
        wait = min(self.longest_wait_s, self.wait_s * 2.0 ** (attempt - 1))
        if isinstance(error, Transient) and error.after is not None:
            wait = max(wait, error.after)
        return wait * (1 + random.random() / 2)


@dataclass(frozen=True, slots=True)
class Lack:
    """What the budget had too little of: `short` is "usd", "tokens" or "calls"; how much of it was `left`, and how much
    the next call `needs`, as it may take so much. Nothing was lacking where `short` is ""."""

    short: str = ""
    left: float = 0.0
    needs: float = 0.0

    @classmethod
    def of(cls, reserved: Reserved) -> Lack | None:
        """As the ledger said it; None where nothing was refused."""
        return cls(reserved.short, reserved.left, reserved.needs) if reserved.short else None


@dataclass(slots=True)
class Asked:
    """What became of the jobs, which are answered + failed + given_up + refused_by_budget + already + not asked.

    given_up: out of attempts, unreadable, broken by a fault of ours, or failed just before a pause; they stay open for
    another day. refused_by_budget: did not fit.
    already: had been answered, failed or withdrawn before. paused: why no more were asked; "" if nothing is amiss.
    lack: what the budget had too little of.
    limit: how many questions in flight the endpoint was found to bear, as things stood at the end.
    """

    answered: int = 0
    failed: int = 0
    given_up: int = 0
    refused_by_budget: int = 0
    already: int = 0
    paused: str = ""
    lack: Lack = field(default=Lack(), compare=False)
    limit: int = field(default=0, compare=False)
