"""Getting an oracle ready before any clock runs: a model may take longer to load than a question may take to answer.

Knows no question and no ledger.
"""

from __future__ import annotations

import asyncio

from agent.types import Loads, Oracle


class Loading:
    """Of one `ask`. Nothing is loaded before the first question is sent: there may be none."""

    def __init__(self, oracle: Oracle) -> None:
        self._ready = oracle.ready if isinstance(oracle, Loads) else None
        self._task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> bool:
        """Whether questions wait for it now."""
        return self._task is not None and not self._task.done()

    async def over(self) -> None:
        """Waits until the oracle is ready, however long that takes. Raises what its `ready` raises."""
        if self._ready is None:
            return
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ready())
        await asyncio.shield(self._task)

    def give_up(self) -> None:
        """Nobody waits any more; a thread that loads runs on to its end."""
        if self._task is not None:
            self._task.cancel()
