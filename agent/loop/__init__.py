"""Turns until there is a reason to stop. The loop keeps no state: to resume is to run again.

`run` is the whole job: it takes the pool in, asks, teaches, decides, and ends with a reason a person can read. All it
knows between turns is read back from the ledger.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from agent import __version__, ask, egress
from agent import config as settings
from agent.batch import Post
from agent.config import Config
from agent.errors import ConfigError
from agent.loop import asks, forming, looking, measure, past, posting, private, worth
from agent.loop import turn as turns
from agent.loop.decisions import remember
from agent.loop.ground import Ground, lock, open_ground, then_closed
from agent.loop.people import open_cards, purposes, share
from agent.loop.turn import OUT_OF, Event, Report, Turned
from agent.types import Budget

__all__ = ["PEOPLE", "Event", "Finished", "Ground", "run", "share"]

DONE, PAUSED, WAITING, INTERRUPTED = 0, 3, 4, 130
CERTIFIED = "target certified"
PEOPLE = "only people are waited for"
T = TypeVar("T")


@dataclass(frozen=True)
class Finished:
    """Why the run stopped, the exit code that says so, and where things stand."""

    reason: str
    code: int
    summary: Mapping[str, Any] = field(default_factory=dict)


def run(
    config: Config,
    *,
    people: str | None = None,
    limit: int | None = None,
    calls: int | None = None,
    budget: Budget | None = None,
    priceless: bool = False,
    offline: bool = False,
    batch: posting.Mode = "",
    policy: ask.Policy | None = None,
    report: Report = lambda event: None,
) -> Finished:
    """Run turns until nothing is left to ask, the budget is spent, or only people are waited for.

    Args:
        people: "gold" or a file of recorded votes: who answers for people; the configuration's when None.
        limit: only the pool's first items. calls: at most so many questions to machines a turn (for trying out).
        budget: what machines may take in all; the configuration's when None.
        priceless: go on where a machine's price is not known.
        offline: refuse every annotator that needs a network.
        batch: "files" puts questions into files and ends waiting, "submit" hands the files in and waits, "cancel" takes
            back all that is out.
        policy: how patiently machines are asked; its budget is `budget`.
        report: called with every `Event`, for progress.
    Raises:
        UserError, Pause, Damaged: see `errors`.
    """
    with lock(config.folder):
        ground = open_ground(config, people, limit, offline)
        if not priceless and not config.goal.costs_what_it_costs:
            _priced(ground)
        taken = ground.taken
        found = {name: getattr(taken, name) for name in ("new", "set_aside", "gone", "changed", "first")}
        found["sent_to"] = {m.rung.name: private.hosts(m.rung, m.traits) for m in ground.machines if not m.traits.local}
        report(Event("intake", 0, "", taken.items, taken.rows, found))
        ground.budget = budget or config.goal.budget
        try:
            with egress.guarded(config.privacy.egress):
                if batch == "cancel":
                    return asyncio.run(then_closed(ground, _take_back(ground, report)))
                at = posting.post(ground, batch, *_voices(report))
                ground.post = at if batch else None
                asking = replace(policy or ask.Policy(), budget=ground.budget)
                return asyncio.run(then_closed(ground, _turns(ground, at, asking, report, calls)))
        finally:
            ground.store.close()


def _priced(ground: Ground) -> None:
    """Nobody can keep a budget at a price that is not known.

    Raises:
        ConfigError: a machine's price is neither told nor in the table.
    """
    unknown = {m.rung.name: name for m in ground.machines if (name := getattr(m.oracle, "unpriced", ""))}
    for rung, model in unknown.items():
        ground.store.close()
        option = "IN,OUT" if len(unknown) == 1 else f"{rung}=IN,OUT"
        raise ConfigError(
            f"rung {rung!r}: the price of {model} is not known: tell it with --price {option} (US dollars per million "
            "tokens in and out; or usd_per_mtok_in and usd_per_mtok_out in the rung), or say that it does not matter "
            "with --budget none"
        )


def _voices(report: Report) -> tuple[posting.Tell, posting.Progress]:
    """What is said of batches, as events."""

    def progress(name: str, done: int, total: int) -> None:
        report(Event("batch", 0, f"waiting for batch {name}", done, total))

    return lambda line: report(Event("note", 0, line)), progress


async def _take_back(ground: Ground, report: Report) -> Finished:
    sent = await posting.cancel(ground, posting.post(ground, "cancel", *_voices(report)))
    kept = f"; {sent.answered:,} answers that had come are kept" if sent.answered else ""
    return Finished(f"nothing is out in batches any more{kept}", DONE)


async def _posted(ground: Ground, at: Post, stopping: asyncio.Event) -> Finished | None:
    """Reads back what earlier runs put into files; why the run ends here, if it does."""
    if ground.post is None:
        at.let_go()
    sent = await _unless(stopping, asyncio.create_task(posting.collect(ground, at)))
    if sent is None:
        return Finished("interrupted", INTERRUPTED)
    if sent.paused:
        return Finished(sent.paused, PAUSED)
    return Finished(posting.words(sent.waiting), WAITING) if sent.waiting else None


async def _turns(ground: Ground, at: Post, policy: ask.Policy, report: Report, calls: int | None) -> Finished:
    forming.begin(ground)
    if (before := _nothing_new(ground)) is not None:
        return before
    if line := past.words(past.unused(ground)):
        report(Event("note", 0, line))
    with _listening(ground) as stopping:
        if (early := await _posted(ground, at, stopping)) is not None:
            return early
        return await _turns_until(stopping, ground, policy, report, calls)


async def _turns_until(
    stopping: asyncio.Event, ground: Ground, policy: ask.Policy, report: Report, calls: int | None
) -> Finished:
    store = ground.store
    store.cut_short(sorted({call.annotator for call in store.open_calls(people=False)}))
    turns.recall(ground)
    last, number = remember(ground), store.last_turn()
    await _unless(stopping, asyncio.create_task(_finish_open(ground, policy, report, number)))
    reason, code, turned = "run.max_turns turns are done: run again to go on", PAUSED, Turned()
    for _ in range(ground.config.run.max_turns):
        if stopping.is_set():
            reason, code = "interrupted", INTERRUPTED
            break
        number += 1
        store.begin_turn(number, ground.config.run.seed, settings.fingerprint(ground.config), __version__)
        report(Event("turn", number, "", number, ground.config.run.max_turns))
        work = asyncio.create_task(turns.turn(ground, number, last, policy, report, calls))
        done = await _unless(stopping, work)
        if done is None:
            reason, code = "interrupted", INTERRUPTED
            break
        turned = done
        store.end_turn(number, {**turned.numbers, "people_are": ground.people_are, "asked": turned.asked})
        stop = _reason(ground, turned, stopping)
        if stop is None and looking.certified(ground, last, number, turned):
            stop = CERTIFIED, DONE
        if stop is not None and stop[1] == DONE and looking.go_on(ground, last, number, turned):
            continue
        if stop is not None:
            reason, code = stop
            break
    if code != INTERRUPTED:
        turned.numbers = looking.settle(ground, last, number, closing=code == DONE, certified=reason == CERTIFIED)
    no_certificate = "" if code != DONE or looking.look(ground) else looking.why_not(ground)
    summary = {**turned.numbers, "turns": number, "waiting": turned.waiting}
    closing = {"stop": reason, "code": code, "people_are": ground.people_are, "no_certificate": no_certificate}
    closing["gold"] = measure.against_gold(ground)
    store.end_turn(number, {**turned.numbers, **closing, "final": True, "summary": summary, "state": _state(ground)})
    report(Event("stop", number, reason, number, number, turned.numbers))
    return Finished(reason, code, summary)


def _state(ground: Ground) -> list[Any]:
    """What a finished run rests on: nothing is asked again until one of these changes."""
    ground.board.refresh(ground.store, ground.recipes)
    tired = sum(int(m.tired.sum()) for m in ground.machines)
    cards = len(open_cards(ground))
    return [settings.fingerprint(ground.config), ground.n, ground.board.seen, ground.people_are, tired, cards]


def _nothing_new(ground: Ground) -> Finished | None:
    """How the last run ended, when it came to its end and nothing has changed since."""
    last = next((o for o in reversed(ground.store.outcomes()) if o.get("final")), None)
    if last is None or last["code"] != DONE or last["turn"] != ground.store.last_turn():
        return None
    if _state(ground) != last["state"]:
        return None
    return Finished(str(last["stop"]), DONE, last["summary"])


@contextmanager
def _listening(ground: Ground) -> Iterator[asyncio.Event]:
    """The first Ctrl-C asks for an end in order; the second one ends at once."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield stopping  # whoever started us handles the signal
        return

    def first(number: int, frame: Any) -> None:
        ground.stopping.set()
        loop.call_soon_threadsafe(stopping.set)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


async def _unless(stopping: asyncio.Event, work: asyncio.Task[T]) -> T | None:
    """The turn's result, or None when it was cut off: answers under way are recorded by `ask` before it lets go."""
    stop = asyncio.create_task(stopping.wait())
    both: list[asyncio.Task[Any]] = [work, stop]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if work.done():
        return work.result()
    work.cancel()
    try:
        await work
    except asyncio.CancelledError:
        pass
    return None


async def _finish_open(ground: Ground, policy: ask.Policy, report: Report, number: int) -> None:
    """Calls that were under way when the last run died are asked again first."""
    ground.board.refresh(ground.store, ground.recipes)
    if any(m.ways and m.ways.short for m in ground.machines) and ground.store.open_calls(people=False):
        # The student that was loaded learnt people's labels of some of these very items: no shortlist may rest on that.
        await asyncio.to_thread(turns.learn, ground, report, number)
    for machine in ground.machines:
        jobs = asks.unfinished(ground, machine)
        await turns.put(ground, machine, jobs, policy, report, number, Turned(), None)
    await turns.bring(ground, Turned())


def _reason(ground: Ground, turned: Turned, stopping: asyncio.Event) -> tuple[str, int] | None:
    """A reason to stop after a turn, or None."""
    if stopping.is_set():
        return "interrupted", INTERRUPTED
    if turned.paused:
        return turned.paused, PAUSED
    if ground.post is not None and (waiting := ground.post.awaited([m.rung.name for m in ground.machines])):
        return posting.words(waiting), WAITING
    if turned.asked or turned.given_up:
        return None  # what came to nothing goes up the ladder
    if turned.waiting and ground.answerer is None:
        many = "1 open question" if turned.waiting == 1 else f"{turned.waiting:,} open questions"
        return f"{PEOPLE}: {many} (tutelage review)", WAITING
    tired = sum(int(m.tired.sum()) for m in ground.machines)
    lost = (
        f"; {tired:,} question{'s' * (tired != 1)} to machines came to nothing: {posting.mend(ground)}" if tired else ""
    )
    if spent := next((m.shut for m in ground.machines if m.shut.startswith(tuple(OUT_OF.values()))), ""):
        return f"budget spent: {spent}{lost}", PAUSED
    unsure = turned.numbers.get("unsure", 0)
    worn = ground.person is not None and purposes(ground).total() >= share(ground).total
    minutes = "; people's minutes are spent" if unsure and worn else ""
    stay = "stay below their bar" if ground.outlook is None else "are best guesses"
    left = f"{minutes}; {unsure:,} labels {stay}" if unsure else ""
    done = ground.enough or ("nothing to ask" if ground.outlook is None else worth.words(ground.outlook))
    return f"{done}{left}{lost}", PAUSED if tired > 0.01 * ground.n else DONE
