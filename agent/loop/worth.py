"""What an answer is worth in this run: prices, what answers did so far, and the rule's word on every item. Asks nobody.

There is one price list: a machine's answer costs what its answers have cost so far, one that costs no money costs the
computer's time, a person's answer the minutes it takes. Nothing here looks at an audit answer.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from agent import aggregate, certify, prompt, route
from agent.belief import Belief, believe
from agent.board import Board
from agent.loop import people
from agent.loop.ground import Ground, Machine
from agent.loop.measure import likest_of, only, part_of, soft
from agent.types import Bools, Floats, Ints

MACHINE_USD_PER_HOUR = 0.05
"""What an hour of this computer is taken to cost where an answer costs no money: free must not be without end."""

LEAST_USD = 1e-7
"""An answer costs at least this much, recorded ones too: of two that mend nothing none is asked for."""

KAPPA = 0.8
"""The share of the wrong labels the goal bears that the rule plans to leave: predictions are not that good."""

POWER = 0.8
"""The chance with which the audit is to certify labels that are as good as planned."""

LOOK = 4_000
"""Items from which it is learnt what an answer does, beside the pilot's."""


@dataclass(frozen=True)
class Outlook:
    """What the rule was given, and what it said.

    `asked`: option -> number of its rung, and whether it is another vote; `rows`: (m,) items weighed, those that people
    neither answered nor hold in the queue.
    """

    ladder: route.Ladder
    asked: tuple[tuple[int, bool], ...]
    rows: Ints
    items: route.Items
    limits: route.Limits
    solved: route.Solved


def person_price(ground: Ground) -> float:
    """Dollars an answer of a person costs."""
    seconds = float(ground.person.settings.seconds) if ground.person else 0.0
    return ground.config.goal.person_usd_per_hour * seconds / 3600


def machine_price(ground: Ground, machine: Machine) -> float:
    """Dollars a machine's word on an item costs, all its samples: as measured, else the most a question can cost."""
    took = ground.board.took[machine.rung.name]
    samples = machine.ways.samples if machine.ways else machine.rung.samples
    if not took.answers:
        question = ground.kind.question(machine.task, machine.mask.item(ground.pool.item(0)), 0)
        asked = prompt.render(machine.task, question, machine.traits, "", 0)
        return max(machine.oracle.most(asked).usd, LEAST_USD) * samples
    usd = took.usd if took.usd > 0 else took.seconds * MACHINE_USD_PER_HOUR / 3600
    return max(usd / took.answers, LEAST_USD) * samples


def another_price(ground: Ground, machine: Machine) -> float:
    """Dollars another vote costs: one more sample."""
    return machine_price(ground, machine) / (machine.ways.samples if machine.ways else machine.rung.samples)


def steps(ground: Ground) -> list[tuple[route.Step | None, route.Step | None]]:
    """What the answer of each machine does to the predicted error, given the student and the machines before it; and
    what another vote of it does. Learnt anew when a tenth more answers came."""
    board = ground.board
    state = [int(board.pilot.sum()), ground.student_says is not None]
    for machine in ground.machines:
        state += [_tenths(board.took[machine.rung.name].answers), machine.ways is not None]
    if ground.steps is None or ground.steps[0] != state:
        learnt = [(_step(ground, number), _another(ground, number)) for number in range(len(ground.machines))]
        ground.steps = state, learnt
    return ground.steps[1]


def _tenths(count: int) -> int:
    """A number that changes when a tenth is added."""
    return int(np.log(max(count, 1)) / np.log(1.1))


def _step(ground: Ground, number: int) -> route.Step | None:
    machines = ground.machines
    heard = ground.board.machine[machines[number].rung.name].any
    boards = (only(ground, machines[:upto]) for upto in (number, number + 1))
    return _learn(ground, heard, *boards)


def _another(ground: Ground, number: int) -> route.Step | None:
    """By items that it was asked about once more."""
    after = only(ground, ground.machines[: number + 1])
    name = ground.machines[number].rung.name
    held = after.machine[name]
    if held.earlier is None:
        return None
    before = copy.copy(after)
    before.machine = {**after.machine, name: held.before()}
    return _learn(ground, held.earlier[:, -2:].sum(axis=1) > 0, before, after)


def _learn(ground: Ground, heard: Bools, before: Board, after: Board) -> route.Step | None:
    """What lies between two boards, on the items that were `heard`."""
    pilot, others = np.flatnonzero(ground.board.pilot), np.flatnonzero(heard & ~ground.board.pilot)
    if len(others) > LOOK:
        others = np.random.default_rng(0).choice(others, LOOK, replace=False)
    rows = np.concatenate([pilot, others])
    use = heard[rows]
    if int(use.sum()) < route.KNOWN:
        return None
    says = None if ground.student_says is None else ground.student_says[rows]
    near, people_ = likest_of(ground.likest, rows, ground.n), ground.person is not None

    def wrong(board: Board) -> Floats:
        belief = believe(part_of(board, rows), says, soft(ground), people_, near)
        return 1 - aggregate.confidence(belief.without_people[use], ground.layout)

    return route.learn(wrong(before), wrong(after))


def may_vote_again(ground: Ground, machine: Machine) -> Bools:
    """(n,) items on which the machine gave its word and may be asked for another vote: in one piece, of all labels."""
    heard = ground.board.machine[machine.rung.name]
    word = ground.board.word.get(machine.rung.name, -1)
    out: Bools = (heard.votes == word) & ~machine.again & ~machine.tired & ~ground.board.copies & (not machine.shut)
    for barred in (heard.parts, None if heard.seen is None else heard.seen.any(axis=1)):
        out = out if barred is None else out & ~barred
    return out


def bearable(ground: Ground) -> float:
    """Wrong labels that may be left, as the rule plans: so few that the audit is expected to certify the goal, where
    there is one, and KAPPA of what the goal bears in any case."""
    goal, n = ground.config.goal, ground.n
    bears = (1 - goal.accuracy) * n
    needed = _needed(n, people.share(ground).audit, goal.accuracy, goal.delta)
    return ground.bears * (KAPPA * bears if needed is None else min(KAPPA * bears, (1 - needed) * n))


@lru_cache(maxsize=8)
def _needed(n: int, audit: int, accuracy: float, delta: float) -> float | None:
    return certify.accuracy_needed(n, audit, accuracy, delta, POWER) if audit else None


def outlook(ground: Ground, belief: Belief, said: Bools, open_to: Bools) -> Outlook | None:
    """The rule's word on every item.

    Args:
        said: (n, rungs) who was heard, or failed. open_to: (n, rungs) who may be asked.
    Returns:
        None where it is not known yet what answers are worth: there are no people, too few of their pilot answers, or
        a machine that was asked too little. Then items climb by fixed bars.
    """
    if not belief.grounded or ground.person is None:
        return None
    learnt = steps(ground)
    if any(step is None and not machine.shut for (step, _), machine in zip(learnt, ground.machines, strict=True)):
        return None
    ladder, asked = _ladder(ground, learnt)
    board, queued = ground.board, people.queued(ground)
    rows = np.flatnonzero(~board.spoken & ~board.doubtful & ~queued)
    state, able = np.zeros(ground.n, np.int64), np.zeros((ground.n, len(asked)), bool)
    for number, (column, again) in enumerate(asked):
        name = ground.rungs[column]
        heard = said[:, column]
        able[:, number] = open_to[:, column] & ~heard
        if again:
            able[:, number] = may_vote_again(ground, ground.machine(name))
            heard = board.machine[name].votes > board.word[name]
        state[heard] = number + 1
    # A bar that somebody wrote down is held against the probability that is told, all else against the errors seen.
    error = np.where(np.isnan(ladder.bars[state]), belief.error, 1 - belief.confidence).astype(np.float64)
    items = route.Items(error[rows], state[rows], able[rows])
    left = max(people.share(ground).total - people.purposes(ground).total(), 0)
    wrong = bearable(ground) - float(error[board.doubtful].sum())
    limits = route.Limits(wrong, left, _usd_left(ground))
    return Outlook(ladder, asked, rows, items, limits, route.solve(ladder, items, limits))


def words(outlook: Outlook) -> str:
    """Why nobody is asked any more."""
    wrong, may = outlook.solved.wrong, max(outlook.limits.wrong, 0.0)
    if outlook.solved.reached:
        return f"enough was asked: {wrong:,.0f} wrong labels are expected, and the plan bears {may:,.0f}"
    return f"nothing to ask: {wrong:,.0f} wrong labels are expected, where the plan bears {may:,.0f}"


def _usd_left(ground: Ground) -> float:
    spent = sum(took.usd for took in ground.board.took.values())  # the ledger keeps the budget, this only plans for it
    return np.inf if ground.budget.usd is None else max(ground.budget.usd - spent, 0.0)


def _ladder(
    ground: Ground, learnt: list[tuple[route.Step | None, route.Step | None]]
) -> tuple[route.Ladder, tuple[tuple[int, bool], ...]]:
    """Whom to ask, from the cheapest on: options, the number of each one's rung, and whether it is another vote."""
    rungs, first = ground.config.rung, ground.config.rung[0]
    taught = ground.student_says is not None
    options, asked, shut = list[route.Option](), list[tuple[int, bool]](), list[bool]()
    bars = [2.0 if not taught else np.nan if first.bar is None else first.bar]
    machines = iter(zip(ground.machines, learnt, strict=True))
    for column, rung in enumerate(rungs):
        bar = np.nan if rung.bar is None else rung.bar
        if rung.person:
            options.append(route.Option(rung.name, person_price(ground), None))
            asked.append((column, False))
            shut.append(False)
            bars.append(0.0)
        elif not rung.student:
            machine, (step, more) = next(machines)
            options.append(route.Option(rung.name, machine_price(ground, machine), step or route.nothing()))
            asked.append((column, False))
            shut.append(bool(machine.shut))
            bars.append(bar)
            if more is not None:
                options.append(route.Option(f"{rung.name} again", another_price(ground, machine), more))
                asked.append((column, True))
                shut.append(bool(machine.shut))
                bars.append(bar)
    count = len(options)
    follows = np.arange(count)[None, :] >= np.arange(count + 1)[:, None]
    for number, (_, again) in enumerate(asked):
        if again:  # only of whom was heard just before
            follows[:number, number] = False
        if shut[number]:
            follows[:, number] = False
    return route.Ladder(tuple(options), follows, np.array(bars)), tuple(asked)
