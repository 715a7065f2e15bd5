"""One model behind one or several OpenAI-compatible addresses: requests out, checked replies in. Knows no question.

The `openai` package says how a request is addressed and signed (keys, organisations, Azure); it is sent by `_http`, and
bodies are read here, because the package hands on a proxy's login page or `choices: null` as success. Nothing is
retried. A field that the server refuses is left out from then on.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from agent.errors import CallFailed, EndpointDown, Took, Transient, TutelageError
from agent.oracles import _faults, _keys
from agent.oracles._door import Door, door
from agent.oracles._endpoints import Endpoint, Endpoints
from agent.oracles._faults import Refused
from agent.oracles._http import Cut, Got, Http
from agent.oracles._replies import Reply, Short, reply

T = TypeVar("T")

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

SPARE = 4
"""Requests that the first question may take in addition, to find out which fields the server refuses."""

MOST_CODES = 64
"""Codes, each with two tokens, whose log-probabilities vLLM gives at once (128)."""

ASIDE = 10.0
"""Seconds for what is asked beside questions: the list of models, the tokens of a code."""

LATER = 30.0
"""Seconds after which a server whose list of models did not come is looked at again."""

ABSENT = (404, 405, 501)
"""Statuses of a server that has no such model, or does not speak this wire."""


PAGES = 3
"""Questions answered with a page, by a server that has answered none well, after which the address is wrong."""


class Page(Transient):
    """HTTP 200 with a page for people, as of a login or a proxy."""


class Wire:
    """A model's servers, and what has been learnt of them: one software behind all addresses is assumed.

    `met`: it has been looked at; `vllm`: it is vLLM; `without`: fields it refused; `codes`: token numbers of sorted
    codes; `settled`: a question has been answered, so what it refuses is known. `lacks`: what to do where a server
    does not speak this wire.
    """

    def __init__(
        self,
        model: str,
        base_url: str | Sequence[str],
        api_key_env: str | None,
        deadline: float,
        azure: str = "",
        lacks: str = "mend model or base_url (does it end in /v1?)",
    ) -> None:
        urls = (base_url,) if isinstance(base_url, str) else tuple(base_url)
        self.model, self.key_env, self.deadline, self.azure, self.lacks = model, api_key_env, deadline, azure, lacks
        self.places = Endpoints(urls)
        self.vllm = self.met = self.settled = False
        self.without: set[str] = set()
        self.top = 20
        self._http = Http(deadline)
        self._doors: dict[str, Door] = {}
        self._ids: dict[str, list[int]] = {}
        self.codes: dict[tuple[str, ...], list[int]] = {}
        self._meeting: asyncio.Future[None] | None = None
        self._later = 0.0

    @property
    def where(self) -> str:
        """The addresses, fit to be shown."""
        return ", ".join(place.where for place in self.places.all)

    def _door(self, endpoint: Endpoint) -> Door:
        found = self._doors.get(endpoint.url)
        if found is None:
            key = _keys.key(endpoint.url, self.key_env, endpoint.where)
            found = self._doors[endpoint.url] = door(endpoint.url, key or "none", self.model, self.azure)
        return found

    async def meet(self) -> None:
        """Learn once who is there. A server without a list of models is none the worse for it.

        Raises:
            EndpointDown: nobody is there.
        """
        if self.met or time.monotonic() < self._later:
            return
        loop = asyncio.get_running_loop()
        if self._meeting is not None and not self._meeting.done() and self._meeting.get_loop() is loop:
            await asyncio.wait([self._meeting])
            return
        self._meeting = meeting = loop.create_future()
        try:
            await self._look()
        finally:
            if not meeting.done():
                meeting.set_result(None)

    async def _look(self) -> None:
        try:
            listed = [] if self.azure else await self.listed()
        except Transient:
            self._later = time.monotonic() + LATER
            return
        except (CallFailed, EndpointDown):
            if not any(place.known for place in self.places.all):
                raise
            listed = []
        self.vllm = any(entry.get("owned_by") == "vllm" for entry in listed)
        self.met = True

    async def models(self) -> list[str]:
        """The models the server says it serves; empty where it does not say."""
        return [str(entry.get("id")) for entry in await self.listed()]

    async def listed(self, endpoint: Endpoint | None = None) -> list[Mapping[str, Any]]:
        """The entries of the server's list of models, as they came."""
        listed = _object(await self._beside("GET", "/models", None, endpoint)).get("data")
        return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []

    async def tokens(self, text: str) -> list[int] | None:
        """The token numbers of a text by vLLM's /tokenize; empty where there is none, None where it cannot say now."""
        if text not in self._ids:
            asked = {"model": self.model, "prompt": text, "add_special_tokens": False}
            try:
                found = _object(await self._beside("POST", "/tokenize", asked, root=True)).get("tokens")
            except (Transient, EndpointDown):
                return None
            except CallFailed:
                found = None
            self._ids[text] = found if isinstance(found, list) and all(type(i) is int for i in found) else []
        return self._ids[text]

    async def numbers(self, codes: tuple[str, ...]) -> list[int]:
        """The tokens of all codes, bare and after a space; empty where one has none of its own, or none can tell."""
        if not self.vllm or len(codes) > MOST_CODES:
            return []
        if codes not in self.codes:
            forms = await asyncio.gather(*(self.tokens(form) for code in codes for form in (code, f" {code}")))
            if None in forms:
                return []
            pairs = zip(forms[::2], forms[1::2], strict=True)
            ones = [[ids[0] for ids in pair if ids and len(ids) == 1] for pair in pairs]
            self.codes[codes] = sorted({i for pair in ones for i in pair}) if all(ones) else []
        return self.codes[codes]

    async def get(self, path: str) -> str:
        """The text under a path beside the version path, such as "/metrics".

        Raises:
            EndpointDown, Transient, CallFailed: there is none.
        """
        return (await self._beside("GET", path, None, root=True)).body.decode("utf-8", "replace")

    async def _beside(
        self, method: str, path: str, body: Any, endpoint: Endpoint | None = None, root: bool = False
    ) -> Got:
        """A request that asks no question, at the first address that answers. It says nothing of an engine's health."""
        left = [p for p in self.places.all if not p.refused] or self.places.all
        fault: TutelageError = EndpointDown(f"no endpoint answers at {self.where}")
        for place in [endpoint] if endpoint else sorted(left, key=lambda p: (p.tripped, p.flying)):
            door = self._door(place)
            url = (door.root if root else door.base) + path + door.query
            sent = None if body is None else json.dumps(body).encode()
            try:
                got = await self._http.send(method, url, door.headers, sent, min(self.deadline, ASIDE))
            except Cut as cut:
                fault = _faults.of_cut(cut, place.url, place.known, min(self.deadline, ASIDE))
                continue
            place.known = True
            if 200 <= got.status < 300:
                return got
            fault = self._status(got, place)
        raise fault

    async def chat(self, body: Mapping[str, Any], about: str = "") -> Reply:
        """One chat completion; while nothing is settled, again without a field the server refuses (free of charge).
        `about`: the question's key.

        Raises:
            EndpointDown, Transient, CallFailed: as `answer` of the oracle `openai` documents them.
            Short: no answer within max_tokens.
        """
        for sent_before in range(SPARE + 1):
            sent = self.accepted(body)
            try:
                found = await self.ask("/chat/completions", sent, reply, about)
            except Refused as refused:
                name = self._learn(refused, sent)
                if not name:
                    failed = CallFailed(str(refused), billed=False)
                    failed.took = Took(requests=1 + sent_before)
                    raise failed from None
                if self.settled or sent_before == SPARE:
                    break
            except Short as short:
                short.reply = replace(short.reply, requests=1 + sent_before)
                raise
            except (Transient, CallFailed, EndpointDown) as error:
                error.took = Took(requests=sent_before + (isinstance(error, CallFailed) or error.sent))
                raise
            else:
                return found if not sent_before else replace(found, requests=1 + sent_before)
        refused_field = Transient(f"{self.where} refuses the field {name}, which is left out from now on", after=0.0)
        refused_field.took = Took(requests=1 + sent_before)
        raise refused_field

    def accepted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A body without the fields that were refused before."""
        sent = {name: value for name, value in body.items() if name not in self.without}
        if "max_tokens" in self.without:
            sent["max_completion_tokens"] = body["max_tokens"]
        if "logprobs" not in sent:
            sent.pop("logprob_token_ids", None)
        elif "logprob_token_ids" not in sent:
            sent["top_logprobs"] = self.top
        return sent

    def _learn(self, refused: Refused, sent: Mapping[str, Any]) -> str:
        """The field that a refusal named and that can be left out; it is, from now on. Empty where it named none."""
        words = refused.words
        if "top_logprobs" in words and sent.get("top_logprobs") == 20 and re.search(r"\b[5-9]\b|\b1\d\b", words):
            self.top = 5
            return "top_logprobs"
        named = refused.param if refused.param in REFUSALS else ""
        for name, signs in REFUSALS.items():
            # A text that is refused may hold any of these words: where the server names the field, that counts.
            if name in sent and (name == named if named else any(sign in words for sign in signs)):
                self.without.add(name)
                return name
        return ""

    async def ask(
        self, path: str, body: Mapping[str, Any], read: Callable[[Mapping[str, Any], str], T], about: str = ""
    ) -> T:
        """Send a question to the address that has the least to do, and read the body that comes back.
        `about`: the question's key.

        Raises:
            EndpointDown: every address has refused us for good; or the only one is not there.
            Transient: this attempt failed, or all addresses are parked.
            CallFailed: this question cannot be answered.
        """
        place = await self.places.take(about)
        era, strike = place.era, True
        fault: TutelageError
        try:
            door = self._door(place)
            data = json.dumps(body, separators=(",", ":")).encode()
            got = await self._http.send("POST", door.base + path + door.query, door.headers, data)
            place.known = True
            if got.status in ABSENT:
                raise await self._absent(place, got)
            if not 200 <= got.status < 300:
                strike = got.status not in _faults.BUSY
                raise self._status(got, place)
            found = read(_object(got, place.where), place.where)
        except Cut as cut:
            strike = cut.kind != "files"
            fault = _faults.of_cut(cut, place.url, place.known, self.deadline)
        except Page as page:
            place.pages.add(about)
            wrong = not place.good and len(place.pages) >= PAGES
            fault = EndpointDown(str(page)) if wrong else Transient(str(page))
        except (EndpointDown, Transient) as error:
            fault = error
        except CallFailed:
            self.places.worked(place, about)
            raise
        except BaseException:
            self.places.dropped(place)
            raise
        else:
            self.places.worked(place, about)
            return found
        raise self.places.failed(place, era, fault, strike, about) from None

    def _status(self, got: Got, place: Endpoint) -> TutelageError:
        text = got.body.decode("utf-8", "replace")
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        key = _keys.variable(place.url, self.key_env)
        return _faults.of_status(got.status, text, body, got.headers, place.url, key)

    async def _absent(self, place: Endpoint, got: Got) -> EndpointDown:
        try:
            served = [] if self.azure else [str(entry.get("id")) for entry in await self.listed(place)]
        except TutelageError:
            served = []
        if got.status == 404 and served and self.model not in served:
            known = f"it serves {', '.join(served[:20])}: mend model"
            return EndpointDown(f"{place.where} has no model {self.model!r} (HTTP 404); {known}")
        return EndpointDown(f"{place.where} does not answer for model {self.model!r} (HTTP {got.status}): {self.lacks}")

    async def close(self) -> None:
        """Close the connections and forget who was parked; a later request opens new ones."""
        self.places.forget()
        await self._http.close()


def _object(got: Got, where: str = "the server") -> Mapping[str, Any]:
    if not got.body:
        raise Transient(f"{where} answered HTTP {got.status} without a body", billed=True)
    try:
        found = json.loads(got.body)
    except (ValueError, RecursionError):
        if not got.is_json:
            page = f"{where} answered with a page, not JSON: is base_url right, or a proxy in between?"
            raise Page(page) from None
        raise Transient(f"{where} answered with broken JSON", billed=True) from None
    if not isinstance(found, dict):
        raise Transient(f"{where} answered with JSON that is no object", billed=True)
    return found
