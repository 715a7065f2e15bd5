"""Reserves jobs in order, a little ahead of what is sent, as the budget bears. Knows the ledger; sends nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from agent.ask.terms import Job, Lack
from agent.store import Store
from agent.store.reading import last_answer
from agent.types import Budget, Oracle, Recalls

AT_ONCE = 256
"""Jobs that are looked at before anything else may happen."""


class Feeder:
    """`ready`: jobs that are reserved and may be sent. `closed`: jobs that needed no answer any more. `lack`: what the
    budget had too little of at last. `send` is called when more is ready."""

    def __init__(
        self, store: Store, oracle: Oracle, budget: Budget | None, stopped: asyncio.Event, send: Callable[[], None]
    ) -> None:
        self.ready: deque[Job] = deque()
        self.wide = 1
        self.closed = 0
        self.lack = Lack()
        self._store, self._budget, self._stopped, self._send = store, budget, stopped, send
        self._oracle, self._recalled = oracle, not isinstance(oracle, Recalls)
        self._reserved = 0
        self._hungry, self._turnover = asyncio.Event(), asyncio.Event()

    def taken(self, limit: int) -> None:
        """Something was sent, of at most `limit` at once: keep twice as much ready."""
        self.wide = limit
        if len(self.ready) <= limit:
            self._hungry.set()

    def came_in(self) -> None:
        """A reserved call has come to its end."""
        self._reserved -= 1
        self._turnover.set()

    def wake(self) -> None:
        """The run was stopped."""
        self._hungry.set()
        self._turnover.set()

    async def run(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Ends when all is sent, when the budget bears no more, or when the run is stopped; gives what did not fit."""
        fresh, back = _different(jobs), deque[Job]()
        while not self._stopped.is_set():
            if len(self.ready) > self.wide:
                await self._hunger()
                continue
            want = 2 * self.wide + 8 - len(self.ready)
            chunk = [priced(back.popleft(), self._oracle) for _ in range(min(len(back), want))]
            chunk += islice(fresh, want - len(chunk))
            if not chunk:
                break
            self._turnover.clear()
            refused = await self._reserve(chunk)
            self._send()
            back.extendleft(reversed(refused))
            if refused and not self._turnover.is_set():  # else a call came in meanwhile, perhaps for less: try again
                if not self._reserved:
                    break
                await self._turnover.wait()
        while self.ready and not self._stopped.is_set():
            await self._hunger()
        return chain(back, fresh)

    async def _hunger(self) -> None:
        """Waits until more is sent, or the run is stopped."""
        if not self._stopped.is_set():
            self._hungry.clear()
            await self._hungry.wait()

    async def _reserve(self, chunk: list[Job]) -> list[Job]:
        """Makes ready what the budget bears; returns the jobs it does not."""
        if not self._recalled:
            chunk = await self._recall(chunk)
        result = await self._store.areserve([call for call, _ in chunk], self._budget)
        granted = {call.key for call in result.granted}
        refused = {call.key for call in result.refused}
        self.closed += len(result.closed)
        self.lack = Lack.of(result) or self.lack
        self._reserved += len(granted)
        self.ready.extend(job for job in chunk if job[0].key in granted)
        return [job for job in chunk if job[0].key in refused]

    async def _recall(self, chunk: list[Job]) -> list[Job]:
        """Tells the oracle of an answer it gave before, perhaps in another run: what these jobs may take then."""
        self._recalled, who = True, chunk[0][0].annotator
        answer = await self._store.do(lambda connection: last_answer(connection, who))
        if answer is None or not isinstance(self._oracle, Recalls):
            return chunk
        self._oracle.recall(answer)
        return [priced(job, self._oracle) for job in chunk]


def priced(job: Job, oracle: Oracle) -> Job:
    """A job at the most it can take as things are now: an oracle that has answered may need less than it might have."""
    call, prompt = job
    most = oracle.most(prompt)
    return replace(call, usd=most.usd, tokens=most.tokens, requests=most.requests), prompt


def _different(jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs, each question once."""
    seen: set[str] = set()
    for job in jobs:
        if job[0].key not in seen:
            seen.add(job[0].key)
            yield job


async def in_turns(jobs: Iterator[Job]) -> AsyncIterator[Job]:
    """The jobs, with turns for others in between: to make one, when it is pulled, takes its time."""
    for number, job in enumerate(jobs):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        yield job
