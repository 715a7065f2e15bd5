"""One turn: hear, teach, believe, decide, ask. Keeps no state of its own: all of it is read back from the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from agent import ask, claim, drift, posterior, teach
from agent.belief import Belief, believe
from agent.errors import Damaged, DataError
from agent.loop import alike, asks, forming, patience, people, picking, posting, valuing
from agent.loop.decisions import Last, decide, write_decisions
from agent.loop.examples import Tell
from agent.loop.ground import Ground, Machine
from agent.loop.measure import numbers, only, soft
from agent.prompt import TOO_LONG
from agent.route import ACCEPT, Routes
from agent.types import Answer, Call, Picks, Prompt, Student

FEW = 0.01
"""A share of the pool so small that people need not wait for the machines to be asked about it."""

AT_ONCE = 256
"""Questions looked at before anything else may happen."""

OUT_OF = {
    "usd": "what is left of the dollars does not bear the next call (goal.budget_usd, --budget)",
    "tokens": "what is left of the tokens does not bear the next call (goal.budget_tokens, --budget-tokens)",
    "calls": "what is left of the calls does not bear the next one (goal.budget_calls, --budget-calls)",
}
"""Why a machine is shut when the budget is spent, by what there is too little of."""


def out_of(lack: ask.Lack) -> str:
    """Why a machine is shut, and how much is left where that is known."""
    if not lack.needs:
        return OUT_OF[lack.short]
    money = lack.short == "usd"
    left, needs = (f"${n:.4f}" if money else f"{n:,.0f}" for n in (lack.left, lack.needs))
    return f"{OUT_OF[lack.short]}: {left} left, and it may take {needs}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something to show: `kind` is intake, embed, turn, ask, answer, train, form, decide or stop."""

    kind: str
    turn: int
    text: str = ""
    done: int = 0
    total: int = 0
    numbers: Mapping[str, Any] = field(default_factory=dict)


Report = Callable[[Event], None]


@dataclass
class Turned:
    """What a turn came to. `asked`: questions put to anybody who answers by himself; `waiting`: open cards."""

    asked: int = 0
    waiting: int = 0
    paused: str = ""
    refused: int = 0
    given_up: int = 0
    numbers: dict[str, Any] = field(default_factory=dict)


def recall(ground: Ground) -> None:
    """Give the student back what it knew when the last run ended, so that it goes on from there."""
    if ground.student is None or not (ground.folder / "model" / "student.json").exists():
        return
    try:
        ground.student.load(str(ground.folder / "model"))
    except (DataError, Damaged):
        pass  # of other labels or another encoder, or torn: it learns anew from the ledger


def learn(ground: Ground, report: Report, turn: int) -> None:
    """Teach the student what is settled, when there is something new to learn, and keep it on disk."""
    if not teach_student(ground, report, turn) or ground.student is None:
        return
    allowed = [m for m in ground.machines if m.traits.may_train_student]
    board = ground.board
    ground.student.save(str(ground.folder / "model"))
    heard = [m.rung.name for m in allowed if board.machine[m.rung.name].any.any()]
    heard += [ground.person.name] if ground.person is not None and board.spoken.any() else []
    if ground.student_says is not None:
        served = getattr(ground.student, "served", lambda rows: rows)  # rows of a tuned encoder differ
        rows = drift.sample(ground.n, ground.config.run.seed)
        reference = drift.reference(served(ground.features[rows]), ground.student_says[rows], ground.layout)
        if reference is not None:
            drift.write(reference, ground.folder / "model")
        share = people.share(ground)
        first = ground.order[: share.pilot + share.audit]
        teach.keep(ground.folder / "model", [ground.pool.ids[i] for i in first], ground.student_says[first])
    teach.sign(ground.folder / "model", heard, [m.rung.name for m in ground.machines if m not in allowed])


def teach_student(ground: Ground, report: Report, turn: int) -> bool:
    """Teach the student what is settled; False when there is nothing new to learn."""
    student, board = ground.student, ground.board
    if student is None:
        return False
    if ground.features is None:
        ground.features = _read_pool(ground, student, report, turn)
        ground.likest = alike.others(posterior.nearest(ground.features), board.first)
    allowed = [m for m in ground.machines if m.traits.may_train_student]
    belief = believe(only(ground, allowed), None, soft(ground), ground.person is not None)
    heard = belief.machine_heard
    # One row for items that are nearly the same: a twin that was taught one of them has seen the others.
    one, speaker = ~board.copies, board.speaker
    words, spoken = board.words()[speaker], board.spoken[speaker]
    lesson = teach.lesson(belief.machine, heard, words, spoken, ground.layout, keep=one, drawn=board.pilot[speaker])
    if len(lesson.rows) == 0:
        return False
    state = lesson.seal()
    if ground.taught == state:
        return False
    report(Event("train", turn, f"teaching {student.name} on {len(lesson.rows):,} items", len(lesson.rows), ground.n))
    ground.student_says = teach.teach(student, ground.features, lesson, ground.n, folds=5, seed=ground.config.run.seed)
    if board.first is not None:
        ground.student_says = ground.student_says[board.first]
    ground.taught = state
    picking.learnt(ground, belief)
    return True


def _read_pool(ground: Ground, student: Student, report: Report, turn: int) -> Any:
    """The student's features of the whole pool. What was computed is on disk when Ctrl-C ends it early."""
    words = f"reading {ground.n:,} items with {student.name}"
    report(Event("embed", turn, words, 0, ground.n))

    def progress(done: int, total: int) -> None:
        report(Event("embed", turn, words, done, total))
        if ground.stopping.is_set():
            raise asyncio.CancelledError

    if hasattr(student, "progress"):
        student.progress = progress
    return student.features(ground.pool.items(range(ground.n)))


async def turn(ground: Ground, number: int, last: Last, policy: ask.Policy, report: Report, cap: int | None) -> Turned:
    """Hear what is new, learn, decide, and ask what the decisions call for."""
    out, board, store = Turned(), ground.board, ground.store
    board.refresh(store, ground.recipes)
    await asyncio.to_thread(learn, ground, report, number)
    belief = believe(board, ground.student_says, soft(ground), ground.person is not None, ground.likest)
    told = patience.moved(ground, belief, last)
    ground.enough = ground.enough or patience.enough(ground, told)
    routes = decide(ground, belief)
    written = write_decisions(ground, belief, routes, last, number, final=False)
    report(Event("decide", number, "", int((routes.action == ACCEPT).sum()), ground.n, numbers(ground, belief, routes)))
    calls = people.random_streams(ground, number)
    if any(call.purpose == "audit" for call in calls) and not people.purposes(ground)["audit"]:
        claim.commit_terms(ground.config, store)
    store.reserve(calls, None)
    work = _machine_work(ground, belief, routes, number, lambda words: report(Event("form", number, words)))
    # People repair once the pilot has said what the machines are worth; before, nobody knows where the doubt is.
    few = sum(len(jobs) for _, jobs in work) <= FEW * ground.n and all(
        m.ways or m.shut or ground.enough for m in ground.machines
    )
    if ground.person is not None and not calls and few:
        out.asked += people.escalate(ground, routes, belief, number)
    out.asked += await people.answer(ground)
    for machine, jobs in work:
        await put(ground, machine, jobs, policy, report, number, out, cap)
        if out.paused:
            break
    await bring(ground, out)
    waiting = people.open_cards(ground)
    valuing.write(ground, belief, waiting, number)
    out.waiting = len(waiting)
    tried = picking.last(ground)
    out.numbers = {**numbers(ground, belief, routes), "written": written, **told, **({"tried": tried} if tried else {})}
    return out


def _machine_work(
    ground: Ground, belief: Belief, routes: Routes, turn: int, tell: Tell
) -> list[tuple[Machine, asks.Jobs]]:
    """The calls of this turn, rung by rung: the pilot's items, then picks. Later rungs wait for the first one's."""
    work: list[tuple[Machine, asks.Jobs]] = []
    for order, machine in enumerate(ground.machines):
        if machine.shut or ground.enough:
            continue
        trials = forming.fix(ground, machine, tell)
        for trial in trials:
            chance = np.full(len(trial.rows), trial.chance, np.float32)
            work.append((machine, asks.jobs(ground, machine, Picks(trial.rows, chance), "pilot", turn, trial.ways)))
        if machine.ways is None:
            continue
        number = ground.rungs.index(machine.rung.name)
        pilot = asks.calibration_rows(ground, machine)
        jobs = asks.jobs(ground, machine, pilot, "pilot", turn)
        if not any(picked for _, picked in work):
            picks = asks.machine_picks(ground, machine, number, routes, belief, turn, first=order == 0)
            fresh = ~np.isin(picks.rows, pilot.rows)
            picks = Picks(picks.rows[fresh], picks.probabilities[fresh])
            jobs += asks.jobs(ground, machine, picks, "pick" if order == 0 else "escalation", turn)
            more = asks.another_votes(ground, machine, number, routes, turn)
            jobs = jobs if more is None else jobs + more
        work.append((machine, jobs))
    return work


async def put(
    ground: Ground,
    machine: Machine,
    jobs: asks.Jobs,
    policy: ask.Policy,
    report: Report,
    turn: int,
    out: Turned,
    cap: int | None,
) -> None:
    """Put jobs to a machine and note what came of them in `out`."""
    if machine.rung.overflow == "fail":
        jobs = await _pass_up(ground, jobs, out)
    if cap is not None:
        jobs = list(islice(jobs, max(cap - out.asked, 0)))
    if not jobs:
        return
    if ground.post is not None and (oracle := posting.filed(machine, ground.post.submit)) is not None:
        sent = await posting.put(ground, machine, ground.post, oracle, jobs, policy.budget)
        out.given_up, out.refused = out.given_up + len(sent.tired), out.refused + sent.refused
        out.paused = sent.paused
        if sent.refused and not machine.shut:
            machine.shut = out_of(ask.Lack(sent.short))
        return
    report(
        Event(
            "ask",
            turn,
            f"asking {machine.rung.name} about {len(jobs):,} items",
            0,
            len(jobs),
            {"rung": machine.rung.name},
        )
    )
    done = 0

    def heard(kind: str, call: Call, answer: Any) -> None:
        nonlocal done
        done += kind in ("answered", "failed", "given up")
        if kind == "given up":
            machine.tired[ground.pool.position(call.item)] = True
        report(
            Event("answer", turn, "", done, len(jobs), {"rung": machine.rung.name, "usd": getattr(answer, "usd", 0.0)})
        )

    def read(call: Call, prompt: Prompt, answer: Answer) -> None:
        ground.kind.parse(ground.task, prompt.question, answer)

    result = await ask.ask(ground.store, machine.oracle, jobs, policy, heard, read, machine.learnt)
    out.asked += result.answered + result.failed
    out.given_up += result.given_up
    out.refused += result.refused_by_budget
    out.paused = result.paused
    if result.refused_by_budget and not machine.shut:
        machine.shut = out_of(result.lack)


async def bring(ground: Ground, out: Turned) -> None:
    """Wait for what was handed in for all machines, and note what came of it in `out`."""
    if ground.post is not None and ground.post.submit and not out.paused:
        sent = await posting.bring(ground, ground.post)
        out.asked += sent.answered + sent.failed + sent.again
        out.paused = out.paused or sent.paused


@dataclass(frozen=True)
class _Others:
    """Questions but for some of them, by their keys."""

    jobs: asks.Jobs
    closed: frozenset[str]

    def __len__(self) -> int:
        return len(self.jobs) - len(self.closed)

    def __iter__(self) -> Iterator[asks.Job]:
        return (job for job in self.jobs if job[0].key not in self.closed)


async def _pass_up(ground: Ground, jobs: asks.Jobs, out: Turned) -> asks.Jobs:
    """Close the questions whose text is too long to be sent (`overflow = "fail"`); the others."""
    closed = []
    for number, (call, text) in enumerate(jobs):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)  # else Ctrl-C would not be heard before all were looked at
        if TOO_LONG in text.flags:
            closed.append(replace(call, usd=0.0, tokens=0, requests=0))
    for call in (await ground.store.areserve(closed, None)).granted:
        await ground.store.record(call.key, Answer("", flags=(TOO_LONG,)), "failed", "its text is too long")
        out.asked += 1
    return _Others(jobs, frozenset(call.key for call in closed))
