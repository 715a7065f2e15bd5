"""What is decided of each item in a turn, and what of it is written down. Asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agent import aggregate
from agent.belief import Belief
from agent.export import NO_ANSWER
from agent.loop import people, worth
from agent.loop.ground import Ground
from agent.loop.measure import columns, untouched
from agent.route import ABSTAIN, ACCEPT, ASK, NOBODY, STOP, Routes, fill, route, sure_enough
from agent.types import Bools, Decision, Floats, Ints

MEMORABLE = 0.02
"""A decision is written again when its probability moved by more than this (the last turn writes every change)."""

NOT_ASKED = "nobody was asked about it"

BY_WORD = "below its bar, but the target is certified for all labels"

ALIKE = "a near-duplicate of item"
"""How the words begin that say whose answers an item has."""

ACTIONS = {ACCEPT: "accept", ASK: "ask", ABSTAIN: "abstain"}


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


def heard(ground: Ground) -> Bools:
    """(n, rungs) who has had his say, or failed to, in the ladder's order."""
    board, out = ground.board, np.zeros((ground.n, len(ground.rungs)), bool)
    for column, rung in enumerate(ground.config.rung):
        if rung.student:
            out[:, column] = ground.student_says is not None
        elif rung.person:
            out[:, column] = board.spoken | board.doubtful
        else:
            machine = ground.machine(rung.name)
            out[:, column] = board.machine[rung.name].done | machine.tired
    return out


def spoke(ground: Ground) -> Ints:
    """(n,) the highest rung that said something of an item; NOBODY where all who were asked failed."""
    said = heard(ground)
    for column, rung in enumerate(ground.config.rung):
        if not rung.student and not rung.person:
            said[:, column] = ground.board.machine[rung.name].any
    who: Ints = np.where(said, np.arange(len(ground.rungs)), NOBODY).max(axis=1)
    return who


def decide(ground: Ground, belief: Belief) -> Routes:
    """Route every item: by the rule once it is known what answers are worth, by fixed bars before.

    A student that people have not been able to contradict settles nothing by itself.
    """
    bars = ground.bars()
    if ground.config.rung[0].student and ground.person is not None and not belief.grounded:
        bars[0] = 2.0
    # By the rule the next ones are asked where they are worth it; by bars all would be put to the dearest.
    over = bool(ground.enough) and ground.outlook is not None
    open_to = np.ones((ground.n, len(bars)), bool)
    if ground.person is not None:
        open_to[:, -1] = people.may_be_asked(ground)
    for column, rung in enumerate(ground.config.rung):
        if rung.student:
            open_to[:, column] = False  # it is taught, never asked
        elif not rung.person:
            machine = ground.machine(rung.name)
            open_to[:, column] = ~machine.shown & (not machine.shut) & (not over)
    open_to[ground.board.copies] = False  # what is said of the first of them counts for all
    said = heard(ground)
    routes = route(belief.confidence, said, bars, open_to, ground.board.doubtful)
    ground.outlook = worth.outlook(ground, belief, said, open_to)
    if ground.outlook is not None:
        routes = _by_rule(ground, ground.outlook, routes)
    asked, who = routes.action == ASK, spoke(ground)
    action = np.where(~asked & (who == NOBODY), ABSTAIN, routes.action)  # a failure settles nothing, whatever its bar
    return Routes(action, np.where(asked, routes.rung, who), routes.saves, routes.again)


def _by_rule(ground: Ground, outlook: worth.Outlook, routes: Routes) -> Routes:
    """The rule's word in place of the bars'. What nobody is asked about any more is sure enough where a bar that was
    written down says so, else as long as the sure labels together hold no more expected errors than the goal bears."""
    rows, items, solved = outlook.rows, outlook.items, outlook.solved
    actions = fill(outlook.ladder, items, solved, int(outlook.limits.people))
    stop, bar = actions == STOP, outlook.ladder.bars[items.state]
    sure = 1 - items.error >= bar
    by_rule = stop & np.isnan(bar)
    share = 1 - ground.config.goal.accuracy
    sure[by_rule] = sure_enough(items.error[by_rule], int(ground.board.spoken.sum()), share)
    action, rung, saves = routes.action.copy(), routes.rung.copy(), np.zeros(ground.n)
    action[rows] = np.where(stop, np.where(sure, ACCEPT, ABSTAIN), ASK)
    columns, another = zip(*outlook.asked, (NOBODY, False), strict=True)
    rung[rows] = np.where(stop, rung[rows], np.array(columns)[actions])
    again = np.zeros(ground.n, bool)
    again[rows], saves[rows] = np.array(another)[actions], solved.saves
    queued = people.queued(ground) & ~ground.board.spoken & ~ground.board.doubtful
    action[queued], rung[queued] = ASK, len(ground.rungs) - 1
    return Routes(action, rung, saves, again)


def close(ground: Ground, routes: Routes, certified: bool) -> tuple[Routes, Bools]:
    """Nobody is asked any more: what was still to be asked about keeps the guess of the highest rung that spoke.

    `certified`: the certificate covers these labels, and they are accepted by its word. Returns the routes, and (n,)
    which items those are.
    """
    left, named = routes.action == ASK, ~untouched(ground)
    action = np.where(left, np.where(named & certified, ACCEPT, ABSTAIN), routes.action)
    return Routes(action, np.where(left, spoke(ground), routes.rung)), left & named & certified


def write_decisions(
    ground: Ground, belief: Belief, routes: Routes, last: Last, turn: int, final: bool, covered: Bools | None = None
) -> int:
    """Write what changed; how many rows. `covered`: (n,) accepted by word of the certificate.

    What nobody was asked about has no label: a guess would look like an answer.
    """
    best, silent = aggregate.choices(belief.posterior, ground.layout), untouched(ground)
    best[silent] = -1
    moved = np.abs(belief.confidence - last.confidence) > (1e-6 if final else MEMORABLE)
    changed = (routes.action != last.action) | (routes.rung != last.rung) | (best != last.choice).any(axis=1) | moved
    rows = np.flatnonzero(changed)
    ids, rungs = ground.pool.ids, ground.rungs
    reasons, lost = _reasons(ground), _lost(ground, routes, rows)
    by_word = np.zeros(ground.n, bool) if covered is None else covered
    alike = _alike(ground, rows)
    ground.store.decide(
        [
            Decision(
                item=ids[i],
                action=ACTIONS[action],  # type: ignore[arg-type]
                by=rungs[rung] if rung != NOBODY else "nobody",
                value=_value(ground, choice),
                confidence=confidence,
                why=(BY_WORD if by_word[i] else NOT_ASKED if silent[i] else lost.get(ids[i], reasons[action, rung]))
                + alike.get(i, ""),
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


def _alike(ground: Ground, rows: Ints) -> dict[int, str]:
    """Copy -> of which item, of those of `rows` that are near-duplicates of an earlier one."""
    board = ground.board
    if board.first is None:
        return {}
    copies = rows[board.copies[rows]].tolist()
    first = ground.pool.items(board.first[copies]) if copies else []
    return {i: f"; {ALIKE} {one.name or one.id[:12]}" for i, one in zip(copies, first, strict=True)}


def _lost(ground: Ground, routes: Routes, rows: Ints) -> dict[str, str]:
    """Item -> why, of those of `rows` that were asked about in vain."""
    nobody = rows[(routes.rung[rows] == NOBODY) & (routes.action[rows] == ABSTAIN)].tolist()
    if not nobody:
        return {}
    whys, ids = ground.store.unanswered(list(ground.recipes)), ground.pool.ids
    return {ids[i]: NO_ANSWER + whys[ids[i]] for i in nobody if whys.get(ids[i])}


def _value(ground: Ground, choice: np.ndarray[Any, Any]) -> Any:
    """The label that a row of choices stands for, None for no label; there are far fewer labels than items."""
    if choice[0] < 0:
        return None
    key = choice.tobytes()
    if key not in ground.values:
        atoms = {a: cs[int(c)] for a, cs, c in zip(ground.layout.atoms, ground.layout.choices, choice, strict=True)}
        ground.values[key] = ground.kind.value(ground.task, atoms)
    return ground.values[key]


def _reasons(ground: Ground) -> dict[tuple[int, int], str]:
    """Why, in plain words, by action and rung."""
    bars = ground.bars()
    out = {(ABSTAIN, NOBODY): "nobody was heard: a guess", (ACCEPT, NOBODY): BY_WORD}
    for number, rung in enumerate(ground.config.rung):
        if rung.person:
            out[ACCEPT, number] = "a person said so"
            out[ASK, number] = "machines are not sure enough: people are to say"
            out[ABSTAIN, number] = "a person could not tell; the machines' best guess"
        elif ground.outlook is not None and rung.bar is None:
            out[ACCEPT, number] = f"sure enough with {rung.name} heard: another answer costs more than it mends"
            out[ASK, number] = f"not sure enough: {rung.name} is asked, whose answer is worth its price"
            out[ABSTAIN, number] = "not sure enough, and no answer that can be had is worth its price: best guess"
        else:
            out[ACCEPT, number] = f"sure enough with {rung.name} heard (bar {bars[number]:.2f})"
            out[ASK, number] = f"not sure enough: {rung.name} is asked"
            out[ABSTAIN, number] = f"below the bar of {bars[number]:.2f} with nobody left to ask: best guess"
    return out


def remember(ground: Ground) -> Last:
    """The last decisions, from the ledger: only what differs from them is written."""
    last = Last.nothing(ground.n, len(ground.layout.atoms))
    found = ground.store.decisions()
    actions = {name: code for code, name in ACTIONS.items()}
    rungs = {name: k for k, name in enumerate(ground.rungs)}
    rows = zip(found.items, found.actions, found.by, found.values, found.confidences, strict=True)
    for item, action, by, value, confidence in rows:
        where = ground.pool.position(item)
        if where >= ground.n:
            continue
        last.action[where], last.rung[where] = actions[action], rungs.get(by, NOBODY)
        last.confidence[where] = confidence
        last.choice[where] = columns(ground, value)
    return last
