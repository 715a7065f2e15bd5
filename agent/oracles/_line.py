"""Bare requests to one chat server, for `doctor`: each with its status, headers and body as they came, and a tally.

Unlike the oracles' wire it hides nothing: what a server refuses, ignores or adds is what is looked for. No redirect is
followed, nothing is retried. Knows no question.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from agent.errors import TutelageError
from agent.oracles import Token, _faults, _keys
from agent.oracles._door import door
from agent.oracles._http import Cut, Http


@dataclass(frozen=True)
class Seen:
    """What came back. `body` is {} where it is no JSON object."""

    status: int
    headers: Mapping[str, str]
    text: str
    body: Mapping[str, Any]

    @property
    def good(self) -> bool:
        return self.status == 200 and not self.body.get("error") and bool(self.choices)

    @property
    def choices(self) -> list[Mapping[str, Any]]:
        listed = self.body.get("choices")
        return [c for c in listed if isinstance(c, Mapping)] if isinstance(listed, list) else []

    @property
    def message(self) -> Mapping[str, Any]:
        found = self.choices[0].get("message") if self.choices else None
        return found if isinstance(found, Mapping) else {}

    @property
    def said(self) -> str:
        """The first answer's text."""
        content = self.message.get("content")
        return content if isinstance(content, str) else ""

    @property
    def texts(self) -> list[str]:
        found = [(c.get("message") or {}).get("content") for c in self.choices]
        return [text for text in found if isinstance(text, str)]

    def used(self, *names: str) -> int | None:
        """A count of `usage`, by its path; None where it is not told."""
        at: Any = self.body.get("usage")
        for name in names:
            at = at.get(name) if isinstance(at, Mapping) else None
        return at if isinstance(at, int) and not isinstance(at, bool) else None

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The first answer's tokens with their log-probabilities; those that are not as documented are passed over."""
        logprobs = self.choices[0].get("logprobs") if self.choices else None
        content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
        out = []
        for entry in content if isinstance(content, list) else []:
            if (pair := _pair(entry)) is not None:
                others = entry.get("top_logprobs")
                listed = [_pair(other) for other in others] if isinstance(others, list) else []
                out.append(Token(*pair, dict(other for other in listed if other)))
        return tuple(out)

    @property
    def tops(self) -> list[dict[str, float]]:
        """For each token of the answer, the listed tokens with their log-probabilities, itself among them."""
        return [{token.text: token.logprob, **token.others} for token in self.tokens]


def _pair(entry: Any) -> tuple[str, float] | None:
    value = entry.get("logprob") if isinstance(entry, Mapping) else None
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    return str(entry.get("token")), min(float(value), 0.0)


class Line:
    """An open line to one server; use it as an async context. Counts what was asked and what the server says it took.

    deadline: seconds one request may take in all. azure: the version of Azure's interface, "" for others.
    """

    def __init__(self, url: str, key_env: str | None, deadline: float, model: str = "", azure: str = "") -> None:
        self.url, self.key_env, self.deadline = url, key_env, deadline
        self.requests = self.tokens_in = self.tokens_out = 0
        self._model, self._azure = model, azure
        self._http = Http(deadline)

    async def __aenter__(self) -> Line:
        key = _keys.key(self.url, self.key_env, _faults.where(self.url))
        self._door = door(self.url, key or "none", self._model, self._azure)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def chat(self, body: Mapping[str, Any]) -> Seen:
        """One chat completion, whatever the server says to it."""
        seen = await self.send("POST", self._door.base + "/chat/completions" + self._door.query, body)
        self.requests += 1
        self.tokens_in += seen.used("prompt_tokens") or 0
        self.tokens_out += seen.used("completion_tokens") or 0
        return seen

    async def get(self, path: str, root: bool = False) -> Seen:
        """Something of the server's that costs nothing. `root`: beside its version path, not under it."""
        return await self.send("GET", (self._door.root if root else self._door.base) + path + self._door.query)

    async def better(self) -> str:
        """The mend where another address of the same server lists models, as this one does not; "" if none does."""
        plain = re.sub(r"/(chat/)?completions$", "", self.url.rstrip("/"))
        for url in (plain, plain + "/v1"):
            if url == self.url.rstrip("/") or self._azure:
                continue
            try:
                found = (await self.send("GET", url + "/models")).body.get("data")
            except TutelageError:
                continue
            if isinstance(found, list):
                return f'write base_url = "{_faults.where(url)}"'
        return ""

    async def tokens(self, body: Mapping[str, Any]) -> int | None:
        """How many tokens vLLM's /tokenize counts for a `prompt` or for `messages`; None where there is none."""
        listed = await self.ids(body)
        return None if listed is None else len(listed)

    async def ids(self, body: Mapping[str, Any]) -> list[int] | None:
        """The token numbers that /tokenize gives; None where the server has none."""
        try:
            found = (await self.send("POST", self._door.root + "/tokenize", body)).body.get("tokens")
        except TutelageError:
            return None
        return found if isinstance(found, list) and all(isinstance(i, int) for i in found) else None

    async def send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Seen:
        """One request.

        Raises:
            EndpointDown, Transient: nobody is there, or no answer came within the deadline.
        """
        raw = None if body is None else json.dumps(body).encode()
        try:
            got = await self._http.send(method, url, self._door.headers, raw)
        except Cut as cut:
            raise _faults.of_cut(cut, self.url, False, self.deadline) from None
        text, headers = got.body.decode("utf-8", "replace"), {k.lower(): v for k, v in got.headers.items()}
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None
        return Seen(got.status, headers, text, parsed if isinstance(parsed, dict) else {})
