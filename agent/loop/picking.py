"""What a strategy is shown of the pool, and what came of its picks. Chooses nothing itself; looks at no audit answer.

The yardstick is the items that were drawn at random: people's pilot, and the few questions to machines that no strategy
chose. What a batch was worth is how much better the student knows them after it, on items it was not taught.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from agent import plugins
from agent.belief import Belief
from agent.errors import PluginError
from agent.loop.ground import Ground
from agent.types import Floats, Ints, Layout, Members, Picks, PoolView, Tried

MOST = 5_000
"""Items of the yardstick at most."""

MEMBERS = 5
"""Members of an ensemble, for strategies that look at one."""

FEWEST = 20
"""Items of the yardstick under which nothing is measured."""


class Voices(Sequence[Floats]):
    """Predictions of ensemble members for these rows, made when a strategy first looks at one."""

    def __init__(self, ground: Ground, rows: Ints, seed: int) -> None:
        self._ground, self._rows, self._seed = ground, rows, seed
        self._found: list[Floats] | None = None

    def _all(self) -> list[Floats]:
        if self._found is None:
            student: Any = self._ground.student
            self._found = student.members(self._ground.features[self._rows], MEMBERS, self._seed)
        return self._found

    def __len__(self) -> int:
        return MEMBERS

    def __getitem__(self, number: Any) -> Any:
        return self._all()[number]

    def __iter__(self) -> Iterator[Floats]:
        return iter(self._all())


def pick(ground: Ground, name: str, belief: Belief, waiting: Ints, want: int, turn: int) -> Picks:
    """Which of `waiting` (row numbers) to ask machine `name` about: those whose answers teach the student most."""
    function = plugins.load("acquire", ground.config.run.acquire)
    seed = ground.config.run.seed + turn
    seen = view(ground, name, belief, waiting, seed)
    try:
        picks: Picks = getattr(function, "pick", function)(seen, want, seed)
    except TypeError as error:
        if ":" not in ground.config.run.acquire:
            raise
        raise PluginError(
            f"run.acquire = {ground.config.run.acquire!r} could not be called as pick(view, n, seed): {error}"
        ) from error
    yard = ground.yard
    yard.batch = picks.by or ground.config.run.acquire, len(picks.rows)
    return Picks(waiting[picks.rows], picks.probabilities, picks.by)


def view(ground: Ground, name: str, belief: Belief, waiting: Ints, seed: int) -> PoolView:
    """The pool as strategies see it: candidates are `waiting`, labelled is what machines or people were heard on."""
    board, says, features = ground.board, ground.student_says, ground.features
    done = np.flatnonzero(board.machine[name].any | board.spoken)
    vectors = features is not None
    targets = np.where(board.spoken[done, None], board.words()[done], belief.machine[done])
    return PoolView(
        layout=ground.layout,
        probabilities=belief.posterior[waiting] if says is None else says[waiting],
        features=features[waiting] if vectors else None,
        labeled=features[done] if vectors else None,
        targets=targets.astype(np.float32),
        said=None if says is None else says[done],
        members=Voices(ground, waiting, seed) if says is not None and isinstance(ground.student, Members) else (),
        votes=_votes(ground, waiting),
        knowledge=_knowledge(ground, waiting),
        balance=ground.config.run.balance,
        history=history(ground),
        memory=ground.yard.memory,
        rows=waiting,
        labeled_rows=done,
    )


def _votes(ground: Ground, waiting: Ints) -> list[Floats]:
    """What each machine said of the candidates, rows of NaN where it was not heard; of those heard at all there."""
    out = []
    for machine in ground.machines:
        heard = ground.board.machine[machine.rung.name]
        here = heard.any[waiting]
        if not here.any():
            continue
        rows = waiting[here]
        mean = heard.logs[rows] / np.maximum(heard.soft[rows], 1)[:, None]
        hard = heard.counts[rows] / np.maximum(heard.hard[rows], 1)[:, None]
        said = np.where((heard.soft[rows] > 0)[:, None], ground.layout.normalise(mean.astype(np.float32)), hard)
        vote = np.full((len(waiting), ground.layout.width), np.nan, np.float32)
        vote[here] = said
        out.append(vote)
    return out


def _knowledge(ground: Ground, waiting: Ints) -> Floats | None:
    """What the student says before it is taught anything: names and whatever else the user told of the labels."""
    known = getattr(ground.student, "known", None)
    if known is None or ground.features is None:
        return None
    if ground.yard.knowledge is None:
        ground.yard.knowledge = known(ground.features).astype(np.float16)
    return ground.yard.knowledge[waiting].astype(np.float32)


def drawn(ground: Ground, rows: Ints) -> None:
    """Note items that were drawn at random, with what the student says of them before it hears the answers."""
    yard = ground.yard
    new = rows[~np.isin(rows, yard.rows)][: max(MOST - len(yard.rows), 0)]
    if len(new) == 0 or ground.student_says is None:
        return
    said = ground.student_says[new]
    yard.said = said if yard.said is None else np.concatenate([yard.said, said])
    yard.rows = np.concatenate([yard.rows, new])


def learnt(ground: Ground, belief: Belief) -> None:
    """The student was just taught: what the last batch was worth, on the yardstick."""
    yard, says, board = ground.yard, ground.student_says, ground.board
    if says is None:
        return
    if yard.said is not None and yard.batch is not None:
        known = (board.spoken | belief.machine_heard)[yard.rows]
        if (
            int(board.pilot[yard.rows].sum()) >= FEWEST
        ):  # twins speak of these before and after; of the others only after
            known = board.pilot[yard.rows]
        rows = yard.rows[known]
        if len(rows) >= FEWEST:
            truth = np.where(board.spoken[rows, None], board.words()[rows], belief.machine[rows])
            better = _loss(yard.said[known], truth, ground.layout) - _loss(says[rows], truth, ground.layout)
            by, labels = yard.batch
            error = float(better.std(ddof=1) / np.sqrt(len(rows)))
            yard.new = Tried(by, labels, float(better.mean()), error)
            history(ground).append(yard.new)
    yard.batch = None
    drawn(ground, np.flatnonzero(board.pilot))
    yard.said = says[yard.rows]


def _loss(said: Floats, truth: Floats, layout: Layout) -> Floats:
    """Cross-entropy of each row, summed over atoms; a row that says nothing of an atom loses nothing by it."""
    out: Floats = -(truth * np.log(np.maximum(said, 1e-4))).sum(axis=1)
    return out


def last(ground: Ground) -> dict[str, Any]:
    """What the batch before came to, for the ledger; nothing where nothing was measured in this turn."""
    new, ground.yard.new = ground.yard.new, None
    return {} if new is None else asdict(new)


def history(ground: Ground) -> list[Tried]:
    """What batches came to so far, earlier runs' too; grows in place."""
    if ground.yard.tried is None:
        told = [o["tried"] for o in ground.store.outcomes() if o.get("tried")]
        ground.yard.tried = [_read(one) for one in told]
    return ground.yard.tried


def _read(told: Mapping[str, Any]) -> Tried:
    return Tried(told["by"], int(told["labels"]), float(told["gain"]), float(told["error"]))
