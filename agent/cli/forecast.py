"""What a machine would take, told before it is asked: tokens, dollars, seconds, each from a low to a high guess.

Tokens are counted where that is free (a server near by with /tokenize), else estimated. Knows no ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.cli.asking import Asking, asking, best_labels, far, places, usd

if TYPE_CHECKING:
    from agent.cli.pilot import Measured
    from agent.config import Config, Rung
    from agent.types import Item, Prompt

CHARS_A_TOKEN = 4.0
"""A rough number for English; other languages take more tokens."""
SERVER_PACE, ENGINE_PACE = (1.0, 100.0), (1.0, 50.0)
"""Answers a second that are assumed of a server and of a model in this process, at worst and at best."""
QUICK = 2.0
"""Seconds that a count of tokens may take: a plan waits for nobody."""
FIRST, SHARE = 100, 20
"""With a student in the ladder the first machine is asked about so many at the least, or the pool's SHAREth part."""

LOOK = 25
"""Items that are rendered to estimate tokens and prices, spread over the pool."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Cost:
    """What a machine rung would be sent. `calls`, `answers`, `tokens`, `usd`: for every item, at the most.

    `each`: tokens of one question, `prefix`: of them shared by all, `counted`: where these numbers are from;
    `questions`, `dollars`, `seconds`: for this pool, from a low to a high guess.
    """

    name: str
    bar: float
    calls: int
    answers: int
    tokens: int
    usd: float
    template: str
    prompt: str
    each: float
    prefix: float
    counted: str
    questions: Range
    dollars: Range
    seconds: Range
    unpriced: str
    """The model, where what it costs is not known."""
    parts: float = 1.0
    """Questions that a text takes on average, where long ones are asked about in parts."""
    timed: bool = False
    """Whether the pace was measured."""
    limited: str = ""
    """The setting that slows it down, where one does."""


def sample(config: Config, limit: int | None) -> tuple[list[Item], int, int]:
    """Some items spread over the pool, how many there are, how many rows are none."""
    from agent import data
    from agent.errors import UserError
    from agent.loop.ground import source

    if config.pool.path == "-":
        raise UserError("a plan looks at the pool, and standard input can be read only once: put it into a file")
    every: list[Item] = []
    total = aside = 0
    step = 1
    for batch in data.read(source(config)):
        for row in batch:
            if not isinstance(row, data.Entry):
                aside += 1
            elif limit is None or total < limit:
                if total % step == 0:
                    every.append(row.item)
                total += 1
                if len(every) > 2 * LOOK:
                    every, step = every[::2], step * 2
    if not total:
        raise UserError(f"{config.pool.path}: no row can be labeled; `tutelage doctor` says why each was set aside")
    return every[:LOOK], total, aside


def cost(
    config: Config, rung: Rung, items: list[Item], total: int, first: bool, offline: bool, found: Measured | None
) -> Cost:
    """The most this rung can take (every item, every sample), and a guess at what it will; `first`: of the machines."""
    from agent.prompt import parts as parts_of

    made = asking(config, rung)
    prompts = made.prompts(items, best_labels(config, made, items))
    parts = sum(parts_of(made.mask.item(item), made.traits) for item in items) / len(items)
    calls = round(total * rung.samples * parts)
    rounds = 1 if _scored(config, made) else _rounds(rung.settings, prompts[0])
    asked = calls * rounds
    worst = sum(made.oracle.most(p).usd for p in prompts) / len(prompts) * calls
    each, prefix, counted = (None if offline else _count(made, prompts)) or _guess(prompts)
    if found is not None and found.tokens_in:
        prefix *= found.tokens_in / each
        each, counted = found.tokens_in, f"measured on {found.answered:,}"
    questions = _questions(config, rung, calls, first, found)
    seconds, limited = _limited(made, questions, min(rounds, 2), each, _seconds(made, questions, found))
    return Cost(
        name=rung.name,
        bar=config.goal.accuracy if rung.bar is None else rung.bar,
        calls=calls,
        answers=asked,
        tokens=round(each * asked),
        usd=worst,
        template=made.traits.template,
        prompt="\n".join(f"[{m.role}]\n{m.content}" for m in prompts[0].messages),
        each=each,
        prefix=prefix,
        counted=counted,
        questions=questions,
        dollars=_dollars(rung, worst / calls, each, questions, found),
        seconds=seconds,
        unpriced=str(getattr(made.oracle, "unpriced", "")),
        parts=parts,
        timed=found is not None and found.pace > 0,
        limited=limited,
    )


def _scored(config: Config, made: Asking) -> bool:
    """Whether the ledger holds answers with log-probabilities to just these questions: then no votes are needed."""
    from agent.cli.figures import opened
    from agent.errors import TutelageError

    try:
        with opened(config) as store:
            found = store.answers_since(0, [made.recipe])
    except TutelageError:
        return False  # there is no run yet
    return any(answer.logprobs and "votes" not in answer.flags for _, _, answer in found)


def _limited(made: Asking, questions: Range, requests: int, each: float, seconds: Range) -> tuple[Range, str]:
    """The time with the account's limits a minute, and the one that slows it down. `each`: tokens of a question."""
    traits, slowest = made.traits, ""
    low, high = seconds
    for name, limit, (least, most) in (
        ("requests_per_minute", traits.requests_per_minute, (1.0, float(requests))),
        ("tokens_per_minute", traits.tokens_per_minute, (each, each)),
    ):
        if limit and questions[1] * most * 60 / limit > high:
            slowest = f"{name} = {limit}"
        if limit:
            low = max(low, questions[0] * least * 60 / limit)
            high = max(high, questions[1] * most * 60 / limit)
    return (low, high), slowest


def _rounds(settings: Any, prompt: Prompt) -> int:
    """Answers a question may take at the most: with votes where it is not known that log-probabilities come."""
    votes = getattr(settings, "votes", None)
    wanted = getattr(settings, "logprobs", None)
    if not isinstance(votes, int) or wanted not in ("auto", "no") or prompt.question.many:
        return 1
    return 1 + votes if wanted == "auto" else votes


def _guess(prompts: Sequence[Prompt]) -> tuple[float, float, str]:
    chars = sum(len(m.content) for p in prompts for m in p.messages) / len(prompts)
    return chars / CHARS_A_TOKEN, len(prompts[0].prefix) / CHARS_A_TOKEN, "estimated"


def _count(made: Asking, prompts: Sequence[Prompt]) -> tuple[float, float, str] | None:
    """By the /tokenize of a server near by; None where there is none to be asked."""
    if far(made.rung) or getattr(made.plugin, "endpoints", None) is None or not places(made.rung.settings):
        return None
    return asyncio.run(_tokenized(made, prompts))


async def _tokenized(made: Asking, prompts: Sequence[Prompt]) -> tuple[float, float, str] | None:
    from agent.errors import TutelageError
    from agent.oracles._line import Line

    model, url = made.rung.settings.model, places(made.rung.settings)[0]
    numbers: list[int] = []
    try:
        async with Line(url, getattr(made.rung.settings, "api_key_env", None), QUICK, model) as line:
            for p in prompts:
                messages = [{"role": m.role, "content": m.content} for m in p.messages]
                found = await line.tokens({"model": model, "messages": messages})
                if found is None:
                    return None
                numbers.append(found)
            prefix = await line.tokens({"model": model, "prompt": prompts[0].prefix, "add_special_tokens": False})
    except TutelageError:
        return None
    return sum(numbers) / len(numbers), float(prefix or 0), "counted by its /tokenize"


def _questions(config: Config, rung: Rung, calls: int, first: bool, found: Measured | None) -> Range:
    """How many of the questions are put: a student spares the first machine some, a machine spares the next some."""
    student = config.rung[0].student is not None
    low = calls if first and not student else min(max(FIRST, calls // SHARE), calls) if first else 0
    high = calls
    if not first and found is not None and found.comes is not None:
        high = min(calls, round(found.comes * calls))
    return float(min(low, high)), float(high)


def _dollars(rung: Rung, worst: float, each: float, questions: Range, found: Measured | None) -> Range:
    """`worst`: the most one question can cost; half of it is a guess where prices are not by the token."""
    if found is not None and found.answered:
        return questions[0] * found.usd, questions[1] * found.usd
    low = usd(rung, each, 1) if places(rung.settings) else worst / 2
    return questions[0] * min(low, worst), questions[1] * worst


def _seconds(made: Asking, questions: Range, found: Measured | None) -> Range:
    if found is not None and found.pace:
        return questions[0] / found.pace, questions[1] / found.pace
    if not made.oracle.traits.calibrate:
        return 0.0, 0.0  # recorded or scripted answers
    slow, fast = SERVER_PACE if places(made.rung.settings) else ENGINE_PACE
    return questions[0] / fast, questions[1] / slow
