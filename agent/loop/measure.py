"""Where a run stands, as numbers: for the progress line, the learning curve and the check against gold. Asks nobody."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from agent import aggregate
from agent.belief import Belief, believe
from agent.board import Board, Heard, People
from agent.errors import Unparsable
from agent.loop import people
from agent.loop.ground import Ground, Machine
from agent.route import ABSTAIN, ACCEPT, ASK, Routes
from agent.types import Bools, Floats, Ints

FOLDS = 5
"""In so many parts people's pilot is judged, each by calibrations that saw the labels of the others only."""

REST = 20_000
"""Items beside the pilot by which a machine's mean answer is taken when it is judged: no more are needed."""


def only(ground: Ground, machines: list[Machine]) -> Board:
    """The board as if no other machine had been heard."""
    board = copy.copy(ground.board)
    board.rungs = [m.rung.name for m in machines]
    return board


def soft(ground: Ground) -> dict[str, bool]:
    """Machine rung -> whether batch calibration applies to it: not to shortlists, each of other labels."""
    return {m.rung.name: m.traits.calibrate and not (m.ways and m.ways.short) for m in ground.machines}


def numbers(ground: Ground, belief: Belief, routes: Routes) -> dict[str, Any]:
    """Who settled how many, what is expected, and how each annotator agrees with people on the pilot."""
    board, pilot = ground.board, ground.board.pilot
    out: dict[str, Any] = {"expected_accuracy": float(belief.confidence.mean()), "pilot": int(pilot.sum())}
    out["expected_error"] = float(belief.error.astype(np.float64).mean())
    settled = routes.action == ACCEPT
    by = [int((settled & (routes.rung == k)).sum()) for k in range(len(ground.rungs))]
    out["accepted"] = dict(zip(ground.rungs, by, strict=True))
    cards = {card.item for card in people.open_cards(ground)}
    ask = np.flatnonzero(routes.action == ASK).tolist() if cards else []
    out["waiting"] = sum(ground.pool.ids[i] in cards for i in ask)
    silent = untouched(ground)
    out["unsure"] = int(((routes.action == ABSTAIN) & ~silent).sum())
    out["not_asked"] = int(silent.sum())
    out["people"], out["copies"] = int(board.spoken.sum()), int(board.copies.sum())
    out["answers"] = {name: int(board.machine[name].any.sum()) for name in board.rungs}
    truth = aggregate.choices(board.people.said[pilot], ground.layout)
    out["pilot_shares"] = board.people.said[pilot].mean(axis=0).round(4).tolist() if pilot.any() else []
    agree: dict[str, list[int]] = {}
    if ground.student_says is not None:
        agree["student"] = _agree(ground.student_says[pilot], truth, ground)
    for machine in ground.machines:
        rows, alone = crossed(ground, [machine])
        said = aggregate.choices(board.people.said[rows], ground.layout)
        agree[machine.rung.name] = _agree(alone, said, ground)
    out["agreement"] = agree
    out["asking"] = {m.rung.name: asking(ground, m) for m in ground.machines}
    out["weights"] = {level: dict(w) for level, w in belief.weights.items()}
    out["people_expected"] = expected(ground)
    return out


def expected(ground: Ground) -> list[int]:
    """[at least, at most] so many more questions to people are expected, beside those that are reserved.

    The rule says how many are worth it; where it does not reach the goal, and before it is known what answers are
    worth, all that people's minutes bear may be asked.
    """
    outlook = ground.outlook
    left = max(people.share(ground).total - people.purposes(ground).total(), 0)
    if outlook is None:
        return [0, left]
    wanted = int(np.ceil(outlook.solved.people)) if outlook.solved.reached else len(outlook.rows)
    return [min(wanted, left)] * 2


def untouched(ground: Ground) -> Bools:
    """(n,) nobody was asked about the item, and no student speaks of it.

    Audit cards do not count: nothing may depend on which items are audited.
    """
    board = ground.board
    if ground.student_says is not None:
        return np.zeros(ground.n, bool)
    touched = board.spoken | board.doubtful
    for machine in ground.machines:
        heard = board.machine[machine.rung.name]
        touched = touched | heard.done | heard.none | machine.tired
    for call in ground.store.asked(ground.person_recipe):
        where = ground.pool.position(call.item)
        if where < ground.n and call.purpose != "audit":
            touched[where] = True
    out: Bools = ~touched & ~board.opened
    return out


def crossed(ground: Ground, machines: list[Machine]) -> tuple[Ints, Floats]:
    """What machines together say of people's pilot items, by calibrations and weights that did not see their labels.

    Fitted and judged on the same few answers, a machine seems up to four points better than it is.

    Returns:
        (m,) rows of the pilot that one of them answered; (m, width) posterior of these.
    """
    board = only(ground, machines)
    pilot = np.flatnonzero(board.pilot)
    heard = np.logical_or.reduce([board.machine[name].any for name in board.rungs])
    others = np.flatnonzero(heard & ~board.pilot)
    draw = np.random.default_rng(0)
    rest = draw.choice(others, REST, replace=False) if len(others) > REST else others
    part = part_of(board, np.concatenate([pilot, rest]))
    out = np.zeros((len(pilot), ground.layout.width), np.float32)
    order = draw.permutation(len(pilot))
    for fold in range(min(FOLDS, len(pilot))):
        kept_out = order[fold::FOLDS]
        part.people = _unsaid(board.people, np.concatenate([pilot, rest]), kept_out)
        out[kept_out] = believe(part, None, soft(ground), True).machine[kept_out]
    return pilot[heard[pilot]], out[heard[pilot]]


def part_of(board: Board, rows: Ints) -> Board:
    """The board of these items alone."""
    part = copy.copy(board)
    part.n, part.opened, part.first = len(rows), board.opened[rows], None
    part.people, part.audit = _people(board.people, rows), _people(board.audit, rows)
    part.machine = {name: _heard(board.machine[name], rows) for name in board.rungs}
    return part


def likest_of(graph: Ints | None, rows: Ints, n: int) -> Ints | None:
    """Of each of these items the likest others among them, numbered as `rows` are; -1 where one is not among them."""
    if graph is None:
        return None
    number = np.full(n + 1, -1, np.int64)
    number[rows] = np.arange(len(rows))
    out: Ints = number[graph[rows]]
    return out


def _heard(heard: Heard, rows: Ints) -> Heard:
    kept: dict[str, Any] = {
        name: None if (held := getattr(heard, name)) is None else held[rows] for name in vars(heard)
    }
    return replace(heard, **kept)


def _people(people: People, rows: Ints) -> People:
    return replace(people, **{name: getattr(people, name)[rows] for name in vars(people)})


def _unsaid(people: People, rows: Ints, out: Ints) -> People:
    """People's answers to `rows` but for those numbered `out`."""
    kept = _people(people, rows)
    kept.answered[out], kept.said[out] = False, 0.0
    return kept


def asking(ground: Ground, machine: Machine) -> dict[str, Any]:
    """What is known of how a machine was asked; only what there is to tell.

    flips: [items with another likeliest label in another order or prompt, items asked more than once]; recall: [pilot
    items whose label was on the shortlist, items]; none: items answered "none of these"; cut: texts cut; parts: texts
    asked about part by part; form: chosen.
    """
    heard = ground.board.machine[machine.rung.name]
    told: dict[str, Any] = {
        "flips": [int(heard.flipped.sum()), int(heard.again.sum())],
        "recall": list(ground.board.recall(machine.rung.name)),
        "shortlist": machine.ways.short if machine.ways else 0,
        "none": int(heard.none.sum()),
        "cut": int(heard.cut.sum()),
        "parts": 0 if heard.parts is None else int(heard.parts.sum()),
        "form": machine.why,
    }
    return {name: said for name, said in told.items() if said and said != [0, 0]}


def _agree(posterior: Floats, truth: np.ndarray[Any, Any], ground: Ground) -> list[int]:
    """[agreed, of how many] on the whole label."""
    same = (aggregate.choices(posterior, ground.layout) == truth).all(axis=1)
    return [int(same.sum()), len(same)]


def against_gold(ground: Ground) -> dict[str, list[int]]:
    """[right, of how many] of each machine alone against the pool's gold column, if any. For checking only."""
    gold = ground.pool.gold()[: ground.n]
    known = np.array([g is not None for g in gold], bool)
    if not known.any():
        return {}
    board, out = ground.board, {}
    truth = np.full((ground.n, len(ground.layout.atoms)), -1)
    for i in np.flatnonzero(known).tolist():
        truth[i] = columns(ground, gold[i])
    if ground.student_says is not None:
        out["student"] = _agree(ground.student_says[known], truth[known], ground)
    for machine in ground.machines:
        rows = board.machine[machine.rung.name].any & known
        alone = believe(only(ground, [machine]), None, soft(ground), True).machine
        out[machine.rung.name] = _agree(alone[rows], truth[rows], ground)
    return out


def columns(ground: Ground, value: Any) -> list[int]:
    """A value as choice numbers, one an atom; -1 where it is none of today's labels, or none at all."""
    if value is None:
        return [-1] * len(ground.layout.atoms)
    try:
        atoms = ground.kind.atoms(ground.task, tuple(value) if isinstance(value, list) else value)
    except Unparsable:
        return [-1] * len(ground.layout.atoms)
    return [cs.index(atoms[a]) for a, cs in zip(ground.layout.atoms, ground.layout.choices, strict=True)]
