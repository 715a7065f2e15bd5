"""One `ask`, from the first job to the last: a task for every question under way, and a feeder that reserves ahead.

A place in flight is held from sending to answer only; while an answer is written into the ledger, the next question is
on its way. Knows when and how often to send; what a limit is worth and what a minute bears are judged beside it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Coroutine, Iterable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from agent.ask.absence import Absence
from agent.ask.books import Books
from agent.ask.feed import Feeder, in_turns, priced
from agent.ask.learnt import Learnt
from agent.ask.loading import Loading
from agent.ask.streaks import Streaks
from agent.ask.terms import Asked, Job, Lack, OnEvent, Policy, Read
from agent.ask.verdict import Broken, Over, Refused, Verdict, verdict
from agent.errors import Transient
from agent.store import Store
from agent.types import Answer, Call, Oracle, Prompt

UNWRITTEN = 512
"""So many answers may wait for the ledger before no more is sent."""


class Asking:
    """One `ask`. Everything happens in one event loop; `_send` alone decides what leaves, and never awaits."""

    def __init__(
        self, store: Store, oracle: Oracle, policy: Policy, on_event: OnEvent | None, read: Read | None, learnt: Learnt
    ) -> None:
        self._store = store
        self._oracle = oracle
        self._policy = policy
        self._tell = on_event or (lambda kind, call, answer: None)
        learnt.begin(oracle.traits, policy)
        self._limit, self._pace, self._deadline = learnt.limit, learnt.pace, learnt.deadline
        self._asked = Asked()
        self._stopped, self._over = asyncio.Event(), asyncio.Event()
        self._feeder = Feeder(store, oracle, self._policy.budget, self._stopped, self._send)
        self._again: deque[tuple[Call, asyncio.Future[None]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_wire: dict[str, asyncio.Task[None] | None] = {}
        self._troubled: set[str] = set()
        self._stalled = False
        self._last = ""
        self._error: BaseException | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._quiet_s = 0.0
        self._loading = Loading(oracle)
        self._absence = Absence(self._policy.gone_s)
        self._streaks = Streaks(self._policy)
        check = read or (lambda call, prompt, answer: None)
        self._books = Books(store, self._asked, self._streaks, self._tell, check, self._stop)

    async def run(self, jobs: Iterable[Job]) -> Asked:
        self._patience_s = max(self._policy.stall_s, self._deadline)
        self._limit.begin(time.monotonic())
        self._feeder.wide = self._limit.now
        self._start(self._feed(jobs))
        watch = asyncio.create_task(self._watch())
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            self._stop("interrupted")
            self._loading.give_up()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._policy.grace_s)
            raise
        finally:
            self._stopped.set()  # nothing more is sent, whatever ends now
            self._loading.give_up()
            left = [watch, *self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if self._alarm is not None:
                self._alarm.cancel()
            if self._error is None:
                await self._books.end()
        if self._error is not None:
            raise self._error
        self._asked.already += self._feeder.closed
        self._asked.lack = self._feeder.lack if self._feeder.lack.short else self._asked.lack
        self._asked.limit = self._limit.now
        return self._asked

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
            self._over.set()
        if not self._tasks:
            self._over.set()

    def _stop(self, why: str) -> None:
        if not why or self._stopped.is_set():
            return
        self._asked.paused = why
        self._stopped.set()
        self._feeder.wake()
        for _, place in self._again:
            if not place.done():
                place.set_exception(Over())

    async def _watch(self) -> None:
        """Pauses the run when no answer has come for too long, with questions under way or to be asked again."""
        while self._quiet_s < self._patience_s and not self._absence.too_long(time.monotonic()):
            nap = min(self._patience_s, self._absence.seconds) / 20
            await asyncio.sleep(nap)
            self._quiet_s += nap * bool((self._on_wire or self._troubled) and not self._loading.under_way)
        self._stop(
            self._absence.why
            or f"no answer has come for {self._patience_s:.0f} s though questions were under way{self._last}: look at "
            "the server and its log; if it is only slow, raise deadline of this rung; then run again"
        )
        self._stalled = True
        for task in self._on_wire.values():
            if task is not None:
                task.cancel()

    async def _feed(self, jobs: Iterable[Job]) -> None:
        feeder = self._feeder
        unfit = await feeder.run(jobs)
        if self._stopped.is_set():
            await asyncio.gather(*(self._books.nothing(call, "not sent") for call, _ in feeder.ready))
            return
        async for call, _ in in_turns(unfit):
            self._asked.refused_by_budget += 1
            self._tell("refused", call, None)

    # What leaves, and when ----------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Sends as much as may be sent now: calls that are asked again first. Called whenever anything has changed."""
        limit, ready = self._limit.now, self._feeder.ready
        while len(self._on_wire) < limit and not self._stopped.is_set():
            if self._again:
                call, place = self._again[0]
                if place.done():
                    self._again.popleft()
                    continue
            elif ready and len(self._troubled) <= limit and len(self._tasks) < 2 * limit + UNWRITTEN:
                call, place = ready[0][0], None
            else:
                break
            if self._too_early(call):
                break
            self._pace.take(call)
            if place is not None:
                self._again.popleft()
                self._on_wire[call.key] = None
                place.set_result(None)
            else:
                self._on_wire[call.key] = self._start(self._see_through(*ready.popleft()))
        self._feeder.taken(limit)

    def _too_early(self, call: Call) -> bool:
        """Whether this call has to wait, for the endpoint or the limits a minute; then it is tried again in time."""
        if self._pace.free and not self._not_before:
            return False
        now = time.monotonic()
        wait = max(self._not_before - now, self._pace.wait(now, call))
        if wait <= 0:
            self._not_before = 0.0
            return False
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(wait, self._send)
        return True

    # A call -------------------------------------------------------------------------------------------------------

    async def _see_through(self, call: Call, prompt: Prompt) -> None:
        """One call to its end, whatever it is; only trouble with the ledger or the set-up is raised."""
        try:
            try:
                answer = await self._sent(call, prompt)
            except Transient as trouble:
                answer = await self._persist(call, prompt, trouble)
            await self._books.keep(call, prompt, answer)
        except Transient as trouble:
            self._books.given_up(call)
            self._stop(self._streaks.given_up(trouble))
        except Broken:
            self._books.given_up(call)
        except Refused:
            self._asked.refused_by_budget += 1
            self._tell("refused", call, None)
        except Over:
            return
        finally:
            self._troubled.discard(call.key)
            self._feeder.came_in()
            self._send()

    async def _persist(self, call: Call, prompt: Prompt, first: Transient) -> Answer:
        """The answer, after a first attempt that failed. Raises Transient when out of attempts, Refused, or Over."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._policy.attempts),
            retry=retry_if_exception_type(Transient),
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise first
                call = priced((call, prompt), self._oracle)[0]
                granted = await self._store.areserve([call], self._policy.budget)
                if granted.refused:
                    self._asked.lack = Lack.of(granted) or self._asked.lack
                    raise Refused
                if granted.closed:
                    raise Over
                await self._place(call)
                return await self._sent(call, prompt)
        raise AssertionError("tenacity ends with an answer or an exception")

    async def _sent(self, call: Call, prompt: Prompt) -> Answer:
        """One attempt that left. Where nothing did, for the endpoint is left alone, it keeps what it has reserved and
        waits; the watch ends that when no answer comes any more."""
        while True:
            try:
                return await self._attempt(call, prompt)
            except Transient as trouble:
                if trouble.sent:
                    raise
                pause = self._policy.pause(1, trouble)
            await self._sleep(pause, call)
            await self._place(call)

    async def _attempt(self, call: Call, prompt: Prompt) -> Answer:
        """One request under its deadline. Whatever goes wrong is in the ledger before it is raised."""
        sent = time.monotonic()
        try:
            await self._loading.over()
            sent = time.monotonic()
            async with asyncio.timeout(self._deadline):
                answer = await self._oracle.answer(prompt)
        except asyncio.CancelledError:
            self._on_wire.pop(call.key, None)
            if not self._stalled:
                raise
            await self._books.nothing(call, "dropped: no answers came any more", billed=True)
            raise Over from None
        except Exception as error:
            found = verdict(error, call, self._deadline)
            self._came_back(call, sent, None, found)
            if found.sent or not isinstance(found.then, Transient):  # else it keeps what it has reserved, and waits
                await self._books.note(call, found)
            raise found.then from error
        self._came_back(call, sent, answer, None)
        return answer

    def _came_back(self, call: Call, sent: float, answer: Answer | None, found: Verdict | None) -> None:
        """A place in flight is free: take note of what that tells of the endpoint, and send the next."""
        now, full = time.monotonic(), len(self._on_wire) >= self._limit.now
        self._on_wire.pop(call.key, None)
        if found is None or found.alive or (found.sent and not found.strange):
            self._absence.over()
        if found is None:
            self._quiet_s = 0.0
            self._streaks.answered()
            self._limit.well(now, sent, full)
        else:
            self._listen(call, now, sent, found)
        if not self._pace.free:
            billed = found is not None and found.cost.usd + found.cost.tokens_in > 0
            self._pace.correct(call, answer, billed, sent=found is None or found.sent)
        self._send()

    def _listen(self, call: Call, now: float, sent: float, found: Verdict) -> None:
        if found.alive:
            self._quiet_s = 0.0
        self._stop(self._streaks.failed(call, found))
        trouble = found.then
        if not isinstance(trouble, Transient):
            return
        self._troubled.add(call.key)
        if trouble.sent and trouble.after != 0:  # what may be asked again at once was no sign of too much
            self._limit.trouble(now, sent)
        if trouble.gone:
            self._absence.noticed(trouble, now)
        self._last = f" (the last trouble: {trouble})"
        if trouble.after is not None:
            self._not_before = max(self._not_before, now + trouble.after * (1 + random.random() / 10))
            self._patience_s = max(self._patience_s, trouble.after + self._deadline)
            if trouble.after > self._policy.patience_s:
                self._stop(
                    f"{trouble}; it is to be asked again in {trouble.after:.0f} s at the earliest: run again then"
                )

    async def _place(self, call: Call) -> None:
        """Waits for a place in flight. Raises Over, with nothing reserved, when the run is stopped before."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._again.append((call, place))
        self._send()
        try:
            if self._stopped.is_set() and not place.done():
                raise Over
            await place
        except Over:
            await self._books.nothing(call, "not sent")
            raise
        self._on_wire[call.key] = asyncio.current_task()

    def _wait(self, state: RetryCallState) -> float:
        return self._policy.pause(state.attempt_number, state.outcome.exception() if state.outcome else None)

    async def _sleep(self, seconds: float, reserved: Call | None = None) -> None:
        """Sleeps, unless the run is stopped: then raises Over, with nothing `reserved`."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return
        if reserved is not None:
            await self._books.nothing(reserved, "not sent")
        raise Over
