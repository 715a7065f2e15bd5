"""What is believed of each item: every annotator heard, weighed by how often it agreed with people. Decides nothing.

Machines' log-probabilities are batch-calibrated, hard votes read as a coin of measured accuracy, and all sources pooled
(`agent.posterior`) as the pilot says, the only people's answers drawn at random that may be looked at. A pool with
people in it trusts no weight that people have not been able to contradict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent import aggregate, calibrate, posterior, shortlist
from agent.board import Board
from agent.posterior import Pooled, Source
from agent.types import Bools, Floats, Ints, Layout

ENOUGH = 20
"""People's random answers from which on calibration rests on them."""
DIFFER = 0.02
"""The chance that near-duplicates have different labels: measured by `python -m eval.duplicates`."""
POOLED = 20
"""Answers of one machine from which on batch calibration is applied."""


@dataclass(frozen=True)
class Belief:
    """`posterior`: (n, width); `confidence`: (n,) that the whole label is right; `error`: (n,) the chance that it is
    wrong, held against people's answers where there are any: routing goes by it.

    `machine`: (n, width) the posterior of the machines alone, `machine_heard`: (n,) where there is one; `before`: (n,)
    confidence had the machines not been asked; `without_people`: (n, width) the posterior had people not been asked;
    `weights`: level of the ladder -> source -> exponent; `grounded`: they rest on people's answers.
    """

    posterior: Floats
    confidence: Floats
    error: Floats
    machine: Floats
    machine_heard: Bools
    before: Floats
    without_people: Floats
    weights: Mapping[str, Mapping[str, float]]
    grounded: bool


@dataclass
class _SoFar:
    """What is believed after each level of the ladder."""

    posterior: Floats
    error: Floats
    weights: dict[str, Mapping[str, float]]

    def take(self, pooled: Pooled, rows: Ints, level: str) -> None:
        """Believe a level's pool on the rows that it is of."""
        self.posterior[rows], self.error[rows] = pooled.posterior, pooled.error
        self.weights[level] = {name: w * pooled.temperature for name, w in pooled.weights.items()}


def believe(
    board: Board, student: Floats | None, soft: Mapping[str, bool], has_people: bool, graph: Ints | None = None
) -> Belief:
    """Pool what was heard.

    Args:
        student: (n, width) cross-fitted student probabilities, or None before it was taught.
        soft: machine rung -> whether batch calibration applies to its log-probabilities.
        has_people: whether the ladder ends in people. Without them the student is held against the machines.
        graph: (n, k) the likest other items of each (`posterior.nearest`), or None: items are looked at by themselves.
    """
    layout, n = board.layout, board.n
    heard = [board.machine[name].any for name in board.rungs]
    sources = [
        Source(name, _source(board, name, soft.get(name, False)), board.machine[name].any) for name in board.rungs
    ]
    grounded = int(board.pilot.sum()) >= ENOUGH
    even = layout.normalise(np.zeros((n, layout.width), np.float32))
    doubt = 1 - aggregate.confidence(even, layout)
    machines = _SoFar(even.copy(), doubt.copy(), {"machines": {}})
    spoke = np.logical_or.reduce(heard) if heard else np.zeros(n, bool)
    if heard:
        _level(machines, sources, spoke, board, "machines")
    found = _SoFar(machines.posterior.copy(), machines.error.copy(), {"machines": machines.weights["machines"]})
    before = even
    if student is not None:
        own = [Source("student", calibrate.logs(student), np.ones(n, bool), "student")]
        if graph is not None:
            own.append(_like(board, graph, machines.posterior, spoke))
        if grounded or has_people or not heard:
            _level(found, own, np.ones(n, bool), board, "student")
        else:
            _held_against_machines(found, own[0], machines.posterior, spoke, layout)
        before = found.posterior.copy()
        for top, name in enumerate(board.rungs):
            _level(found, [*own, *sources[: top + 1]], heard[top], board, name)
    words, spoken, alone = board.words(), board.spoken, found.posterior.copy()
    found.posterior[spoken], found.error[spoken] = words[spoken], 0
    _as_their_likes(found, words, board)
    return Belief(
        posterior=found.posterior,
        confidence=aggregate.confidence(found.posterior, layout),
        error=found.error,
        machine=machines.posterior,
        machine_heard=spoke,
        before=aggregate.confidence(before, layout),
        without_people=alone,
        weights=found.weights,
        grounded=grounded,
    )


def _level(found: _SoFar, sources: Sequence[Source], here: Bools, board: Board, name: str) -> None:
    """Pool the sources of one level of the ladder where its annotator was heard.

    People's pilot answers count where every source was heard, and only when there are enough of them.
    """
    use = board.pilot & np.logical_and.reduce([s.heard for s in sources])
    if int(use.sum()) < ENOUGH:
        use = np.zeros(board.n, bool)
    rows = np.flatnonzero(here)
    if len(rows) == 0:
        start = posterior.starts(sources)
        found.weights[name] = dict(zip([s.name for s in sources], start.tolist(), strict=True))
        return
    part = [Source(s.name, s.logs[rows], s.heard[rows], s.role) for s in sources]
    answered = np.flatnonzero(use[rows])
    pooled = posterior.pool(part, answered, board.people.said[rows[answered]], board.layout)
    found.take(pooled, rows, name)


def _like(board: Board, graph: Ints, machine: Floats, spoke: Bools) -> Source:
    """What the likest other items are labeled: by people where they spoke, else by the machines."""
    spoken = board.spoken
    labels = np.where(spoken[:, None], board.words(), np.where(spoke[:, None], machine, np.float32(0)))
    logs = posterior.neighbours(None, labels.astype(np.float32), board.layout, graph=graph)
    return Source("like items", logs, np.ones(board.n, bool), "neighbours")


def _as_their_likes(found: _SoFar, words: Floats, board: Board) -> None:
    """A person's word on an item counts for its near-duplicates too, with the doubt that they differ after all."""
    speaker = board.speaker
    copies = np.flatnonzero(speaker != np.arange(board.n)) if board.first is not None else speaker[:0]
    word = words[speaker[copies]]
    for s in board.layout.slices:
        even = np.float32(1 / (s.stop - s.start))
        found.posterior[copies, s] = (1 - DIFFER) * word[:, s] + DIFFER * even
    found.error[copies] = 1 - aggregate.confidence(found.posterior[copies], board.layout)


def _held_against_machines(found: _SoFar, own: Source, machine: Floats, spoke: Bools, layout: Layout) -> None:
    """No people in this ladder: the student can only be held against the machines it learned from."""
    (alone,) = calibrate.fit_weights([own.logs[spoke]], _hard(machine[spoke], layout), layout, [1.0])
    found.posterior = aggregate.soft_pool([own.logs], [own.heard], [alone], layout)
    found.error = 1 - aggregate.confidence(found.posterior, layout)
    found.weights["student"] = {"student": alone}


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


def _hard(rows: Floats, layout: Layout) -> Floats:
    """One-hot rows of the likeliest choices."""
    out = np.zeros_like(rows)
    best = aggregate.choices(rows, layout)
    for a, s in enumerate(layout.slices):
        out[np.arange(len(rows)), s.start + best[:, a]] = 1.0
    return out
