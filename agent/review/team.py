"""Each person's own figures: how much, how fast, how often unsure, how they agree with others. Ranks nobody.

Only blind answers say how fast somebody is and how they agree; the owner sees everybody's, all others their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from agent import agreement, opinions, prompt
from agent.pool import Pool
from agent.store import Store
from agent.types import Answer, Call, Kind, Task, Value

PAUSE = 300.0
"""Seconds between two answers from which on somebody was away."""
FEW = 10
"""Answers from which a median or a pace is told."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How often this person said `own` where another one said `other`."""

    own: str
    other: str
    count: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One person's. answers: all that stand; unsure: of these "cannot tell"; beside: given beside a machine's label.

    seconds: median time of a blind answer; pace: answers an hour while somebody was there; None: too few.
    doubled: items that others answered, too, as far as `opinions.counted` counts them; share: how often another one of
    them says the same there, with Wilson's interval; None: there is none. mixed: where they differ, most often first.
    """

    name: str
    role: str
    answers: int
    unsure: int
    beside: int
    settled: int
    seconds: float | None
    pace: float | None
    doubled: int
    share: tuple[float, float, float] | None
    mixed: tuple[Mix, ...]


def figures(store: Store, pool: Pool, task: Task, kind: Kind) -> list[Figures]:
    """Everybody's who was named or has answered, by name."""
    recipe = prompt.person_recipe(task)
    others = (prompt.second_recipe(recipe), prompt.extra_recipe(recipe))
    settled = prompt.settled_recipe(recipe)
    by: dict[str, list[tuple[Call, Answer]]] = {}
    for _, call, answer in store.answers_since(0, [recipe, *others, settled]):
        copied = call.recipe == recipe and opinions.marked(answer, opinions.SETTLED)
        if answer.who and not copied:
            by.setdefault(answer.who, []).append((call, answer))
    clock: dict[str, list[float]] = {}
    for closing in store.review.clocked(0, 0, [recipe, *others]).closings:
        if closing.status == "ok" and closing.who and closing.seconds > 0 and not closing.carried:
            clock.setdefault(closing.who, []).append(closing.at)
    twice, _ = opinions.counted(store, recipe)
    said = opinions.labels(twice, kind, task, lambda one: pool.item(pool.position(one)))
    roles = {one.name: one.role for one in store.review.people().values()}
    return [
        _figures(name, roles.get(name, ""), by.get(name, []), clock.get(name, []), said, settled)
        for name in sorted({*roles, *by})
    ]


def _figures(
    name: str,
    role: str,
    answers: Sequence[tuple[Call, Answer]],
    clock: Sequence[float],
    said: Mapping[str, Mapping[str, Value | None]],
    settled: str,
) -> Figures:
    own = [answer for call, answer in answers if call.recipe != settled]
    times = [answer.seconds for answer in own if opinions.blind(answer) and answer.seconds > 0]
    same, items, mixed = 0.0, 0, Counter[tuple[str, str]]()
    for words in said.values():
        mine, rest = words.get(name), [word for who, word in words.items() if who != name and word is not None]
        if mine is None or not rest:
            continue
        items += 1
        same += sum(word == mine for word in rest) / len(rest)
        mixed.update((_plain(mine), _plain(word)) for word in rest if word != mine)
    return Figures(
        name=name,
        role=role,
        answers=len(own),
        unsure=sum(answer.unsure for answer in own),
        beside=sum(opinions.marked(answer, opinions.ASSISTED) for answer in own),
        settled=len(answers) - len(own),
        seconds=median(times) if len(times) >= FEW else None,
        pace=pace(clock),
        doubled=items,
        share=(same / items, *agreement.wilson(same, items)) if items else None,
        mixed=tuple(Mix(*pair, count) for pair, count in sorted(mixed.items(), key=lambda one: (-one[1], one[0]))),
    )


def pace(clock: Sequence[float]) -> float | None:
    """Answers an hour, from when they were given (unix seconds, in order); the time between sittings does not count."""
    gaps = [b - a for a, b in pairwise(clock) if 0 <= b - a <= PAUSE]
    return 3600 * len(gaps) / sum(gaps) if len(gaps) >= FEW and sum(gaps) > 0 else None


def _plain(value: Value) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none of these"
