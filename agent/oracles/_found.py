"""What `doctor` learns of one chat server, what it is asked with, and how replies are read. Sends nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.oracles import EDGES
from agent.oracles._line import Seen
from agent.types import Item, Message, Option, Part, Prompt, Question

NEVER = -50.0
"""A log-probability below this is none."""
IMPOSSIBLE = "Q7"
"""A choice that no model makes of itself: who answers it obeys."""
Verdict = Literal["obeyed", "ignored", "refused", ""]


@dataclass
class Facts:
    """What was found of one endpoint; None, "" or empty where it could not be found out.

    context: tokens. top: log-probabilities listed beside each token, at the most. exact: those of named tokens come
    (`logprob_token_ids`). mass: probability of all option codes together. mode: whether log-probabilities change with
    the temperature. cached, prompt: tokens of the second of two questions with one prefix, and those the server had
    kept. enough: max_tokens that let it answer. codes: option code -> tokens of it bare and after a space. words:
    label -> its number of tokens. spread: largest difference of a log-probability between two same questions. drawn:
    answers given to n = 2. chars: characters of the question that `prompt` counts.
    """

    url: str
    trouble: str = ""
    """Why it cannot be used; the rest is then empty."""
    answers: bool = False
    server: str = ""
    version: str = ""
    listed: tuple[str, ...] = ()
    served: str = ""
    changed: tuple[str, ...] = ()
    """Other models that answered some of the questions."""
    right: bool = False
    """The answer was one of the codes."""
    seconds: float = 0.0
    context: int | None = None
    context_from: str = ""
    top: int = 0
    exact: bool = False
    mass: float | None = None
    mode: Literal["raw", "processed", ""] = ""
    masked: bool | None = None
    """What a constraint forbids loses its log-probability, so that the options always hold all of it."""
    enforced: dict[str, Verdict] = field(default_factory=dict)
    prompt: int | None = None
    chars: int = 0
    cached: int | None = None
    cached_from: str = ""
    reasoning: str = ""
    reasoning_tokens: int = 0
    enough: int | None = None
    quiet: dict[str, Any] = field(default_factory=dict)
    """Fields with which it does not think."""
    codes: dict[str, tuple[int, int]] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)
    same: bool | None = None
    spread: float | None = None
    drawn: int = 0
    seeded: Verdict = ""
    refused: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    """Experiments that broke off."""
    limits: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Asked:
    """What the rung asks with. `told`: two questions of one recipe, about made-up texts."""

    model: str
    key_env: str | None
    max_tokens: int
    deadline: float
    told: tuple[Prompt, Prompt]
    labels: tuple[str, ...] = ()
    azure: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the rung adds to every request."""


def made_up() -> tuple[Prompt, Prompt]:
    """Two questions with one prefix, for a rung without a task."""
    system = Message("system", "Answer with the letter A or B and nothing else.")
    options = (Option("A", "greeting"), Option("B", "farewell"))
    texts = ("Good morning!", "See you tomorrow!")
    return tuple(  # type: ignore[return-value]
        Prompt(
            text,
            Question(Item(text, (Part("text/plain", text),)), options),
            (system, Message("user", f"A: greeting\nB: farewell\nWhich letter fits this text?\n{text}")),
        )
        for text in texts
    )


def obeys(text: str) -> bool:
    if text.strip().strip('"') == IMPOSSIBLE:
        return True
    try:
        return bool(json.loads(text).get("answer") == IMPOSSIBLE)
    except (ValueError, AttributeError):
        return False


def covers(seen: Seen, options: Sequence[Option]) -> bool:
    """Whether, unasked for the likeliest ones, every code's log-probability came."""
    listed = {name.strip(EDGES) for token in seen.tokens for name in token.others}
    return all(option.code in listed for option in options)


def mass(seen: Seen, options: Sequence[Option]) -> float | None:
    """Probability of all codes together, where the answer begins; None where no token of it is told."""
    said = [token for token in seen.tokens if token.text.strip(EDGES)]
    if not said:
        return None
    codes, listed = {option.code for option in options}, {said[0].text: said[0].logprob, **said[0].others}
    return min(sum(math.exp(value) for text, value in listed.items() if text.strip(EDGES) in codes), 1.0)


def gap(seen: Seen) -> float:
    """The distance between the two likeliest first tokens."""
    best = sorted(seen.tops[0].values(), reverse=True) if seen.tops else []
    return best[0] - best[1] if len(best) > 1 else 0.0
