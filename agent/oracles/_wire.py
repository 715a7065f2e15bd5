"""One connection to an OpenAI-compatible chat server: requests out, checked replies in. Knows nothing of questions.

The `openai` package sends; bodies are read here, because it hands on a proxy's login page or `choices: null` as
success. No redirect is followed and nothing is retried. A field that the server refuses is left out from then on.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import CallFailed, EndpointDown, Transient, TutelageError
from agent.oracles import Token, _faults, nearness
from agent.oracles._faults import Refused

REFUSALS = {
    "logprob_token_ids": ("logprob_token_ids",),
    "logprobs": ("logprobs",),
    "structured_outputs": ("structured_outputs",),
    "response_format": ("response_format", "json_schema"),
    "n": ("'n'", "`n`", '"n"', "n > 1", "best_of"),
    "seed": ("seed",),
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens",),
}
"""Fields that a server may refuse, and the words in its HTTP 400 by which it says so."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back of one request: the first text, all texts (n > 1), the first one's tokens, and what it took."""

    text: str
    texts: tuple[str, ...]
    tokens: tuple[Token, ...]
    tokens_in: int
    tokens_out: int
    cached: int
    model: str


class Wire:
    """A server, and what has been learnt of it. `vllm`: it is vLLM; `without`: fields it refused."""

    def __init__(self, model: str, base_url: str, api_key_env: str, deadline: float) -> None:
        self.model, self.url, self.key, self.deadline = model, base_url.rstrip("/"), api_key_env, deadline
        self.vllm = False
        self.without: set[str] = set()
        self.top = 20
        self._known = False
        self._met = False
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()

    @property
    def where(self) -> str:
        """The address, fit to be shown."""
        return _faults.where(self.url)

    def _open(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            import openai

            near = nearness(self.url) != "far"
            key = os.environ.get(self.key, "")
            if not key and not near:
                raise EndpointDown(f"{self.where} needs a key: put it into the environment variable {self.key}")
            http = openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not near)
            self._client = openai.AsyncOpenAI(
                api_key=key or "none",
                base_url=self.url,
                max_retries=0,
                timeout=openai.Timeout(self.deadline, connect=min(10.0, self.deadline)),
                http_client=http,
            )
            self._loop, self._lock = loop, asyncio.Lock()
        return self._client

    async def meet(self) -> None:
        """Learn once who is there. A server without a list of models is none the worse for it.

        Raises:
            EndpointDown: nobody is there.
        """
        self._open()
        async with self._lock:
            if self._met:
                return
            try:
                listed = await self._listed()
            except Transient:
                return
            except TutelageError:
                if not self._known:
                    raise
                listed = []
            self.vllm = any(entry.get("owned_by") == "vllm" for entry in listed)
            self._met = True

    async def models(self) -> list[str]:
        """The models the server says it serves; empty where it does not say."""
        return [str(entry.get("id")) for entry in await self._listed()]

    async def _listed(self) -> list[Mapping[str, Any]]:
        listed = (await self._request("GET", "/models")).get("data")
        return [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []

    async def tokens(self, text: str) -> list[int]:
        """The token numbers of a text by vLLM's /tokenize; empty where the server has none."""
        asked = {"model": self.model, "prompt": text, "add_special_tokens": False}
        try:
            found = (await self._request("POST", self.url.removesuffix("/v1") + "/tokenize", asked)).get("tokens")
        except (CallFailed, Transient, Refused, EndpointDown):
            return []
        return found if isinstance(found, list) and all(isinstance(i, int) for i in found) else []

    async def chat(self, body: Mapping[str, Any]) -> Reply:
        """One chat completion, again without a field the server refuses (a refusal is not charged for).

        Raises:
            EndpointDown, Transient, CallFailed: as `answer` of the oracle `openai` documents them.
        """
        for _ in range(len(REFUSALS) + 2):
            sent = self._accepted(body)
            try:
                return _reply(await self._request("POST", "/chat/completions", sent), self.where)
            except Refused as refused:
                if refused.status == 404:
                    raise await self._missing() from None
                if not self._learn(refused.words, sent):
                    raise CallFailed(str(refused), billed=False) from None
        raise CallFailed(f"{self.where} refuses the question, whatever is left out of it", billed=False)

    def _accepted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        sent = {name: value for name, value in body.items() if name not in self.without}
        if "max_tokens" in self.without:
            sent["max_completion_tokens"] = body["max_tokens"]
        if "logprobs" not in sent:
            sent.pop("logprob_token_ids", None)
        elif "logprob_token_ids" not in sent:
            sent["top_logprobs"] = self.top
        return sent

    def _learn(self, words: str, sent: Mapping[str, Any]) -> bool:
        """Whether a refusal named a field that can be left out; it is, from now on."""
        if "top_logprobs" in words and sent.get("top_logprobs") == 20 and re.search(r"\b[5-9]\b|\b1\d\b", words):
            self.top = 5
            return True
        for name, signs in REFUSALS.items():
            if name in sent and any(sign in words for sign in signs):
                self.without.add(name)
                return True
        return False

    async def _missing(self) -> EndpointDown:
        try:
            served = await self.models()
        except TutelageError:
            served = []
        known = f"it serves {', '.join(served[:20])}" if served else "mend model or base_url (does it end in /v1?)"
        return EndpointDown(f"{self.where} has no model {self.model!r} (HTTP 404); {known}")

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Send, within the deadline in all, and give the JSON object that came back."""
        client = self._open()
        import openai

        try:
            async with asyncio.timeout(self.deadline):
                if method == "GET":
                    got = await client.get(path, cast_to=object)
                else:
                    got = await client.post(path, cast_to=object, body=body)
        except openai.APIStatusError as error:
            self._known = True
            text = error.response.text
            fault = _faults.of_status(error.status_code, text, error.body, error.response.headers, self.url, self.key)
            raise fault from None
        except (openai.APIConnectionError, TimeoutError) as error:
            raise _faults.of_connection(error, self.url, self._known, self.deadline) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            self._known = True
            raise Transient(f"{self.where} answered with broken JSON", billed=True) from None
        self._known = True
        if isinstance(got, str):
            raise Transient(f"{self.where} answered with a page, not JSON: is base_url right, or a proxy in between?")
        if not isinstance(got, Mapping):
            raise Transient(f"{self.where} answered with JSON that is no object", billed=True)
        return got

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _reply(body: Mapping[str, Any], where: str) -> Reply:
    """The reply in a body, or the fault it is."""
    if body.get("error"):
        said = f"{where} answered HTTP 200 with an error: {_faults.identifiers(body) or 'unnamed'}"
        raise EndpointDown(said) if _faults.QUOTA.search(str(body["error"])) else Transient(said)
    choices = [choice for choice in body.get("choices") or () if isinstance(choice, Mapping)]
    if not choices:
        raise Transient(f"{where} answered without choices", billed=True)
    texts = [_content(choice) for choice in choices]
    if not any(texts):
        reason = str(choices[0].get("finish_reason"))
        if reason == "length":
            mend = "raise max_tokens of this rung, or switch the model's thinking off"
            raise CallFailed(f"the model at {where} used up max_tokens before it answered: {mend}")
        raise CallFailed(f"the model at {where} answered nothing (finish_reason {reason[:20]})")
    usage = body.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    details = usage.get("prompt_tokens_details")
    return Reply(
        text=texts[0],
        texts=tuple(text for text in texts if text),
        tokens=_tokens(choices[0].get("logprobs")),
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
        cached=_count(details, "cached_tokens") if isinstance(details, Mapping) else 0,
        model=str(body.get("model") or ""),
    )


def _content(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, Mapping) else None
    return content if isinstance(content, str) else ""


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """The tokens of `choices[0].logprobs`; those that are not as documented are passed over."""
    listed = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    found = []
    for entry in listed if isinstance(listed, list) else ():
        pair = _pair(entry)
        if pair is not None:
            others = entry.get("top_logprobs")
            found.append(Token(*pair, dict(p for o in others if (p := _pair(o))) if isinstance(others, list) else {}))
    return tuple(found)


def _pair(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, Mapping):
        return None
    token, value = entry.get("token"), entry.get("logprob")
    usable = isinstance(token, str) and isinstance(value, int | float) and not math.isnan(value)
    return (str(token), min(float(value), 0.0)) if usable and isinstance(value, int | float) else None
