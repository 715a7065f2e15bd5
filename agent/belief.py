"""What is believed of each item: every annotator heard, weighed by how often it agreed with people. Decides nothing.

Machines' log-probabilities are batch-calibrated, hard votes read as a coin of measured accuracy, and all sources pooled
with exponents fitted on the pilot, the only people's answers drawn at random that may be looked at. A pool with people
in it trusts no weight that people have not been able to contradict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent import aggregate, calibrate, shortlist
from agent.board import Board
from agent.types import Bools, Floats, Layout

ENOUGH = 20
"""People's random answers from which on calibration rests on them."""
POOLED = 20
"""Answers of one machine from which on batch calibration is applied."""


@dataclass(frozen=True)
class Belief:
    """`posterior`: (n, width); `confidence`: (n,) that the whole label is right.

    `machine`: (n, width) the posterior of the machines alone, `machine_heard`: (n,) where there is one; `before`: (n,)
    confidence had the machines not been asked; `unsaid`: (n,) had people not been asked; `weights`: level of the
    ladder -> source -> exponent; `grounded`: the weights rest on people's answers.
    """

    posterior: Floats
    confidence: Floats
    machine: Floats
    machine_heard: Bools
    before: Floats
    unsaid: Floats
    weights: Mapping[str, Mapping[str, float]]
    grounded: bool


def believe(board: Board, student: Floats | None, soft: Mapping[str, bool], has_people: bool) -> Belief:
    """Pool what was heard.

    Args:
        student: (n, width) cross-fitted student probabilities, or None before it was taught.
        soft: machine rung -> whether batch calibration applies to its log-probabilities.
        has_people: whether the ladder ends in people. Without them the student is held against the machines.
    """
    layout, n = board.layout, board.n
    names = list(board.rungs)
    heard = [board.machine[name].any for name in names]
    sources = [_source(board, name, soft.get(name, False)) for name in names]
    pilot = board.pilot
    grounded = int(pilot.sum()) >= ENOUGH
    weights: dict[str, Mapping[str, float]] = {}
    machine_w = [1.0 / max(len(names), 1)] * len(names)
    if grounded and names:
        machine_w = _fit(sources, heard, pilot, board, machine_w)
    weights["machines"] = dict(zip(names, machine_w, strict=True))
    nobody = np.full((n, layout.width), 0.0, dtype=np.float32)
    machine = aggregate.soft_pool(sources, heard, machine_w, layout) if names else layout.normalise(nobody)
    machine_heard = np.logical_or.reduce(heard) if names else np.zeros(n, bool)
    if student is None:
        posterior, before = machine.copy(), layout.normalise(nobody)
    else:
        posterior, before = _with_student(board, student, sources, heard, grounded, has_people, machine, weights)
    unsaid = aggregate.confidence(posterior, layout)
    words, spoken = board.words(), board.spoken
    posterior[spoken] = words[spoken]
    return Belief(
        posterior=posterior,
        confidence=aggregate.confidence(posterior, layout),
        machine=machine,
        machine_heard=machine_heard,
        before=aggregate.confidence(before, layout),
        unsaid=unsaid,
        weights=weights,
        grounded=grounded,
    )


def _source(board: Board, name: str, calibrated: bool) -> Floats:
    """One machine's log-probabilities, (n, width): soft answers batch-calibrated, hard ones as a coin."""
    heard, layout = board.machine[name], board.layout
    out = np.zeros_like(heard.logs)
    soft, hard = heard.soft > 0, heard.hard > 0
    pilot = board.pilot
    if soft.any():
        mean = heard.logs[soft] / heard.soft[soft][:, None]
        listed = heard.listed()
        read = _batch(board, mean, pilot[soft] & (listed is None), board.people.said[soft], calibrated)
        if listed is not None:
            read = shortlist.spread(read, listed[soft], shortlist.estimate(*board.recall(name)))
        out[soft] = calibrate.logs(read)
    if hard.any():
        rows = pilot & hard
        named, said = (aggregate.choices(votes[rows], layout) for votes in (heard.counts, board.people.said))
        right = (named == said).all(axis=1)
        out[hard] += calibrate.vote_logs(heard.counts[hard], heard.hard[hard], calibrate.coin(right), layout)
    return out


def _batch(board: Board, mean: Floats, answered: Bools, said: Floats, calibrated: bool) -> Floats:
    """Batch calibration when it may be trusted: there are enough answers, and the shares are known or of no matter.

    `answered`: rows that people's pilot answers `said` correct it by. Without people the shares of "yes" in a question
    of several labels are anybody's guess: left alone.
    """
    layout, pilot = board.layout, board.pilot
    known = int(pilot.sum()) >= ENOUGH
    if not calibrated or len(mean) < POOLED or (not known and len(layout.atoms) > 1):
        return layout.normalise(mean)
    if not known:
        return calibrate.batch(mean, layout)
    rows = np.flatnonzero(answered)
    return calibrate.damped(mean, layout, rows, said[rows], calibrate.shares(board.people.said[pilot], layout))


def _fit(
    sources: Sequence[Floats], heard: Sequence[Bools], rows: Bools, board: Board, start: Sequence[float]
) -> list[float]:
    """Exponents fitted on those of `rows` where every source was heard; `start` when there are too few."""
    use = rows & np.logical_and.reduce(list(heard))
    if int(use.sum()) < ENOUGH:
        return list(start)
    return calibrate.fit_weights([s[use] for s in sources], board.people.said[use], board.layout, start)


def _with_student(
    board: Board,
    student: Floats,
    sources: Sequence[Floats],
    heard: Sequence[Bools],
    grounded: bool,
    has_people: bool,
    machine: Floats,
    weights: dict[str, Mapping[str, float]],
) -> tuple[Floats, Floats]:
    """The posterior with the student in it, and that of the student alone. Each level has its own exponents."""
    layout, everyone = board.layout, np.ones(board.n, bool)
    own = calibrate.logs(student)
    names = list(board.rungs)
    if grounded:
        alone = calibrate.fit_weights([own[board.pilot]], board.people.said[board.pilot], layout, [1.0])
    elif has_people or not names:
        alone = [1.0]
    else:
        # No people in this ladder: the student can only be held against the machines it learned from.
        spoken = np.logical_or.reduce(list(heard))
        alone = calibrate.fit_weights([own[spoken]], _hard(machine[spoken], layout), layout, [1.0])
    before = aggregate.soft_pool([own], [everyone], alone, layout)
    weights["student"] = {"student": alone[0]}
    posterior = before.copy()
    for top in range(len(names)):
        start = [0.5] + [1.0 / (top + 1)] * (top + 1)
        ears = [everyone, *heard[: top + 1]]
        rows = board.pilot if grounded else np.zeros(board.n, bool)
        fitted = _fit([own, *sources[: top + 1]], ears, rows, board, start)
        weights[names[top]] = dict(zip(["student", *names[: top + 1]], fitted, strict=True))
        here = heard[top]
        pooled = aggregate.soft_pool([own, *sources[: top + 1]], ears, fitted, layout)
        posterior[here] = pooled[here]
    return posterior, before


def _hard(rows: Floats, layout: Layout) -> Floats:
    """One-hot rows of the likeliest choices."""
    out = np.zeros_like(rows)
    best = aggregate.choices(rows, layout)
    for a, s in enumerate(layout.slices):
        out[np.arange(len(rows)), s.start + best[:, a]] = 1.0
    return out
