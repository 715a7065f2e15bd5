"""Made-up questions put to a rung as a run puts them: are they answered by an option? Asks for real; keeps nothing.

Also: the cause and the mend in an error's words.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import CallFailed, Transient, TutelageError, Unparsable

if TYPE_CHECKING:
    from agent.cli.asking import Asking
    from agent.types import Answer, Prompt

TRIES, WAIT = 3, 1.0
"""How often a question is put where a trouble comes that may pass, and the seconds in between at the most."""

PUT = 4
"""Requests that putting two questions takes, as a rule."""
NO_SHARE = 0.005
"""An engine that decides and gives all options less than this together has decided about something else."""

CAUSES = {
    "cannot take the question now": "wait until it can, then run doctor again",
    "refuses the question": "see that model, extra and max_tokens are what this server takes",
    "answers nothing": "see that it is a model for chats, or raise max_tokens",
    "(deadline)": "see why it takes so long, or raise deadline",
}
"""The mend for an error that names none, by words in it."""
MEND = "correct base_url, model or api_key_env of this rung, or start its server"
GAP = re.compile(r"; (?=start)|: (?![^(]*\))")
"""Between what went wrong and what to do; a colon in brackets stands between a status and its name."""


@dataclass(frozen=True)
class Heard:
    """asked, read: questions put, and those answered by an option; spread: with a share for each option.

    mass: the least share that the options held together as the rung reads it, None if not told; trouble: why no answer
    came; down: for good.
    """

    asked: int = 0
    read: int = 0
    spread: int = 0
    mass: float | None = None
    served: str = ""
    trouble: str = ""
    down: bool = False
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


def parted(message: str) -> tuple[str, str]:
    """What went wrong, and the mend for just that."""
    finding, *rest = GAP.split(message, maxsplit=1)
    if rest:
        return finding, rest[0]
    return message, next((mend for sign, mend in CAUSES.items() if sign in message), MEND)


def hear(made: Asking, prompts: Sequence[Prompt]) -> Heard:
    """Put each question as a run would; what went wrong is in `trouble`. Closes the oracle."""
    return asyncio.run(_hear(made, prompts))


async def _hear(made: Asking, prompts: Sequence[Prompt]) -> Heard:
    answers: list[tuple[Prompt, Answer]] = []
    trouble, down = "", False
    try:
        for prompt in prompts:
            try:
                answers.append((prompt, await _patient(made, prompt)))
            except CallFailed as error:
                trouble = str(error)
    except TutelageError as error:
        trouble, down = str(error), not isinstance(error, Transient)
    finally:
        await made.oracle.close()
    told = [answer for _, answer in answers]
    shares = [float(flag[5:]) for answer in told for flag in answer.flags if re.fullmatch(r"mass=[0-9.]+", flag)]
    spread = sum(answer.logprobs is not None for answer in told)
    return Heard(
        asked=len(prompts),
        read=sum(_readable(made, prompt, answer) for prompt, answer in answers),
        spread=spread,
        mass=min(shares, default=1.0 if spread else None),
        served=told[0].served_model if told else "",
        trouble=trouble,
        down=down,
        requests=sum(max(answer.requests, 1) for answer in told),
        tokens_in=sum(answer.tokens_in for answer in told),
        tokens_out=sum(answer.tokens_out for answer in told),
    )


async def _patient(made: Asking, prompt: Prompt) -> Answer:
    """The answer; after several troubles that may pass the first of them is raised, which says most."""
    first: Transient | None = None
    for _ in range(TRIES):
        try:
            return await made.oracle.answer(prompt)
        except Transient as error:
            first = first or error
            await asyncio.sleep(min(error.after or WAIT, WAIT))
    assert first is not None
    raise first


def _readable(made: Asking, prompt: Prompt, answer: Answer) -> bool:
    try:
        return made.kind.parse(made.task, prompt.question, answer) is not None
    except Unparsable:
        return False
