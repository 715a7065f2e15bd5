"""One turn: hear, teach, believe, decide, ask. Keeps no state of its own: all of it is read back from the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent import aggregate, ask, teach
from agent.belief import Belief, believe
from agent.loop import asks
from agent.loop.ground import Ground, Machine, choose_shots
from agent.loop.measure import numbers, only, soft
from agent.route import ABSTAIN, ACCEPT, ASK, Routes, route
from agent.types import Bools, Call, Decision, Floats, Student

MEMORABLE = 0.02
"""A decision is written again when its probability moved by more than this (the last turn writes every change)."""

BY_WORD = "below its bar, but the target is certified for all labels together"

ACTIONS = {ACCEPT: "accept", ASK: "ask", ABSTAIN: "abstain"}


@dataclass(frozen=True, slots=True)
class Event:
    """Something to show: `kind` is intake, embed, turn, ask, answer, train, decide or stop."""

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


@dataclass
class Last:
    """The last decision of each item, as arrays, so that only changes are written."""

    action: np.ndarray[Any, Any]
    rung: np.ndarray[Any, Any]
    choice: np.ndarray[Any, Any]
    confidence: Floats

    @classmethod
    def nothing(cls, n: int, atoms: int) -> Last:
        return cls(np.full(n, -1), np.full(n, -1), np.full((n, atoms), -1), np.full(n, -1.0, np.float32))


def learn(ground: Ground, report: Report, turn: int) -> None:
    """Teach the student what is settled, when there is something new to learn."""
    student, board = ground.student, ground.board
    if student is None:
        return
    if ground.features is None:
        ground.features = _read_pool(ground, student, report, turn)
    allowed = [m for m in ground.machines if m.traits.may_train_student]
    belief = believe(only(ground, allowed), None, soft(ground), ground.person is not None)
    lesson = teach.lesson(belief.machine, belief.machine_heard, board.words(), board.spoken, ground.layout)
    if len(lesson.rows) == 0:
        return
    state = lesson.seal()
    if ground.taught == state:
        return
    report(Event("train", turn, f"teaching {student.name} on {len(lesson.rows):,} items", len(lesson.rows), ground.n))
    ground.student_says = teach.teach(student, ground.features, lesson, ground.n, folds=5, seed=ground.config.run.seed)
    ground.taught = state
    student.save(str(ground.folder / "model"))


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


def heard(ground: Ground) -> Bools:
    """(n, rungs) who has had his say, in the ladder's order."""
    board, out = ground.board, np.zeros((ground.n, len(ground.rungs)), bool)
    for column, rung in enumerate(ground.config.rung):
        if rung.student:
            out[:, column] = ground.student_says is not None
        elif rung.person:
            out[:, column] = board.spoken | board.doubtful
        else:
            out[:, column] = board.machine[rung.name].done
    return out


def decide(ground: Ground, belief: Belief) -> Routes:
    """Route every item. A student that people have not been able to contradict settles nothing by itself."""
    bars = ground.bars()
    if ground.config.rung[0].student and ground.person is not None and not belief.grounded:
        bars[0] = 2.0
    open_to = np.ones((ground.n, len(bars)), bool)
    if ground.person is not None:
        open_to[:, -1] = asks.people_open(ground)
    for column, rung in enumerate(ground.config.rung):
        if not rung.student and not rung.person:
            machine = ground.machine(rung.name)
            open_to[:, column] = not machine.shut
            if machine.shown is not None:
                open_to[machine.shown, column] = False
    return route(belief.confidence, heard(ground), bars, open_to, ground.board.doubtful)


def close(ground: Ground, routes: Routes, certified: bool) -> tuple[Routes, Bools]:
    """Nobody is asked any more: what was still to be asked about keeps the guess of the highest rung that was heard.

    `certified`: the certificate covers these labels, and they are accepted by its word. Returns the routes, and (n,)
    which items those are.
    """
    ladder = np.arange(len(ground.rungs))
    level = np.where(heard(ground), ladder, 0).max(axis=1)
    left = routes.action == ASK
    action = np.where(left, ACCEPT if certified else ABSTAIN, routes.action)
    return Routes(action, np.where(left, level, routes.rung)), left & certified


def write_decisions(
    ground: Ground, belief: Belief, routes: Routes, last: Last, turn: int, final: bool, covered: Bools | None = None
) -> int:
    """Write what changed; how many rows. `covered`: (n,) accepted by word of the certificate."""
    best = aggregate.choices(belief.posterior, ground.layout)
    moved = np.abs(belief.confidence - last.confidence) > (1e-6 if final else MEMORABLE)
    changed = (routes.action != last.action) | (routes.rung != last.rung) | (best != last.choice).any(axis=1) | moved
    rows = np.flatnonzero(changed)
    ids, rungs = ground.pool.ids, ground.rungs
    reasons = _reasons(ground)
    by_word = np.zeros(ground.n, bool) if covered is None else covered
    ground.store.decide(
        [
            Decision(
                item=ids[i],
                action=ACTIONS[action],  # type: ignore[arg-type]
                by=rungs[rung],
                value=_value(ground, choice),
                confidence=confidence,
                why="below its bar, but the target is certified for all labels"
                if by_word[i]
                else reasons[action, rung],
                turn=turn,
            )
            for i, action, rung, choice, confidence in zip(
                rows.tolist(),
                routes.action[rows].tolist(),
                routes.rung[rows].tolist(),
                best[rows],
                belief.confidence[rows].astype(float).round(6).tolist(),
                strict=True,
            )
        ]
    )
    last.action, last.rung, last.choice, last.confidence = routes.action, routes.rung, best, belief.confidence
    return len(rows)


def _value(ground: Ground, choice: np.ndarray[Any, Any]) -> Any:
    """The label that a row of choices stands for; there are far fewer labels than items."""
    key = choice.tobytes()
    if key not in ground.values:
        atoms = {a: cs[int(c)] for a, cs, c in zip(ground.layout.atoms, ground.layout.choices, choice, strict=True)}
        ground.values[key] = ground.kind.value(ground.task, atoms)
    return ground.values[key]


def _reasons(ground: Ground) -> dict[tuple[int, int], str]:
    """Why, in plain words, by action and rung."""
    bars, out = ground.bars(), {}
    for number, rung in enumerate(ground.config.rung):
        if rung.person:
            out[ACCEPT, number] = "a person said so"
            out[ASK, number] = "machines are not sure enough: a person is asked"
            out[ABSTAIN, number] = "a person could not tell; the machines' best guess"
        else:
            out[ACCEPT, number] = f"sure enough with {rung.name} heard (bar {bars[number]:.2f})"
            out[ASK, number] = f"not sure enough: {rung.name} is asked"
            out[ABSTAIN, number] = f"below the bar of {bars[number]:.2f} with nobody left to ask: best guess"
    return out


async def people_answer(ground: Ground, calls: list[Call], report: Report, turn: int) -> int:
    """Let recorded people answer at once, when this run has such; how many did."""
    if ground.answerer is None:
        return 0
    for call in calls:
        item = ground.pool.item(ground.pool.position(call.item))
        await ground.store.record(call.key, ground.answerer(item, call.sample))
    return len(calls)


async def turn(ground: Ground, number: int, last: Last, policy: ask.Policy, report: Report, cap: int | None) -> Turned:
    """Hear what is new, learn, decide, and ask what the decisions call for."""
    out, board, store = Turned(), ground.board, ground.store
    board.refresh(store, ground.recipes)
    await asyncio.to_thread(learn, ground, report, number)
    belief = believe(board, ground.student_says, soft(ground), ground.person is not None)
    routes = decide(ground, belief)
    asked = _asked(ground)
    if _shut_useless(ground, belief, routes):
        routes = decide(ground, belief)
    written = write_decisions(ground, belief, routes, last, number, final=False)
    report(Event("decide", number, "", int((routes.action == ACCEPT).sum()), ground.n, numbers(ground, belief, routes)))
    calls = asks.random_streams(ground, asked, number)
    work = _machine_work(ground, belief, routes, number)
    # People repair once the pilot has said what the machines are worth; before, nobody knows where the doubt is.
    if ground.person is not None and not calls and not any(jobs for _, jobs in work) and not _pilot_open(ground):
        calls, opened = asks.escalations(ground, routes, belief, asked, number)
        board.opened[opened] = True
        out.asked += len(opened)
    reserved = store.reserve(calls, None)
    out.asked += await people_answer(ground, reserved, report, number)
    for machine, jobs in work:
        await _ask(ground, machine, jobs, policy, report, number, out, cap)
        if out.paused:
            break
    out.waiting = len(store.open_calls(annotator="person"))
    out.numbers = {**numbers(ground, belief, routes), "written": written}
    return out


def _asked(ground: Ground) -> Bools:
    """(n,) a person has been asked, whatever came of it."""
    out = np.zeros(ground.n, bool)
    for item, _ in ground.store.asked(ground.person_recipe):
        where = ground.pool.position(item)
        if where < ground.n:
            out[where] = True
    return out


def _machine_work(ground: Ground, belief: Belief, routes: Routes, turn: int) -> list[tuple[Machine, asks.Jobs]]:
    """The calls of this turn, rung by rung: the pilot's items, then picks. Later rungs wait for the first one's."""
    work: list[tuple[Machine, asks.Jobs]] = []
    for order, machine in enumerate(ground.machines):
        if machine.shut:
            continue
        if machine.recipe is None:
            if int(ground.board.pilot.sum()) == 0 or _pilot_open(ground):
                continue
            choose_shots(ground, machine)
        number = ground.rungs.index(machine.rung.name)
        jobs = asks.jobs(ground, machine, asks.calibration_rows(ground, machine), "pilot", turn)
        if not any(picked for _, picked in work):
            picks = asks.machine_picks(ground, machine, number, routes, belief, turn, first=order == 0)
            known = {call.key for call, _ in jobs}
            more = asks.jobs(ground, machine, picks, "pick" if order == 0 else "escalation", turn)
            jobs += [job for job in more if job[0].key not in known]
        work.append((machine, jobs))
    return work


def _pilot_open(ground: Ground) -> bool:
    return any(call.purpose == "pilot" for call in ground.store.open_calls(annotator="person"))


def _shut_useless(ground: Ground, belief: Belief, routes: Routes) -> bool:
    """Close machine rungs whose answers are not expected to mend anything any more; whether there were any."""
    found = False
    for machine in ground.machines:
        number = ground.rungs.index(machine.rung.name)
        rows = np.flatnonzero((routes.action == ASK) & (routes.rung == number))
        if machine.shut or len(rows) == 0:
            continue
        gain = asks.worth_asking(ground, machine, belief, rows)
        if gain < asks.GAIN_FLOOR:
            machine.spared = len(rows)
            machine.shut = (
                f"{machine.rung.name} is not asked about {len(rows):,} more items: "
                f"it is expected to mend {gain * 1000:.1f} labels in 1,000 answers"
            )
            found = True
    return found


async def _ask(
    ground: Ground,
    machine: Machine,
    jobs: asks.Jobs,
    policy: ask.Policy,
    report: Report,
    turn: int,
    out: Turned,
    cap: int | None,
) -> None:
    if cap is not None:
        jobs = jobs[: max(cap - out.asked, 0)]
    if not jobs:
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
        done += kind in ("answered", "failed")
        report(
            Event("answer", turn, "", done, len(jobs), {"rung": machine.rung.name, "usd": getattr(answer, "usd", 0.0)})
        )

    result = await ask.ask(ground.store, machine.oracle, jobs, policy, heard)
    out.asked += result.answered + result.failed
    out.given_up += result.given_up
    out.refused += result.refused_by_budget
    out.paused = result.paused
    if result.refused_by_budget and not machine.shut:
        machine.shut = "the budget is spent"
