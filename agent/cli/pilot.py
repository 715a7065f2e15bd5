"""`tutelage plan --pilot N`: some random items put to every machine for real, and what that tells of the whole pool.

The answers are in the ledger as any others are, so that the run uses them and nothing is paid for twice. Which items
are asked about does not depend on the audit: people's pilot items, which every machine is asked about anyway, then
items drawn with a seed of its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.cli.raters import of_file
from agent.cli.reach import agreement, below, labels, reach, stands
from agent.errors import ConfigError

if TYPE_CHECKING:
    from agent.ask import Policy
    from agent.config import Config
    from agent.loop.asks import Jobs
    from agent.loop.ground import Ground, Machine
    from agent.types import Answer, Prompt

SALT = 0x70696C6F
TWICE = 4
"""One item in so many is asked about twice, in two orders of the options."""
TIMED = 10
"""Answers from which on a pace is known."""


@dataclass(frozen=True)
class Measured:
    """What one machine did, each figure per question. `pace`: answers a second, 0 if not known; `why`: not asked.

    asked, answered, failed: questions; unread: that came to nothing (unreadable, given up, or not put any more).
    same: [agreed, of] two askings of one item in different orders. shares: label -> share of what it says. right:
    [agreed, of] with people on the pilot, low, high: of that as a 95 % interval. comes: share of the items that come to
    it, None for the first. stays: share that it leaves below its bar. with_others: machine -> [agreed, of].
    stands: the Alt-Test's result, where votes of several people are recorded.
    """

    asked: int = 0
    answered: int = 0
    failed: int = 0
    unread: int = 0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    tokens_cached: float = 0.0
    usd: float = 0.0
    pace: float = 0.0
    same: tuple[int, int] = (0, 0)
    shares: dict[str, float] = field(default_factory=dict)
    right: tuple[int, int] = (0, 0)
    low: float = 0.0
    high: float = 1.0
    comes: float | None = None
    stays: float = 0.0
    with_others: dict[str, tuple[int, int]] = field(default_factory=dict)
    stands: dict[str, Any] | None = None
    why: str = ""


@dataclass(frozen=True)
class Piloted:
    """All that a pilot found. `curve`: (share of the pilot, surest first; how right it is there)."""

    items: int
    machines: dict[str, Measured]
    usd: float = 0.0
    seconds: float = 0.0
    paused: str = ""
    right: tuple[int, int] = (0, 0)
    out: int = 0
    """Questions that were not put, for they are out in batch files."""
    risk: tuple[float, ...] = ()
    """(m,) chance of error of each item that people answered, recalibrated."""
    covers: float | None = None
    """The share of the items, surest first, that the machines label as well as the goal asks; None if not known."""

    def body(self) -> dict[str, Any]:
        """For --json."""
        return dataclasses.asdict(self)


Confirm = Callable[[float, int], None]
"""Told the most it can cost in dollars, and how many questions; raises where it is not to be."""


def pilot(config: Config, count: int, limit: int | None, policy: Policy, confirm: Confirm, priceless: bool) -> Piloted:
    """Ask every machine about `count` random items, where it has not answered already, and measure; with `priceless`
    also one whose price nobody knows.

    Raises:
        UserError: as `loop.run` does; or what `confirm` raises.
    """
    from agent import egress
    from agent.loop.ground import lock, open_ground, then_closed

    with lock(config.folder), egress.guarded(config.privacy.egress):
        ground = open_ground(config, None, limit, False)
        try:
            return asyncio.run(then_closed(ground, _pilot(ground, count, policy, confirm, priceless)))
        finally:
            ground.store.close()


async def _pilot(ground: Ground, count: int, policy: Policy, confirm: Confirm, priceless: bool) -> Piloted:
    from agent import __version__
    from agent import config as settings
    from agent.loop import forming

    ground.answerer = None  # a pilot of machines: nobody plays the people now
    ground.board.refresh(ground.store, {})  # people's answers say which form and examples it is asked with
    for machine in ground.machines:
        trials = forming.fix(ground, machine, lambda words: None)
        if machine.ways is None:
            machine.why = _unfixed(ground, machine, bool(trials))
    ground.board.restart()
    ground.board.refresh(ground.store, ground.recipes)
    work = [(machine, _jobs(ground, machine, rows(ground, count))) for machine in ground.machines]
    closed, away = {call.key for _, _, call, _ in ground.store.events_since(0, list(ground.recipes))}, _away(ground)
    new = {m.rung.name: [job for job in jobs if job[0].key not in closed | away] for m, jobs in work}
    most = sum(call.usd for jobs in new.values() for call, _ in jobs)
    began, spent, paused, paces = time.perf_counter(), ground.store.spend().usd, "", _paces(ground)
    if todo := sum(map(len, new.values())):
        for machine in ground.machines if not priceless else ():
            if new[machine.rung.name] and (model := getattr(machine.oracle, "unpriced", "")):
                raise ConfigError(
                    f"rung {machine.rung.name!r}: the price of {model} is not known: write usd_per_mtok_in and "
                    f"usd_per_mtok_out there, add --price {machine.rung.name}=IN,OUT, or --budget none"
                )
        confirm(most, todo)
        number = ground.store.last_turn() + 1
        ground.store.begin_turn(number, ground.config.run.seed, settings.fingerprint(ground.config), __version__)
        for machine, _ in work:
            jobs, start = new[machine.rung.name], time.perf_counter()
            done, paused = await _ask(ground, machine, jobs, policy, number)
            if done >= TIMED:
                paces[machine.rung.name] = done / (time.perf_counter() - start)
            if paused:
                break
        ground.store.end_turn(number, {"asked": todo, "paces": paces, "people_are": ground.people_are})
    ground.board.refresh(ground.store, ground.recipes)
    return dataclasses.replace(
        _measure(ground, [(m, [job for job in jobs if job[0].key not in away]) for m, jobs in work], paces, count),
        out=sum(call.key in away for _, jobs in work for call, _ in jobs),
        usd=ground.store.spend().usd - spent,
        seconds=time.perf_counter() - began,
        paused=paused,
    )


def _unfixed(ground: Ground, machine: Machine, trials: bool) -> str:
    """Why it is not known yet how a machine is asked. `trials`: it must be asked in several forms first."""
    from agent.loop import forming

    if trials:
        return "its form is not chosen yet:  tutelage run  puts people's pilot items to it in each form next"
    several = len(forming.candidates(ground, machine)) > 1
    what = "its form is chosen by" if several else "its examples are"
    return f"{what} people's pilot answers, which are not there yet"


def _away(ground: Ground) -> set[str]:
    """Calls that are out in batch files: asking them here, too, would be to pay for them twice."""
    return {key for batch in ground.store.batches(only_out=True) for key in batch.keys}


def rows(ground: Ground, count: int) -> tuple[list[int], list[int]]:
    """Items of people's pilot, then others drawn at random: together `count`, or all there are."""
    from agent.loop.people import share

    asked = [c.item for c in ground.store.asked(ground.person_recipe) if c.purpose == "pilot"]
    known = [i for i in map(ground.pool.position, asked) if i < ground.n]
    people = (known or ground.order.tolist()[: share(ground).pilot])[:count]
    others = np.setdiff1d(np.arange(ground.n), people)
    drawn = np.random.default_rng([ground.config.run.seed, SALT]).permutation(others)
    return people, drawn[: count - len(people)].tolist()


def _jobs(ground: Ground, machine: Machine, chosen: tuple[list[int], list[int]]) -> Jobs:
    """The questions to one machine; every fourth item is asked about in a second order, too."""
    from agent.loop import asks
    from agent.types import Picks

    if machine.ways is None:
        return []  # its examples are people's pilot answers, which are not there yet
    kept = [i for rows in chosen for i in rows if not machine.shown[i]]
    turn, chance = ground.store.last_turn() + 1, np.full(len(kept), min(len(kept) / ground.n, 1.0), np.float32)
    picks = Picks(np.array(kept, np.int64), chance)
    out = asks.jobs(ground, machine, picks, "pilot", turn)
    if machine.ways.samples == 1 and machine.rung.overflow != "chunk":  # there a second answer is about a second part
        again, twice = Picks(picks.rows[::TWICE], chance[::TWICE]), dataclasses.replace(machine.ways, samples=2)
        out += asks.jobs(ground, machine, again, "pilot", turn, twice)
    return list({call.key: (call, text) for call, text in out}.values())


async def _ask(ground: Ground, machine: Machine, jobs: Jobs, policy: Policy, turn: int) -> tuple[int, str]:
    """Put the questions as the run would; how many were answered, and why it stopped ("" where all were put)."""
    from agent.loop import turn as turns

    out, done = turns.Turned(), 0

    def report(event: turns.Event) -> None:
        nonlocal done
        done = event.done if event.kind == "answer" else done

    await turns.put(ground, machine, jobs, policy, report, turn, out, None)
    return done, out.paused or ("the budget does not bear the rest of it" if out.refused else "")


def _paces(ground: Ground) -> dict[str, float]:
    """Answers a second of earlier pilots, by rung."""
    found: dict[str, float] = {}
    for outcome in ground.store.outcomes():
        found |= outcome.get("paces", {})
    return found


def _measure(ground: Ground, work: Sequence[tuple[Machine, Jobs]], paces: dict[str, float], count: int) -> Piloted:
    said = {m.rung.name: labels(ground, m, [ground.pool.position(call.item) for call, _ in jobs]) for m, jobs in work}
    # Of people's pilot items alone: what is recorded of audited ones is not looked at.
    recorded = of_file(ground.config, (ground.pool.item(i) for i in rows(ground, count)[0]))
    found: dict[str, Measured] = {}
    for order, (machine, jobs) in enumerate(work):
        one = _one(ground, machine, jobs, paces.get(machine.rung.name, 0.0))
        others = {name: _agreed(said[machine.rung.name], labels) for name, labels in said.items()}
        others.pop(machine.rung.name)
        stays = below(ground, order)
        comes = None if order == 0 else below(ground, order - 1)
        may = stands(ground, machine, recorded)
        found[machine.rung.name] = dataclasses.replace(
            one, with_others=others, stays=stays or 0.0, comes=comes, stands=may
        )
    far = reach(ground)
    return Piloted(min(count, ground.n), found, right=far.right, covers=far.covers, risk=far.risk)


def _one(ground: Ground, machine: Machine, jobs: Jobs, pace: float) -> Measured:
    """The figures of one machine's own answers."""
    if machine.ways is None:
        return Measured(why=machine.why)
    keys = {call.key: (call, text) for call, text in jobs}
    events = ground.store.events_since(0, list(machine.recipes))
    good = [(keys[call.key], answer) for _, status, call, answer in events if status == "ok" and call.key in keys]
    failed = sum(status == "failed" and call.key in keys for _, status, call, _ in events)
    answers = [answer for _, answer in good]
    labels = [(call.item, _value(ground, text, answer)) for (call, text), answer in good]
    by_item: dict[str, list[Any]] = {}
    for item, value in labels:
        by_item.setdefault(item, []).append(value)
    pairs = [values for values in by_item.values() if len(values) > 1]
    counted = Counter(name for _, value in labels if value is not None for name in _names(value))
    n = max(len(answers), 1)
    right = agreement(ground, machine)
    low, high = interval(*right)
    return Measured(
        asked=len(jobs), answered=len(answers), failed=failed,
        unread=len(jobs) - len(answers) - failed + sum(value is None for _, value in labels),
        tokens_in=sum(a.tokens_in for a in answers) / n, tokens_out=sum(a.tokens_out for a in answers) / n,
        tokens_cached=sum(a.tokens_cached for a in answers) / n, usd=sum(a.usd for a in answers) / n,
        pace=pace, same=(sum(v[0] == v[1] for v in pairs), len(pairs)),
        shares={name: counted[name] / max(len(labels), 1) for name in ground.task.labels},
        right=right, low=low, high=high,
    )  # fmt: skip


def _value(ground: Ground, text: Prompt, answer: Answer) -> Any:
    """The label one answer gives by itself; None where it gives none."""
    from agent.errors import Unparsable

    try:
        read = ground.kind.parse(ground.task, text.question, answer)
    except Unparsable:
        return None
    if read is None:
        return None
    return ground.kind.value(ground.task, ground.layout.best(ground.layout.row(read)))


def _names(value: Any) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def _agreed(one: dict[int, Any], other: dict[int, Any]) -> tuple[int, int]:
    both = one.keys() & other.keys()
    return sum(one[row] == other[row] for row in both), len(both)


def interval(right: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    if not of:
        return 0.0, 1.0
    from scipy.stats import binomtest

    found = binomtest(right, of).proportion_ci(method="exact")
    return float(found.low), float(found.high)
