"""How many answers a second an annotator gives at 1, 8 and 64 questions in flight. Asks for real; keeps nothing."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import Transient, TutelageError

if TYPE_CHECKING:
    from agent.types import Answer, Oracle, Prompt

LEVELS = (1, 8, 64)
ENGINE = 32
"""The one level of a model in this process."""
SECONDS = {1: 3.0, 8: 5.0, 32: 10.0, 64: 7.0}
"""The longest that each level may take."""
ANSWERS = {1: 12, 8: 48, 32: 96, 64: 256}
"""Answers after which a level is known well enough."""
PARDONED = 5
"""Troubles that may pass which a level bears."""
FULL = 0.9
"""The knee is the fewest in flight that reach this share of the best pace."""


@dataclass(frozen=True)
class Pace:
    """answers: level -> answers a second. `seconds`: of one answer alone. `tokens`: in and out, of all."""

    answers: dict[int, float]
    seconds: float
    asked: int
    tokens: int
    usd: float
    trouble: str = ""
    served: str = ""

    @property
    def knee(self) -> int:
        """The fewest in flight at which the endpoint is as good as full; 0 where nothing is known."""
        best = max(self.answers.values(), default=0.0)
        return next((level for level, found in self.answers.items() if found >= FULL * best > 0), 0)

    @property
    def words(self) -> str:
        """The figures in one line."""
        told = ", ".join(f"{_short(found)} answers/s at {level}" for level, found in self.answers.items())
        return f"{told} in flight" + ("" if max(self.answers) in (ENGINE, max(LEVELS)) else "; too slow to try more")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def most(levels: Sequence[int] = LEVELS) -> int:
    """Questions that are asked at the most."""
    return sum(ANSWERS[level] + level for level in levels)


def measure(oracle: Oracle, prompts: Sequence[Prompt], levels: Sequence[int] = LEVELS) -> Pace:
    """Ask `prompts`, over and over, level by level; takes at most 15 s and the time of one answer. Closes the oracle.

    An oracle in this process loads its weights at the first question, which is not counted.
    """
    return asyncio.run(_measure(oracle, prompts, levels))


async def _measure(oracle: Oracle, prompts: Sequence[Prompt], levels: Sequence[int]) -> Pace:
    heard: list[Answer] = []
    found: dict[int, float] = {}
    turn, trouble, alone = itertools.cycle(prompts), "", 0.0
    try:
        heard.append(await _first(oracle, turn))
        for level in levels:
            best = max(found.values(), default=float("inf"))
            if level > best * SECONDS[level]:
                break  # so many at once would not come back in time to be counted
            before, began = len(heard), time.perf_counter()
            found[level] = await _level(oracle, turn, level, heard)
            if level == 1:
                alone = (time.perf_counter() - began) / max(len(heard) - before, 1)
    except TutelageError as error:
        trouble = str(error)
    finally:
        await oracle.close()
    return Pace(
        answers=found,
        seconds=alone,
        asked=sum(max(a.requests, 1) for a in heard),
        tokens=sum(a.tokens_in + a.tokens_out for a in heard),
        usd=sum(a.usd for a in heard),
        trouble=trouble,
        served=heard[0].served_model if heard else "",
    )


async def _first(oracle: Oracle, turn: itertools.cycle[Prompt]) -> Answer:
    """One answer; a first trouble that may pass, such as one address of several that is down, is passed over."""
    try:
        return await oracle.answer(next(turn))
    except Transient:
        return await oracle.answer(next(turn))


async def _level(oracle: Oracle, turn: itertools.cycle[Prompt], level: int, heard: list[Answer]) -> float:
    """Answers a second with `level` in flight, all the time until the time is up or enough came."""
    began, trouble = time.perf_counter(), list[int]()
    until, enough, before = began + SECONDS[level], len(heard) + ANSWERS[level], len(heard)

    async def place() -> None:
        while time.perf_counter() < until and len(heard) < enough:
            try:
                heard.append(await oracle.answer(next(turn)))
            except Transient:
                trouble.append(1)
                if len(trouble) > PARDONED:
                    raise

    tasks = [asyncio.create_task(place()) for _ in range(level)]
    try:
        done, _ = await asyncio.wait(tasks, timeout=SECONDS[level], return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    return (len(heard) - before) / max(time.perf_counter() - began, 1e-6)
