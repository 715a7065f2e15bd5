"""Asks an oracle: reserve, ask, record. Knows money, time and trouble; knows nothing of labels or of what is asked.

Every attempt is paid for in the ledger before it is sent, and every answer is durable before it counts. This is the
one place that tries again (tenacity), that has deadlines, and that stops when an endpoint is gone.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from agent.errors import CallFailed, Pause, Transient, Unparsable, UserError
from agent.store import Store
from agent.types import Answer, Budget, Call, Oracle, Prompt

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
    down. breaker: so many calls in a row out of attempts, and the endpoint is down. strange: so many unforeseen
    errors in a row pause the run, and so do `unread` answers in a row that are none of the options. grace_s: how long
    calls in flight may still come in after an interruption.
    """

    budget: Budget | None = None
    deadline_s: float = 120.0
    attempts: int = 5
    wait_s: float = 1.0
    longest_wait_s: float = 60.0
    patience_s: float = 300.0
    breaker: int = 10
    strange: int = 20
    unread: int = 20
    grace_s: float = 5.0


@dataclass(slots=True)
class Asked:
    """What became of the jobs, which are answered + failed + given_up + refused_by_budget + already + not asked.

    given_up: out of attempts, or unreadable; they stay open for another day. refused_by_budget: did not fit.
    already: had been answered, failed or withdrawn before. paused: why no more were asked; "" if nothing is amiss.
    """

    answered: int = 0
    failed: int = 0
    given_up: int = 0
    refused_by_budget: int = 0
    already: int = 0
    paused: str = ""


async def ask(
    store: Store,
    oracle: Oracle,
    jobs: Sequence[Job],
    policy: Policy | None = None,
    on_event: OnEvent | None = None,
    read: Read | None = None,
) -> Asked:
    """Asks all jobs, at most `oracle.traits.in_flight` at once; returns when each has come to an end.

    An endpoint that is down ends it in order: what is in flight comes in, `paused` says why. When cancelled (Ctrl-C
    under `asyncio.run`) it lets calls in flight come in for `grace_s`, then drops the rest, which stay open and
    reserved. An answer that `read` finds unreadable is kept as an error at its price, and the call given up: it may be
    asked another day, of a better server. Raises StoreFull or Pause for a ledger that cannot be written, UserError when
    the oracle raises one.
    """
    return await _Asking(store, oracle, policy or Policy(), on_event, read).run(jobs)


class _Over(Exception):
    """No further attempt, and nothing left to note: the call has ended or the run has been stopped."""


class _Refused(Exception):
    """No further attempt: the budget does not bear it."""


class _Asking:
    """One `ask`: a feeder that reserves ahead, and a worker for every place in flight."""

    def __init__(
        self, store: Store, oracle: Oracle, policy: Policy, on_event: OnEvent | None, read: Read | None
    ) -> None:
        self._store = store
        self._oracle = oracle
        self._policy = policy
        self._tell = on_event or (lambda kind, call, answer: None)
        self._read = read or (lambda call, prompt, answer: None)
        self._unread_in_a_row = 0
        self._asked = Asked()
        self._ready: asyncio.Queue[Job | None] = asyncio.Queue()
        self._turnover = asyncio.Event()
        self._stopped = asyncio.Event()
        self._reserved = 0
        self._not_before = 0.0
        self._given_up_in_a_row = 0
        self._strange_in_a_row = 0

    async def run(self, jobs: Sequence[Job]) -> Asked:
        different = {call.key: (call, prompt) for call, prompt in jobs}
        places = max(1, min(self._oracle.traits.in_flight, len(different)))
        tasks = [asyncio.create_task(self._feed(deque(different.values()), places))]
        tasks += [asyncio.create_task(self._work()) for _ in range(places)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            self._stop("interrupted")
            await asyncio.wait(tasks, timeout=self._policy.grace_s)
            raise
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end
        return self._asked

    def _stop(self, why: str) -> None:
        self._asked.paused = self._asked.paused or why
        self._stopped.set()
        self._turnover.set()

    # The feeder ---------------------------------------------------------------------------------------------------

    async def _feed(self, jobs: deque[Job], places: int) -> None:
        """Reserves jobs in order, a little ahead of the workers; at the end tells every worker to go home."""
        ahead = max(1, places // 4)
        while jobs and not self._stopped.is_set():
            if self._ready.qsize() >= ahead:
                await self._next_turnover()
                continue
            await self._endpoint_ready()
            free = places + ahead - self._reserved
            chunk = [jobs.popleft() for _ in range(min(len(jobs), max(1, free)))]
            self._turnover.clear()
            refused = await self._reserve(chunk)
            jobs.extendleft(reversed(refused))
            if refused and not self._turnover.is_set():  # else a call came in meanwhile, perhaps for less: try again
                if not self._reserved:
                    break
                await self._turnover.wait()
        if not self._stopped.is_set():
            for call, _ in jobs:
                self._asked.refused_by_budget += 1
                self._tell("refused", call, None)
        for _ in range(places):
            self._ready.put_nowait(None)

    async def _reserve(self, chunk: Sequence[Job]) -> list[Job]:
        """Makes ready what the budget bears; returns the jobs it does not."""
        result = await self._store.areserve([call for call, _ in chunk], self._policy.budget)
        granted = {call.key for call in result.granted}
        refused = {call.key for call in result.refused}
        self._asked.already += len(result.closed)
        self._reserved += len(granted)
        for job in chunk:
            if job[0].key in granted:
                self._ready.put_nowait(job)
        return [job for job in chunk if job[0].key in refused]

    async def _next_turnover(self) -> None:
        """Waits until a worker takes or ends a call, or the run is stopped."""
        if not self._stopped.is_set():
            self._turnover.clear()
            await self._turnover.wait()

    async def _endpoint_ready(self) -> None:
        """An endpoint that told one call to wait has told all of them."""
        while (wait := self._not_before - time.monotonic()) > 0:
            try:
                await self._sleep(wait)
            except _Over:
                return

    # The workers --------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while (job := await self._ready.get()) is not None:
            self._turnover.set()
            call, prompt = job
            try:
                if self._stopped.is_set():
                    await self._came_to_nothing(call, "not sent", usd=0.0)
                else:
                    await self._see_through(call, prompt)
            finally:
                self._reserved -= 1
                self._turnover.set()

    async def _see_through(self, call: Call, prompt: Prompt) -> None:
        """One call to its end, whatever it is; only trouble with the ledger or the set-up is raised."""
        try:
            answer = await self._with_retries(call, prompt)
        except Transient as trouble:
            self._asked.given_up += 1
            self._tell("given up", call, None)
            self._given_up_in_a_row += 1
            if self._given_up_in_a_row >= self._policy.breaker:
                self._stop(f"{self._given_up_in_a_row} calls in a row came to nothing, the last one: {trouble}")
        except _Refused:
            self._asked.refused_by_budget += 1
            self._tell("refused", call, None)
        except _Over:
            return
        else:
            self._given_up_in_a_row = self._strange_in_a_row = 0
            if not await self._readable(call, prompt, answer):
                return
            if await self._store.record(call.key, answer):
                self._asked.answered += 1
                self._tell("answered", call, answer)
            else:
                self._asked.already += 1

    async def _readable(self, call: Call, prompt: Prompt, answer: Answer) -> bool:
        """Is it one of the options? What is not has been paid for, is kept as it came, and settles nothing."""
        try:
            self._read(call, prompt, answer)
        except Unparsable:
            await self._store.record(call.key, answer, "error", "unreadable: none of the options")
            self._asked.given_up += 1
            self._unread_in_a_row += 1
            self._tell("given up", call, None)
            if self._unread_in_a_row >= self._policy.unread:
                self._stop(
                    f"the last {self._unread_in_a_row} answers of {call.annotator} were none of the options: look at "
                    "the model and its prompt (tutelage doctor, tutelage plan), then run again"
                )
            return False
        self._unread_in_a_row = 0
        return True

    async def _with_retries(self, call: Call, prompt: Prompt) -> Answer:
        """The answer. Raises Transient when out of attempts, _Refused, or _Over."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._policy.attempts),
            retry=retry_if_exception_type(Transient),
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                if attempt.retry_state.attempt_number > 1:
                    granted = await self._store.areserve([call], self._policy.budget)
                    if granted.refused:
                        raise _Refused
                    if granted.closed:
                        raise _Over
                return await self._attempt(call, prompt)
        raise AssertionError("tenacity ends with an answer or an exception")

    async def _attempt(self, call: Call, prompt: Prompt) -> Answer:
        """One request under its deadline. Whatever goes wrong is in the ledger before it is raised."""
        deadline = self._policy.deadline_s
        try:
            async with asyncio.timeout(deadline):
                return await self._oracle.answer(prompt)
        except TimeoutError:
            trouble = Transient(f"no answer within {deadline:g} s", billed=True)
        except Transient as error:
            trouble = error
        except Pause as error:
            self._stop(str(error))
            await self._came_to_nothing(call, str(error), usd=0.0)
            raise _Over from error
        except UserError as error:
            await self._came_to_nothing(call, str(error), usd=0.0)
            raise
        except CallFailed as error:
            await self._fail(call, str(error), call.usd if error.billed else 0.0)
            raise _Over from error
        except Exception as error:
            await self._fail(call, f"unforeseen {type(error).__name__} in the oracle", call.usd)
            self._strange_in_a_row += 1
            if self._strange_in_a_row >= self._policy.strange:
                self._stop(
                    f"{self._strange_in_a_row} calls in a row failed with {type(error).__name__}: a fault of ours"
                )
            raise _Over from error
        if trouble.after is not None:
            self._not_before = max(self._not_before, time.monotonic() + trouble.after)
            if trouble.after > self._policy.patience_s:
                self._stop(f"the endpoint asks to wait {trouble.after:.0f} s: {trouble}; run again then")
        await self._came_to_nothing(call, str(trouble), usd=call.usd if trouble.billed else 0.0)
        raise trouble

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: what the endpoint asked for or doubling, and up to half more at random."""
        policy = self._policy
        wait = min(policy.longest_wait_s, policy.wait_s * 2.0 ** (state.attempt_number - 1))
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Transient) and error.after is not None:
            wait = max(wait, error.after)
        return wait * (1 + random.random() / 2)

    async def _sleep(self, seconds: float) -> None:
        """Sleeps, unless the run is stopped: then raises _Over."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return
        raise _Over

    async def _came_to_nothing(self, call: Call, why: str, usd: float) -> None:
        """An attempt that brought no answer; the call stays open."""
        await self._store.record(call.key, Answer("", usd=usd), "error", why)
        self._tell("error", call, None)

    async def _fail(self, call: Call, why: str, usd: float) -> None:
        """A call that is given up for good. Where it may have been charged, it costs what was reserved."""
        await self._store.record(call.key, Answer("", usd=usd), "failed", why)
        self._asked.failed += 1
        self._tell("failed", call, None)
