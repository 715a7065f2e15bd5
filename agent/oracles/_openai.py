"""The keys of a rung with oracle = "openai", and what cannot be. Knows no wire, no prompt, no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.oracles import _bodies, _reach


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with oracle = "openai".

    model: the model's name at the server.
    base_url: where the server is, with its version path ("…/v1"); or a list of such, all with the same model.
    api_key_env: the environment variable that holds the key. None reads OPENAI_API_KEY for OpenAI's own hosts and
        AZURE_OPENAI_API_KEY for Azure's, and sends none on this machine or a private network; others must name it.
    azure_api_version: for Azure OpenAI; base_url is then the resource, and model the deployment.
    in_flight: questions asked at once.
    requests_per_minute, tokens_per_minute: limits of your account; None is none.
    temperature: of the one asked answer; votes are drawn at .7.
    max_tokens: most tokens an answer may have; for kind multi it is raised to 8 for each option.
    logprobs: "auto" reads them where they are given, "yes" insists, "no" counts votes at once.
    votes: answers drawn for one question where there are no log-probabilities.
    structured: "auto" asks the server to allow options only, where it is known to help; "no" never does.
    extra: fields added to every request, such as {reasoning_effort = "none"}.
    usd_per_mtok_in, usd_per_mtok_out: US dollars per million tokens; None looks into the table of known prices, and is
        0 for private addresses.
    deadline: seconds one request may take in all.
    template: prompt template, one of ours or a path.
    max_chars: characters of an item that are shown; of a longer one the middle is left out.
    may_train_student: whether the provider's terms allow to train on the answers.
    revision: a word of your own; change it to have everything asked again, as after new weights under an old name.
    pin: pause when another model answers than did at first; else it is said once and such answers are flagged.
    """

    model: str
    base_url: str | tuple[str, ...] = "https://api.openai.com/v1"
    api_key_env: str | None = None
    azure_api_version: str = ""
    in_flight: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    temperature: float = 0.0
    max_tokens: int = 16
    logprobs: Literal["auto", "yes", "no"] = "auto"
    votes: int = 5
    structured: Literal["auto", "no"] = "auto"
    extra: Mapping[str, Any] = field(default_factory=dict)
    usd_per_mtok_in: float | None = None
    usd_per_mtok_out: float | None = None
    deadline: float = 60.0
    template: str = "codes.j2"
    max_chars: int = 6_000
    may_train_student: bool = True
    revision: str = ""
    pin: bool = False

    def __post_init__(self) -> None:
        _reach.check(self)
        if not min(self.max_tokens, self.votes) > 0:
            raise ValueError("max_tokens and votes must be more than 0")
        if taken := sorted(_bodies.OURS & set(self.extra)):
            raise ValueError(f"extra.{taken[0]} cannot be set: it is decided question by question")
        try:
            json.dumps(dict(self.extra))
        except (TypeError, ValueError):
            raise ValueError("extra holds a value that is no JSON (a date?): write it as text") from None

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses."""
        return _reach.urls(self)

    @property
    def recipe(self) -> dict[str, str]:
        """What could change an answer. Not the address: a model that moves is still the same."""
        names = ("model", "revision", "temperature", "max_tokens", "logprobs", "votes", "structured", "max_chars")
        found = {name: str(getattr(self, name)) for name in names}
        if self.logprobs == "yes":
            found["logprobs"] = "auto"  # both read the same where there is something to read
        return found | ({"extra": repr(sorted(self.extra.items()))} if self.extra else {})
