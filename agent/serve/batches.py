"""Requests that come together are worked on together, by one thread. Knows no HTTP.

While a batch is at work the next one gathers. Where requests came together last time, the worker waits a moment for the
others, too: clients that answer at once send their next requests at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent.serve.saved import Labeled


@dataclass(frozen=True)
class Limits:
    """What a server takes. body: bytes of a request; chars: of one text; texts: of one request; queue: texts that wait;
    batch, batch_chars: texts and characters worked on at once; wait: seconds that a batch waits for others."""

    body: int = 4 << 20
    chars: int = 100_000
    texts: int = 1_024
    queue: int = 4_096
    batch: int = 256
    batch_chars: int = 200_000
    wait: float = 0.001


class Full(Exception):
    """More texts wait than may."""


@dataclass(slots=True)
class Job:
    """Texts of one request, or a part of them, and where their labels are awaited."""

    texts: Sequence[str]
    done: asyncio.Future[Labeled]


class Batches:
    """The queue before one worker thread. Made inside a running loop; `work` runs in that thread only."""

    def __init__(self, work: Callable[[list[str]], Labeled], limits: Limits) -> None:
        self._work, self._limits = work, limits
        self._jobs: deque[Job] = deque()
        self._there = asyncio.Event()
        self._together = False
        self._thread = ThreadPoolExecutor(1, "model")
        self._task = asyncio.get_running_loop().create_task(self._run())
        self.waiting = 0

    async def ask(self, texts: Sequence[str]) -> list[Labeled]:
        """Labels of the texts, in one piece or several, in order.

        Raises:
            Full: nothing was taken; ask again later.
        """
        if self.waiting + len(texts) > self._limits.queue:
            raise Full
        loop = asyncio.get_running_loop()
        jobs = [Job(part, loop.create_future()) for part in self._parts(texts)]
        self._jobs.extend(jobs)
        self.waiting += len(texts)
        self._there.set()
        if len(jobs) == 1:
            return [await jobs[0].done]
        return list(await asyncio.gather(*[job.done for job in jobs]))

    async def aside(self, work: Callable[[], object]) -> None:
        """Something else that only the worker thread may do."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """End the thread when it has done what it is at. Everybody who asked has been answered before, or is gone."""
        self._task.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _parts(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        if len(texts) == 1:
            yield texts
            return
        start = chars = 0
        for end, text in enumerate(texts):
            if end > start and (end - start >= self._limits.batch or chars + len(text) > self._limits.batch_chars):
                yield texts[start:end]
                start, chars = end, 0
            chars += len(text)
        yield texts[start:]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._there.wait()
            if self._together and self.waiting < self._limits.batch:
                await asyncio.sleep(self._limits.wait)
            jobs = self._next()
            self._together = len(jobs) > 1
            texts = [text for job in jobs for text in job.texts]
            try:
                labeled = await loop.run_in_executor(self._thread, self._work, texts)
            except Exception as error:  # noqa: BLE001 - whatever a student raises goes to those who asked
                await self._one_by_one(jobs, error)
                continue
            start = 0
            for job in jobs:
                end = start + len(job.texts)
                _give(job, labeled if len(jobs) == 1 else _part(labeled, start, end))
                start = end

    def _next(self) -> list[Job]:
        jobs: list[Job] = []
        texts = chars = 0
        while self._jobs:
            size, length = len(self._jobs[0].texts), sum(map(len, self._jobs[0].texts))
            if jobs and (texts + size > self._limits.batch or chars + length > self._limits.batch_chars):
                break
            jobs.append(self._jobs.popleft())
            texts, chars = texts + size, chars + length
        self.waiting -= texts
        if not self._jobs:
            self._there.clear()
        return jobs

    async def _one_by_one(self, jobs: list[Job], error: Exception) -> None:
        """One text that a student cannot take must not fail the others."""
        loop = asyncio.get_running_loop()
        for job in jobs:
            if len(jobs) > 1:
                try:
                    _give(job, await loop.run_in_executor(self._thread, self._work, list(job.texts)))
                    continue
                except Exception as own:  # noqa: BLE001 - as above
                    error = own
            if not job.done.done():
                job.done.set_exception(error)


def _give(job: Job, labeled: Labeled) -> None:
    if not job.done.done():  # the client may be gone
        job.done.set_result(labeled)


def _part(whole: Labeled, start: int, end: int) -> Labeled:
    return Labeled(whole.labels[start:end], whole.sure[start:end], whole.said[start:end], None)
