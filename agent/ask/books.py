"""What becomes of calls: into the ledger, counted and told. Knows no clock, no limit and no server.

A call that failed is closed only when a later answer shows that the server is well. Until then it is held back, a few
at most: a server that came back with another context length or chat template refuses whatever it is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.ask.streaks import Streaks
from agent.ask.terms import Asked, OnEvent, Read
from agent.ask.verdict import Verdict, cost
from agent.errors import Unparsable
from agent.prompt import stamp
from agent.store import Store
from agent.types import Answer, Call, Prompt


class Books:
    """Of one `ask`. `stop` is told why the run is to end, or ""."""

    def __init__(
        self, store: Store, asked: Asked, streaks: Streaks, tell: OnEvent, read: Read, stop: Callable[[str], None]
    ) -> None:
        self._store, self._asked, self._streaks = store, asked, streaks
        self._tell, self._read, self._stop = tell, read, stop

    async def keep(self, call: Call, prompt: Prompt, answer: Answer) -> None:
        """The answer into the ledger. What is none of the options has been paid for, is kept, and settles nothing."""
        answer = stamp(prompt, answer)
        try:
            self._read(call, prompt, answer)
        except Unparsable:
            self._stop(self._streaks.unread(call.annotator))  # before the ledger is waited for: others go on meanwhile
            await self._store.record(call.key, answer, "error", "unreadable: none of the options")
            self.given_up(call)
            return
        held = self._streaks.understood()
        if await self._store.record(call.key, answer):
            self._asked.answered += 1
            self._tell("answered", call, answer)
        else:
            self._asked.already += 1
        await self._close(held)

    async def note(self, call: Call, found: Verdict) -> None:
        """An attempt without an answer. One that failed for good waits in `streaks`, with what it has reserved."""
        if found.status == "error":
            await self._store.record(call.key, found.cost, "error", found.why)
            self._tell("error", call, None)

    async def nothing(self, call: Call, why: str, billed: bool = False) -> None:
        """Closes a reservation without an answer; the call stays open."""
        spent = cost(call, True) if billed else Answer("")
        await self._store.record(call.key, spent, "error", why)
        self._tell("error", call, None)

    def given_up(self, call: Call) -> None:
        """It is asked no more this time, and stays open."""
        self._asked.given_up += 1
        self._tell("given up", call, None)

    async def end(self) -> None:
        """What is held back when all is over: closed where all went well, and left open where the run has paused."""
        held = self._streaks.let_go()
        if not self._asked.paused:
            await self._close(held)
            return
        for call, found in held:
            await self._store.record(call.key, found.cost, "error", found.why)
            self._tell("error", call, None)
            self.given_up(call)

    async def _close(self, held: list[tuple[Call, Verdict]]) -> None:
        for call, found in held:
            await self._store.record(call.key, found.cost, "failed", found.why)
            self._asked.failed += 1
            self._tell("failed", call, None)
