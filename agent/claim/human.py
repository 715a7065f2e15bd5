"""How far people differ from one another: audited items put to a second person. Knows questions and answers; no bound.

Second questions have a recipe of their own, so that nothing that makes or measures labels ever reads their answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent import prompt
from agent.certify import human
from agent.certify.draw import salted
from agent.types import Call, Kind, Stream, Task, Value


def questions(recipe: str, items: Sequence[str], turn: int, purpose: Stream = "audit") -> list[Call]:
    """Second questions about items of a stream; those that are there already are not put again."""
    second = prompt.second_recipe(recipe)
    return [Call(prompt.key(second, item, 0), second, item, "person", 1, purpose, turn=turn) for item in items]


def overlapped(seed: int, item: str, share: float) -> bool:
    """Whether an item is one of the `share` of all that are put to a second person, should they be asked about.

    By its own hash, apart from that of the draw: nothing that anybody said of it, nor why it is asked, has a part in
    it. So those among the audit are a random sample of the audit, as those of `goal.audit_twice` are.
    """
    drawn = next(salted("overlap", seed, [item]))
    return int.from_bytes(drawn[:8], "big") < share * 2**64


def compare(pairs: Sequence[tuple[Value | None, Value | None]], kind: Kind, task: Task, delta: float) -> dict[str, Any]:
    """The bound on people's own mistakes, from pairs of what two of them said; None: could not tell, which differs.

    Empty: nothing was put to a second person.
    """
    if not pairs:
        return {}
    differ = sum(_apart(one, two, kind, task) for one, two in pairs)
    found = human.at_most(len(pairs), differ, delta)
    return {"doubled": found.doubled, "differ": differ, "at_most": found.at_most, "risk": found.delta}


def ruled(pairs: Sequence[tuple[Value | None, Value | None, Value | None]], kind: Kind, task: Task) -> dict[str, int]:
    """What became of the pairs that differ: how many a third person settled, in how many of these the first answer was
    overruled. Told beside the bound, which it does not change. Empty: none was settled.

    pairs: (first, second, last word); None: could not tell, or nobody has settled it.
    """
    settled = [(one, last) for one, two, last in pairs if last is not None and _apart(one, two, kind, task)]
    if not settled:
        return {}
    return {"settled": len(settled), "overruled": sum(_apart(one, last, kind, task) for one, last in settled)}


def _apart(one: Value | None, two: Value | None, kind: Kind, task: Task) -> bool:
    return one is None or two is None or kind.loss(task, one, two) > 0
