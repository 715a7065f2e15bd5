"""What people's answers are worth in this run, for choosing questions and for the queue. Looks at no audit answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent import aggregate, voi
from agent.belief import Belief
from agent.loop.ground import Ground
from agent.types import Call, Doubles, Ints

MOVED = 0.02
"""A worth is written again when it moved by more than this share."""


def in_turn(ground: Ground, belief: Belief, rows: Ints, want: int) -> list[int]:
    """`rows` in the order in which people are to be asked about them; the first `want` each by what it is worth after
    those before it, the others by their own worth."""
    worth, like = _worth(ground, belief, rows)
    first, _ = voi.in_turn(worth, rows, ground.likest, like, want)
    rest = np.argsort(-worth, kind="stable")
    rest = rest[~np.isin(rest, first)]
    order: list[int] = rows[np.concatenate([first, rest])].tolist()
    return order


def worths(ground: Ground, belief: Belief, rows: Ints) -> list[tuple[int, float, int]]:
    """(row, what an answer is worth, the row that leads its likes), in the order of worth.

    Each is worth what it is by itself: likes that are answered one after the other are for the queue to place.
    """
    worth, like = _worth(ground, belief, rows)
    places = np.argsort(-worth, kind="stable")
    leads = voi.leaders(rows[places], ground.likest, None if like is None else like[places])
    return list(zip(rows[places].tolist(), worth[places].tolist(), leads.tolist(), strict=True))


def write(ground: Ground, belief: Belief, calls: Sequence[Call], turn: int) -> None:
    """Write what an answer to each of these open questions is worth, with the leader of its likes, where that changed.

    The pilot and the audit are asked in the order of the draw: theirs are left out.
    """
    ids, known = ground.pool.ids, ground.yard.worths
    rows = np.array([ground.pool.position(call.item) for call in calls if call.purpose == "escalation"], np.int64)
    told = [(ids[i], value, ids[lead]) for i, value, lead in worths(ground, belief, np.unique(rows[rows < ground.n]))]
    new = [row for row in told if _differs(known.get(row[0]), row[1], row[2])]
    ground.store.review.add_worths(turn, new)
    known.update({item: (value, leader) for item, value, leader in new})


def _differs(before: tuple[float, str] | None, value: float, leader: str) -> bool:
    return before is None or before[1] != leader or abs(before[0] - value) > MOVED * max(before[0], value)


def _worth(ground: Ground, belief: Belief, rows: Ints) -> tuple[Doubles, Doubles | None]:
    """What an answer about each of `rows` is worth, and how like its likest are, where that is known."""
    board, layout = ground.board, ground.layout
    alone = aggregate.choices(belief.without_people, layout)
    # Audit items that were opened repair, too, but nothing here may rest on what they said.
    answered = board.people.answered
    doubt = np.where(answered, 1 - aggregate.confidence(belief.without_people, layout), 1 - belief.confidence)
    wrong = (alone != aggregate.choices(board.people.said, layout)).any(axis=1)
    label = np.unique(alone, axis=0, return_inverse=True)[1].ravel()
    chance = voi.chance(doubt, label, answered, wrong)
    like = None
    if ground.likest is not None and ground.features is not None:
        like = voi.likeness(ground.features, ground.likest, rows)
    settled = board.people.answered | board.people.unsure
    return voi.value(chance, rows, ground.likest, like, settled, _labels(ground)), like


def _labels(ground: Ground) -> Ints | None:
    """(n,) how many labels an answer settles: the item's own and those of its near-duplicates; None: one each."""
    first = ground.board.first
    if first is None:
        return None
    out: Ints = np.bincount(first, minlength=ground.n)[first]
    return out
