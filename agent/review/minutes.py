"""How many more minutes people will be wanted, from the ledger. Knows counts and clocks; never what an answer says.

Wanted are the questions that are open, and the repairs that the last turn still expected. They are multiplied by the
median time of this run's answers, and shared among those who answered in the last quarter of an hour. It is a guess,
told as a range; nothing is decided by it.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any
from weakref import WeakKeyDictionary

from agent import prompt
from agent.claim import person_recipe
from agent.config import Config
from agent.store import Store
from agent.store.about import Closing

ACTIVE = 900.0
"""Seconds for which somebody who answered counts as being there."""
ENOUGH = 10
"""Answers from which their median says more than the assumed seconds of the person rung."""
LEAST, UNKNOWN = 0.15, 0.4
"""The range is at least so much to either side, for people tire and the texts to come are others; and before there are
enough answers."""
DONE = 0
"""The exit code of a run that came to its end."""


@dataclass(frozen=True, slots=True)
class Minutes:
    """low, high: minutes on the clock until nothing is wanted of people; answers: that are wanted, at the most;
    people: who share them; words: the same as a sentence; open: open questions; done: answers that stand."""

    low: float
    high: float
    answers: int
    people: int
    words: str
    open: int = 0
    done: int = 0


@dataclass
class Clock:
    """What was read of one ledger so far, so that only what is new is read.

    `open`: keys of open questions; `repairs`: turn -> repairs reserved in it; `by`: key -> who answered it; `took`: key
    -> seconds; `seconds`: the same, sorted; `active`: name -> when they last answered; `expected`: answers that the
    last turn expected, from `turn` on; `certified`: as of which answer the goal is certified, -1 where it is not.
    """

    recipes: tuple[str, str]
    marks: tuple[int, ...] = (-1,) * 5
    calls: int = 0
    answers: int = 0
    open: set[str] = field(default_factory=set)
    repairs: dict[int, int] = field(default_factory=dict)
    by: dict[str, str] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    active: dict[str, float] = field(default_factory=dict)
    expected: tuple[int, int] = (0, 0)
    turn: int = 0
    certified: int = -1


_clocks: WeakKeyDictionary[Store, Clock] = WeakKeyDictionary()
_one_at_a_time = threading.Lock()


def left(store: Store, config: Config, now: float) -> Minutes:
    """How long people will be wanted as of `now` (unix seconds). Reads only what the ledger got since the last call."""
    if config.person is None:
        return Minutes(0, 0, 0, 0, "this run asks no people")
    with _one_at_a_time:
        clock = _clock(store, config)
        people = max(sum(now - at <= ACTIVE for at in clock.active.values()), 1)
        repairs = sum(count for turn, count in clock.repairs.items() if turn >= clock.turn)
        wanted = [len(clock.open) + max(expected - repairs, 0) for expected in clock.expected]
        seconds = pace(clock.seconds, float(config.person.settings.seconds))
        certified = clock.certified >= clock.answers
        found = told(len(clock.open), (wanted[0], wanted[1]), seconds, people, certified, config.goal.accuracy)
        return replace(found, done=len(clock.by))


def own(store: Store, config: Config, who: str) -> tuple[int, float]:
    """How many answers of this person stand, and the median of their seconds; 0 where none was timed."""
    if config.person is None:
        return 0, 0.0
    with _one_at_a_time:
        clock = _clock(store, config)
        keys = [key for key, name in clock.by.items() if name == who]
        timed = [clock.took[key] for key in keys if key in clock.took]
        return len(keys), median(timed) if timed else 0.0


def _clock(store: Store, config: Config) -> Clock:
    recipe = person_recipe(config)
    recipes = (recipe, prompt.second_recipe(recipe))
    clock = _clocks.get(store)
    if clock is None or clock.recipes != recipes:  # labels or question have changed: other questions count
        clock = _clocks[store] = Clock(recipes)
    _read(store, clock)
    return clock


def pace(seconds: Sequence[float], assumed: float) -> tuple[float, float]:
    """From which to which time an answer is expected to take. `seconds`: of the answers so far, sorted.

    The 95 % interval of the median by order statistics (its ends are the answers at ranks n/2 ∓ 0.98 √n), widened.
    """
    n = len(seconds)
    if n < ENOUGH:
        return assumed * (1 - UNKNOWN), assumed * (1 + UNKNOWN)
    middle = (seconds[(n - 1) // 2] + seconds[n // 2]) / 2
    reach = 0.98 * math.sqrt(n)
    low, high = seconds[max(math.floor(n / 2 - reach), 0)], seconds[min(math.ceil(n / 2 + reach), n - 1)]
    return min(low, middle * (1 - LEAST)), max(high, middle * (1 + LEAST))


def told(
    open_: int, wanted: tuple[int, int], seconds: tuple[float, float], people: int, certified: bool, goal: float
) -> Minutes:
    """The same from its parts. open_: open questions; wanted: answers, at least and at most; seconds: an answer's."""
    low, high = (count * each / 60 / people for count, each in zip(wanted, seconds, strict=True))
    if certified:
        rest = f"; {_things(open_, 'question')} {'is' if open_ == 1 else 'are'} still open" if open_ else ""
        words = f"the certificate is there: {100 * goal:g} % is certified{rest}"
    elif not wanted[1]:
        words = "nothing waits for people now; the run goes on with what they said"
    else:
        count = _things(wanted[1], "answer")
        shared = f", shared by {people:,} people" if people > 1 else ""
        words = f"{span(low, high)} more to the certificate: {'up to ' * (wanted[0] < wanted[1])}{count}{shared}"
    return Minutes(low, high, wanted[1], people, words, open_)


def span(low: float, high: float) -> str:
    """A range of minutes as one would say it: rounded outwards to numbers that people use."""
    if high <= 1:
        return "about a minute"
    step, unit, name = next((s, u, w) for most, s, u, w in STEPS if high <= most)
    first, last = math.floor(low / step) * step / unit, math.ceil(high / step) * step / unit
    if first <= 0:
        return f"up to {last:g} {name}"
    return f"about {first:g} {name}" if first == last else f"about {first:g} to {last:g} {name}"


STEPS = ((10, 1, 1, "minutes"), (60, 5, 1, "minutes"), (180, 10, 1, "minutes"), (math.inf, 30, 60, "hours"))
"""Up to so many minutes: rounded to, told in units of, called."""


def _things(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _read(store: Store, clock: Clock) -> None:
    if store.review.marks() == clock.marks:
        return
    news = store.review.clocked(clock.calls, clock.answers, clock.recipes)
    for number, key, purpose, turn in news.questions:
        clock.calls = number
        clock.open.add(key)
        if purpose == "escalation":
            clock.repairs[turn] = clock.repairs.get(turn, 0) + 1
    _answers(clock, news.closings)
    marks = news.marks
    if marks[3] != clock.marks[3]:
        _expected(clock, store.outcomes())
    if marks[4] != clock.marks[4]:
        clock.certified = next((_of(c["body"]) for c in reversed(store.certificates())), -1)
    clock.marks = marks


def _answers(clock: Clock, closings: Sequence[Closing]) -> None:
    for closing in closings:
        clock.answers = closing.seq
        clock.open.discard(closing.key)
        clock.by.pop(closing.key, None)
        before = clock.took.pop(closing.key, None)
        if before is not None:
            del clock.seconds[bisect_left(clock.seconds, before)]
        if closing.status == "ok":
            clock.by[closing.key] = closing.who
            if not closing.carried:
                clock.active[closing.who] = max(closing.at, clock.active.get(closing.who, 0.0))
            if closing.seconds > 0 and not closing.assisted:
                clock.took[closing.key] = closing.seconds
                insort(clock.seconds, closing.seconds)


def _expected(clock: Clock, outcomes: Sequence[Mapping[str, Any]]) -> None:
    """A run that came to its end expects nothing; else what the last turn said before it asked."""
    if outcomes and outcomes[-1].get("code") == DONE:
        clock.expected, clock.turn = (0, 0), int(outcomes[-1]["turn"])
        return
    last = next((o for o in reversed(outcomes) if "people_expected" in o and not o.get("final")), None)
    if last is not None:
        low, high = last["people_expected"]
        clock.expected, clock.turn = (int(low), int(high)), int(last["turn"])


def _of(body: Mapping[str, Any]) -> int:
    """Up to which answer a certificate that reached its goal has read; -1 where it did not."""
    return int(body["extra"].get("answers_up_to", -1)) if body["met"] else -1
