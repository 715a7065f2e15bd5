"""How far the machines carry, by what people said of the pilot. Asks nobody.

Every figure is of calibrations that did not see what people said of the item judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from agent.loop.ground import Ground, Machine
    from agent.opinions import Said


@dataclass(frozen=True)
class Reach:
    """Of all machines together. right: [agreed with people, of]. covers: the share of the items, surest first, that
    they label as well as the goal asks; None if not known. risk: (m,) chance of error of each pilot item."""

    right: tuple[int, int] = (0, 0)
    covers: float | None = None
    risk: tuple[float, ...] = ()


def labels(ground: Ground, machine: Machine, rows: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """What a machine is taken to say of the items, calibrated as a run does it: row -> choice numbers."""
    from agent import aggregate
    from agent.belief import believe
    from agent.loop.measure import only, soft

    heard = ground.board.machine[machine.rung.name].any
    alone = believe(only(ground, [machine]), None, soft(ground), ground.person is not None).machine
    kept = [row for row in dict.fromkeys(rows) if heard[row]]
    return dict(zip(kept, map(tuple, aggregate.choices(alone[kept], ground.layout).tolist()), strict=True))


def agreement(ground: Ground, machine: Machine) -> tuple[int, int]:
    """[agreed with people, of] on people's pilot, by calibrations that did not see the labels judged by."""
    from agent import aggregate
    from agent.loop.measure import crossed

    rows, said = crossed(ground, [machine])
    truth = aggregate.choices(ground.board.people.said[rows], ground.layout)
    return int((aggregate.choices(said, ground.layout) == truth).all(axis=1).sum()), len(rows)


def below(ground: Ground, order: int) -> float | None:
    """The share of the items heard that stay below the bar of machine number `order`, with the ones before it heard."""
    from agent.belief import believe
    from agent.loop.measure import only, soft

    machines = ground.machines[: order + 1]
    heard = np.logical_and.reduce([ground.board.machine[m.rung.name].any for m in machines])
    if not heard.any():
        return None
    belief = believe(only(ground, machines), None, soft(ground), ground.person is not None)
    bar = ground.bars()[ground.rungs.index(machines[-1].rung.name)]
    heard &= ~ground.board.spoken
    return float((belief.confidence[heard] < bar).mean()) if heard.any() else None


def reach(ground: Ground) -> Reach:
    """On people's pilot: how often the machines are right together, and how far down their confidence that will do."""
    from agent import aggregate
    from agent.loop.measure import crossed
    from agent.posterior.risk import recalibrate

    if not ground.machines:
        return Reach()
    pilot, said = crossed(ground, ground.machines)
    if len(pilot) == 0:
        return Reach()
    truth = aggregate.choices(ground.board.people.said[pilot], ground.layout)
    right = (aggregate.choices(said, ground.layout) == truth).all(axis=1)
    confidence = aggregate.confidence(said, ground.layout).astype(np.float64)
    sure = np.argsort(-confidence, kind="stable")
    running = np.cumsum(right[sure]) / np.arange(1, len(pilot) + 1)
    good = np.flatnonzero(running >= ground.config.goal.accuracy)
    covers = float(good[-1] + 1) / len(pilot) if len(good) else 0.0
    risk = recalibrate(1 - confidence, 1 - confidence, (~right).astype(np.float64), np.ones(len(pilot)))
    return Reach((int(right.sum()), len(pilot)), covers, tuple(risk.round(4).tolist()))


def stands(ground: Ground, machine: Machine, recorded: Said) -> dict[str, Any] | None:
    """The Alt-Test: may this machine stand in for one of the people whose votes are recorded? None: too few are."""
    from agent import agreement as tests
    from agent.opinions import table

    heard = ground.board.machine[machine.rung.name].any
    said = {item: votes for item, votes in recorded.items() if heard[ground.pool.position(item)]}
    if not said:
        return None
    votes, _, numbers = table(said)
    given = labels(ground, machine, [ground.pool.position(item) for item in said])
    own = np.full(len(said), -1, np.int64)
    for row, item in enumerate(said):
        if (choice := given.get(ground.pool.position(item))) is not None:
            own[row] = numbers.get(_value(ground, choice), len(numbers))
    found = tests.alt_test(votes, own)
    if found.people < tests.LEAST_PEOPLE:
        return None
    return {
        "passed": found.passed,
        "wins": round(found.wins, 3),
        "advantage": round(found.advantage, 3),
        "people": found.people,
        "items": len(said),
    }


def _value(ground: Ground, choice: Sequence[int]) -> Any:
    """The label that these choices make."""
    pairs = zip(ground.layout.atoms, ground.layout.choices, choice, strict=True)
    return ground.kind.value(ground.task, {atom: names[k] for atom, names, k in pairs})
