"""What `doctor` learns of one chat server, and what it is asked with. Holds facts only; sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.types import Item, Message, Option, Part, Prompt, Question

Verdict = Literal["obeyed", "ignored", "refused", ""]


@dataclass
class Facts:
    """What was found of one endpoint; None, "" or empty where it could not be found out.

    context: tokens. top: log-probabilities listed beside each token, at the most. exact: those of named tokens come
    (`logprob_token_ids`). mass: probability of all option codes together. mode: of log-probabilities under a
    constraint. cached, prompt: tokens of the second of two questions with one prefix, and those the server had kept.
    enough: max_tokens that let it answer. codes: option code -> tokens of it bare and after a space. words: label ->
    its number of tokens. spread: largest difference of a log-probability between two same questions. drawn: answers
    given to n = 2. chars: characters of the question that `prompt` counts.
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
    key_env: str
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
