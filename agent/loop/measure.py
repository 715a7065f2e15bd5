"""Where a run stands, as numbers: for the progress line, the learning curve and the check against gold. Asks nobody."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from agent import aggregate
from agent.belief import Belief, believe
from agent.board import Board
from agent.errors import Unparsable
from agent.loop.ground import Ground, Machine
from agent.route import ABSTAIN, ACCEPT, ASK, Routes
from agent.types import Floats


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
    settled = routes.action == ACCEPT
    by = [int((settled & (routes.rung == k)).sum()) for k in range(len(ground.rungs))]
    out["accepted"] = dict(zip(ground.rungs, by, strict=True))
    out["waiting"] = (
        int(((routes.action == ASK) & (routes.rung == len(ground.rungs) - 1)).sum()) if ground.person else 0
    )
    out["unsure"] = int((routes.action == ABSTAIN).sum())
    out["people"] = int(board.spoken.sum())
    out["answers"] = {name: int(board.machine[name].any.sum()) for name in board.rungs}
    truth = aggregate.choices(board.people.said[pilot], ground.layout)
    out["pilot_shares"] = board.people.said[pilot].mean(axis=0).round(4).tolist() if pilot.any() else []
    agree: dict[str, list[int]] = {}
    if ground.student_says is not None:
        agree["student"] = _agree(ground.student_says[pilot], truth, ground)
    for machine in ground.machines:
        spoke = board.machine[machine.rung.name].any & pilot
        alone = believe(only(ground, [machine]), None, soft(ground), True).machine
        said = aggregate.choices(board.people.said[spoke], ground.layout)
        agree[machine.rung.name] = _agree(alone[spoke], said, ground)
    out["agreement"] = agree
    out["asking"] = {m.rung.name: asking(ground, m) for m in ground.machines}
    out["weights"] = {level: dict(w) for level, w in belief.weights.items()}
    return out


def asking(ground: Ground, machine: Machine) -> dict[str, Any]:
    """What is known of how a machine was asked; only what there is to tell.

    flips: [items with another likeliest label in another order or prompt, items asked more than once]; recall: [pilot
    items whose label was on the shortlist, items]; none: items answered "none of these"; cut: texts cut; form: chosen.
    """
    heard = ground.board.machine[machine.rung.name]
    told: dict[str, Any] = {
        "flips": [int(heard.flipped.sum()), int(heard.again.sum())],
        "recall": list(ground.board.recall(machine.rung.name)),
        "shortlist": machine.ways.short if machine.ways else 0,
        "none": int(heard.none.sum()),
        "cut": int(heard.cut.sum()),
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
    """A value as choice numbers, one an atom; -1 where it is none of today's labels."""
    try:
        atoms = ground.kind.atoms(ground.task, tuple(value) if isinstance(value, list) else value)
    except Unparsable:
        return [-1] * len(ground.layout.atoms)
    return [cs.index(atoms[a]) for a, cs in zip(ground.layout.atoms, ground.layout.choices, strict=True)]
