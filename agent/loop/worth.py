"""What an answer is worth in this run: prices, what answers did so far, and the rule's word on every item. Asks nobody.

There is one price list: a machine's answer costs what its answers have cost so far, one that costs no money costs the
computer's time, a person's answer the minutes it takes. Nothing here looks at an audit answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from agent import certify, prompt, route
from agent.belief import Belief, believe
from agent.loop import people
from agent.loop.ground import Ground, Machine
from agent.loop.measure import only, part_of, soft
from agent.types import Bools, Ints

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

    `columns`: option -> number of its rung; `rows`: (m,) items weighed, those people neither answered nor hold in the
    queue; `known`: option -> items from which its gain was learnt.
    """

    ladder: route.Ladder
    columns: tuple[int, ...]
    rows: Ints
    items: route.Items
    limits: route.Limits
    solved: route.Solved

    @property
    def known(self) -> list[int]:
        return [0 if option.step is None else option.step.pairs for option in self.ladder.options]


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


def steps(ground: Ground) -> list[route.Step | None]:
    """What the answer of each machine does to the predicted error, given the student and the machines before it."""
    state = (ground.board.seen, ground.taught, tuple(bool(m.ways) for m in ground.machines))
    if ground.steps is None or ground.steps[0] != state:
        ground.steps = state, [_step(ground, number) for number in range(len(ground.machines))]
    return ground.steps[1]


def _step(ground: Ground, number: int) -> route.Step | None:
    board, machines = ground.board, ground.machines
    heard = board.machine[machines[number].rung.name].any
    pilot, others = np.flatnonzero(board.pilot), np.flatnonzero(heard & ~board.pilot)
    if len(others) > LOOK:
        others = np.random.default_rng(0).choice(others, LOOK, replace=False)
    rows = np.concatenate([pilot, others])
    if int(heard[rows].sum()) < route.KNOWN:
        return None
    says = None if ground.student_says is None else ground.student_says[rows]

    before, after = (
        believe(part_of(only(ground, machines[:upto]), rows), says, soft(ground), ground.person is not None)
        for upto in (number, number + 1)
    )
    return route.learn(1 - before.unsaid[heard[rows]], 1 - after.unsaid[heard[rows]])


def bearable(ground: Ground) -> float:
    """Wrong labels that may be left, as the rule plans: so few that the audit is expected to certify the goal, where
    there is one, and KAPPA of what the goal bears in any case."""
    goal, n = ground.config.goal, ground.n
    bears = (1 - goal.accuracy) * n
    needed = _needed(n, people.share(ground).audit, goal.accuracy, goal.delta)
    return KAPPA * bears if needed is None else min(KAPPA * bears, (1 - needed) * n)


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
    learnt = steps(ground) if belief.grounded and ground.person is not None else []
    if not learnt and (ground.machines or not belief.grounded or ground.person is None):
        return None
    if any(step is None and not machine.shut for step, machine in zip(learnt, ground.machines, strict=True)):
        return None
    ladder, columns = _ladder(ground, learnt)
    board, queued = ground.board, people.queued(ground)
    rows = np.flatnonzero(~board.spoken & ~board.doubtful & ~queued)
    error = (1 - belief.confidence).astype(np.float64)
    state = np.zeros(ground.n, np.int64)
    for number, column in enumerate(columns):
        state[said[:, column]] = number + 1
    items = route.Items(error[rows], state[rows], (open_to & ~said)[rows][:, list(columns)])
    left = max(people.share(ground).total - people.purposes(ground).total(), 0)
    wrong = bearable(ground) - float(error[board.doubtful].sum())
    limits = route.Limits(wrong, left, _usd_left(ground))
    return Outlook(ladder, columns, rows, items, limits, route.solve(ladder, items, limits))


def words(outlook: Outlook) -> str:
    """Why nobody is asked any more."""
    wrong, may = outlook.solved.wrong, max(outlook.limits.wrong, 0.0)
    if outlook.solved.reached:
        return f"enough was asked: {wrong:,.0f} wrong labels are expected, and the plan bears {may:,.0f}"
    return f"nothing to ask: {wrong:,.0f} wrong labels are expected, where the plan bears {may:,.0f}"


def _usd_left(ground: Ground) -> float:
    return np.inf if ground.budget.usd is None else max(ground.budget.usd - ground.store.spend().usd, 0.0)


def _ladder(ground: Ground, learnt: list[route.Step | None]) -> tuple[route.Ladder, tuple[int, ...]]:
    """The rungs that can be asked, as options, and their numbers."""
    rungs = ground.config.rung
    columns = tuple(number for number, rung in enumerate(rungs) if not rung.student)
    options = []
    for number, column in enumerate(columns):
        rung = rungs[column]
        if rung.person:
            options.append(route.Option(rung.name, person_price(ground), None))
        else:
            price = machine_price(ground, ground.machines[number])
            options.append(route.Option(rung.name, price, learnt[number] or route.nothing()))
    count = len(options)
    follows = np.arange(count)[None, :] >= np.arange(count + 1)[:, None]
    for number, column in enumerate(columns):
        if not rungs[column].person and ground.machines[number].shut:
            follows[:, number] = False
    bars = np.full(count + 1, np.nan)
    first = rungs[0] if ground.student_says is not None else None
    bars[0] = 2.0 if first is None else np.nan if first.bar is None else first.bar
    for number, column in enumerate(columns):
        bar = rungs[column].bar
        bars[number + 1] = 0.0 if rungs[column].person else np.nan if bar is None else bar
    return route.Ladder(tuple(options), follows, bars), columns
