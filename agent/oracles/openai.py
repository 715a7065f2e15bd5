"""Any server that speaks OpenAI's chat completions (OpenAI, vLLM, llama.cpp, Ollama …). Knows no task and no ledger.

One option is asked for by its code, and the whole distribution is read from log-probabilities: of exactly the codes'
tokens where the server can give them (vLLM's `logprob_token_ids`), else of the top 20. A server that gives none is
asked several times and the votes are counted. Nothing a server promises is trusted: what it wrote is checked against
the options. Nothing is retried here; the caller decides, and every fault says whether it may have been charged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agent.errors import CallFailed, Transient, TutelageError
from agent.oracles import counted, nearness, read_codes
from agent.oracles._probe import probe
from agent.oracles._wire import Reply, Wire
from agent.types import Answer, Context, Most, Prompt, Traits

__all__ = ["OpenAI", "Settings", "build", "probe"]

log = logging.getLogger("tutelage")

CONSTRAINED = 26
"""No grammar is sent for more options than this: engines stall on large ones."""


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with oracle = "openai".

    model: the model's name at the server.
    base_url: where the server is, with its version path ("…/v1").
    api_key_env: the environment variable that holds the key; a server on this machine or a private network needs none.
    in_flight: questions asked at once.
    temperature: of the one asked answer; votes are drawn at .7.
    max_tokens: most tokens an answer may have; for kind multi it is raised to 8 for each option.
    logprobs: "auto" reads them where they are given, "yes" insists, "no" counts votes at once.
    votes: answers drawn for one question where there are no log-probabilities.
    structured: "auto" asks the server to allow options only, where it is known to help; "no" never does.
    usd_per_mtok_in, usd_per_mtok_out: US dollars per million tokens; 0 is assumed only for private addresses.
    deadline: seconds one request may take in all.
    template: prompt template, one of ours or a path.
    max_chars: characters of an item that are shown; of a longer one the middle is left out.
    may_train_student: whether the provider's terms allow to train on the answers.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    in_flight: int = 8
    temperature: float = 0.0
    max_tokens: int = 16
    logprobs: Literal["auto", "yes", "no"] = "auto"
    votes: int = 5
    structured: Literal["auto", "no"] = "auto"
    usd_per_mtok_in: float | None = None
    usd_per_mtok_out: float | None = None
    deadline: float = 60.0
    template: str = "codes.j2"
    max_chars: int = 6_000
    may_train_student: bool = True

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError('base_url must be an address, as in base_url = "http://127.0.0.1:8000/v1"')
        if nearness(self.base_url) == "far" and None in (self.usd_per_mtok_in, self.usd_per_mtok_out):
            raise ValueError(
                "the price is unknown: write usd_per_mtok_in and usd_per_mtok_out, in US dollars per million tokens "
                "(0 where calls cost nothing)"
            )
        for name in ("in_flight", "max_tokens", "votes", "deadline", "max_chars"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")
        if min(self.usd_per_mtok_in or 0.0, self.usd_per_mtok_out or 0.0) < 0:
            raise ValueError("a price cannot be less than 0")

    @property
    def recipe(self) -> dict[str, str]:
        """What could change an answer."""
        names = ("model", "base_url", "temperature", "max_tokens", "logprobs", "votes", "structured", "max_chars")
        return {name: str(getattr(self, name)) for name in names}


def build(settings: Settings, context: Context) -> OpenAI:
    """The oracle; nothing is sent before the first question."""
    return OpenAI(settings)


class OpenAI:
    """One model at one server. What the server can do is learnt from its answers and kept for this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.wire = Wire(settings.model, settings.base_url, settings.api_key_env, settings.deadline)
        self._logprobs: Literal["unknown", "given", "none"] = "none" if settings.logprobs == "no" else "unknown"
        self._ids: dict[tuple[str, ...], list[int]] = {}

    @property
    def traits(self) -> Traits:
        """What the house must know of it."""
        at = self.settings
        return Traits(
            annotator=at.model,
            recipe=at.recipe,
            template=at.template,
            in_flight=at.in_flight,
            local=nearness(at.base_url) == "here",
            may_train_student=at.may_train_student,
        )

    def most(self, prompt: Prompt) -> Most:
        """The most this question can take: half a token a byte (twice what English needs), every answer at full
        length, and all votes for as long as it is not known that log-probabilities come."""
        rounds = {"given": 1, "none": self.settings.votes, "unknown": 1 + self.settings.votes}[self._logprobs]
        if prompt.question.many or self.settings.logprobs == "yes":
            rounds = 1
        tokens, room = self._tokens(prompt), self._room(prompt)
        return Most(rounds * self._usd(tokens, room), rounds * (tokens + room), rounds)

    def _tokens(self, prompt: Prompt) -> int:
        return sum(len(m.content.encode("utf-8", "replace")) // 2 + 16 for m in prompt.messages)

    def _usd(self, tokens_in: int, tokens_out: int) -> float:
        at = self.settings
        return (tokens_in * (at.usd_per_mtok_in or 0.0) + tokens_out * (at.usd_per_mtok_out or 0.0)) / 1e6

    def _room(self, prompt: Prompt) -> int:
        return max(self.settings.max_tokens, 8 * len(prompt.question.options) * prompt.question.many)

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask once (or for votes).

        Raises:
            EndpointDown: refused for good: nobody there, key, credit, model, redirect.
            Transient: this attempt failed; `billed` where the engine may have worked.
            CallFailed: this question cannot be answered: too long, refused, no answer within max_tokens.
        """
        await self.wire.meet()
        if prompt.question.many:
            return self._collect(prompt, [await self.wire.chat(self._many(prompt))], None, ())
        if self._logprobs == "none":
            return await self._vote(prompt, [])
        reply = await self.wire.chat(await self._single(prompt))
        if not reply.tokens and self.settings.logprobs == "yes":
            raise CallFailed(f'{self.wire.where} gives no log-probabilities: write logprobs = "auto" to count votes')
        if not reply.tokens:
            self._settle_for_votes()
            return await self._vote(prompt, [reply])
        self._logprobs = "given"
        read = read_codes(prompt.question, reply.text, reply.tokens)
        if read is None:
            return self._collect(prompt, [reply], None, ())
        scores, mass = read
        return self._collect(prompt, [reply], scores, (f"mass={mass:.2f}",) if mass < 0.995 else ())

    def _settle_for_votes(self) -> None:
        if self._logprobs != "none":
            self._logprobs = "none"
            log.warning(
                "%s gives no log-probabilities: asking %d times and counting votes",
                self.wire.where,
                self.settings.votes,
            )

    async def _vote(self, prompt: Prompt, paid: list[Reply]) -> Answer:
        """Sample answers until there are enough; what was paid for counts even if a later request fails."""
        texts: list[str] = []
        for attempt in range(self.settings.votes):
            missing = self.settings.votes - len(texts)
            if missing <= 0:
                break
            seed = (prompt.seed + attempt * 0x9E3779B1) % 2**31  # engines use seed + i for the i-th answer: keep apart
            body = self._body(prompt) | {"temperature": 0.7, "n": missing, "seed": seed}
            try:
                reply = await self.wire.chat(body | self._choice(prompt))
            except TutelageError as error:
                if texts:
                    break
                if paid and isinstance(error, Transient):
                    raise Transient(str(error), error.after, billed=True) from error
                raise
            paid.append(reply)
            texts.extend(reply.texts)
        result = counted(prompt.question, texts)
        answer = self._collect(prompt, paid, result[1] if result else None, ("votes",))
        return replace(answer, text=result[0]) if result else answer

    def _collect(
        self, prompt: Prompt, replies: Sequence[Reply], scores: Mapping[str, float] | None, flags: tuple[str, ...]
    ) -> Answer:
        """All that was paid for one question, as one answer."""
        last, worst = replies[-1], self._usd(self._tokens(prompt), self._room(prompt))
        return Answer(
            text=last.text,
            logprobs=scores,
            usd=sum(self._usd(r.tokens_in, r.tokens_out) if r.tokens_in else worst for r in replies),
            tokens_in=sum(r.tokens_in for r in replies),
            tokens_out=sum(r.tokens_out for r in replies),
            tokens_cached=sum(r.cached for r in replies),
            served_model=last.model,
            flags=prompt.flags + flags,
            requests=len(replies),
        )

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "model": self.settings.model,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "temperature": self.settings.temperature,
            "max_tokens": self._room(prompt),
            "seed": prompt.seed,
        }

    def _choice(self, prompt: Prompt) -> dict[str, Any]:
        codes = [option.code for option in prompt.question.options]
        wanted = self.settings.structured == "auto" and self.wire.vllm and len(codes) <= CONSTRAINED
        return {"structured_outputs": {"choice": codes}} if wanted else {}

    async def _single(self, prompt: Prompt) -> dict[str, Any]:
        body = self._body(prompt) | self._choice(prompt) | {"logprobs": True}
        ids = await self._code_ids(tuple(sorted(option.code for option in prompt.question.options)))
        if ids and "logprob_token_ids" not in self.wire.without:
            return body | {"logprob_token_ids": ids}
        return body

    def _many(self, prompt: Prompt) -> dict[str, Any]:
        body, codes = self._body(prompt), [option.code for option in prompt.question.options]
        if self.settings.structured == "no" or len(codes) > CONSTRAINED:
            return body
        listed = {"type": "array", "items": {"type": "string", "enum": sorted(codes)}}
        if self.wire.vllm:
            return body | {"structured_outputs": {"json": listed}}
        schema = {"type": "object", "properties": {"labels": listed}, "required": ["labels"]}
        named = {"name": "labels", "strict": True, "schema": schema | {"additionalProperties": False}}
        return body | {"response_format": {"type": "json_schema", "json_schema": named}}

    async def _code_ids(self, codes: tuple[str, ...]) -> list[int]:
        """The tokens of all codes, bare and after a space; empty where one has none of its own, or none can tell."""
        if not self.wire.vllm or len(codes) > 64:
            return []
        if codes not in self._ids:
            forms = await asyncio.gather(*(self.wire.tokens(form) for code in codes for form in (code, f" {code}")))
            pairs = zip(forms[::2], forms[1::2], strict=True)
            ones = [[ids[0] for ids in pair if len(ids) == 1] for pair in pairs]
            self._ids[codes] = sorted({i for pair in ones for i in pair}) if all(ones) else []
        return self._ids[codes]

    async def close(self) -> None:
        """Close the connections."""
        await self.wire.close()
