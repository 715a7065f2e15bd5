"""Any server that speaks OpenAI's chat completions (OpenAI, vLLM, llama.cpp, Ollama …). Knows no task and no ledger.

One option is asked for by its code (or its name, where the template is of words), and the whole distribution is read
from log-probabilities: of exactly the codes' tokens (the names' first ones) where the server can give them (vLLM's
`logprob_token_ids`), else of the top 20. A server that gives none is
asked several times and the votes are counted. Nothing a server promises is trusted: what it wrote is checked against
the options. Nothing is retried here; the caller decides, and every fault says whether it may have been charged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from agent.errors import CallFailed, EndpointDown, Took, Transient, TutelageError
from agent.oracles import _bodies, _prices, _reach, _readings, readout
from agent.oracles._bodies import Bodies
from agent.oracles._openai import Settings
from agent.oracles._probe import endpoints
from agent.oracles._replies import Reply, Short, reply
from agent.oracles._served import Served
from agent.oracles._wire import SPARE, Wire
from agent.oracles._words import Numbers
from agent.types import Answer, Context, Most, Prompt

__all__ = ["OpenAI", "Settings", "build", "endpoints"]

log = logging.getLogger("tutelage")

ODD = 3
"""Answers in a row without log-probabilities, of a server that gave them, after which the run pauses."""

REFUSED = 10
"""Questions refused in a row, none answered before, after which it is the set-up that is wrong and not the texts."""

PATIENCE = 10.0
"""Seconds that the others wait while the first question finds out what the server can do."""


def build(settings: Settings, context: Context) -> OpenAI:
    """The oracle; nothing is sent before the first question."""
    return OpenAI(settings)


class OpenAI:
    """One model at its servers. What they can do is learnt from their answers and kept for this process."""

    def __init__(self, settings: Settings) -> None:
        at = self.settings = settings
        self.wire = Wire(at.model, at.urls, at.api_key_env, at.deadline, at.azure_api_version)
        self._numbers = Numbers(self.wire)
        self._bodies = Bodies(self.wire, at.temperature, at.max_tokens, at.structured == "auto", at.extra)
        self.price = _prices.price_of(at.model, at.urls, at.usd_per_mtok_in, at.usd_per_mtok_out)
        self.traits = _reach.traits(at, readout(at.template), others=("words_chat.j2",))
        self._logprobs: Literal["unknown", "given", "none"] = "none" if at.logprobs == "no" else "unknown"
        self._hoped, self._cheap = False, set[str]()
        self._roomy = False
        self._odd = self._refused = self._lengthened = 0
        self._first: asyncio.Future[str] | None = None
        self._served = Served(at.pin)

    @property
    def unpriced(self) -> str:
        """The model's name where nobody knows what its tokens cost; else empty."""
        return "" if self.price else self.settings.model

    # What it may take ---------------------------------------------------------------------------------------------

    def most(self, prompt: Prompt) -> Most:
        """The most this question can take: a token a byte (four times what English needs), every answer at full
        length, all votes for as long as it is not known that log-probabilities come, and one longer second answer."""
        votes = 0 if prompt.question.many or self.settings.logprobs == "yes" else self.settings.votes
        given = self._logprobs == "given" or (self._logprobs == "unknown" and self._hoped)
        (self._cheap.add if given and self._hoped else self._cheap.discard)(prompt.key)
        rounds = 1 if given else (votes or 1) if self._logprobs == "none" else 1 + votes
        drawn = 1 if given else max(votes, 1)
        tokens, room, longer = _bodies.tokens(prompt), self._room(prompt), 0 if self._roomy else self._longer(prompt)
        tokens_in, tokens_out = (rounds + bool(longer)) * tokens, rounds * room + drawn * longer
        requests = rounds + bool(longer) + (0 if self.wire.settled else SPARE)
        return Most(self._usd(tokens_in, tokens_out), tokens_in + tokens_out, requests)

    def recall(self, answer: Answer) -> None:
        """Log-probabilities came with an earlier answer: until the first of this run, it is hoped that they do."""
        self._hoped |= self._logprobs == "unknown" and answer.logprobs is not None and "votes" not in answer.flags

    def _usd(self, tokens_in: int, tokens_out: int, cached: int = 0) -> float:
        return self.price.bill(tokens_in, tokens_out, cached) if self.price else 0.0

    def _room(self, prompt: Prompt) -> int:
        room = _bodies.room(prompt, self.settings.max_tokens)
        return max(room, self._longer(prompt)) if self._roomy else room

    def _longer(self, prompt: Prompt) -> int:
        return _bodies.longer(_bodies.room(prompt, self.settings.max_tokens))

    # Asking -------------------------------------------------------------------------------------------------------

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask once (or for votes).

        Raises:
            EndpointDown: refused for good: nobody there, key, credit, model, redirect; or not what it was.
            Transient: this attempt failed; `billed` where the engine may have worked.
            CallFailed: this question cannot be answered: too long, refused, no answer within max_tokens.
        """
        self._served.check()
        if not self.wire.settled:
            return await self._find_out(prompt)
        if not self.wire.met:
            await self.wire.meet()
        return await self._checked(prompt)

    async def _find_out(self, prompt: Prompt) -> Answer:
        """The first question goes alone, so that one and not 64 meet what the server refuses; the others wait, and are
        not sent where it was refused for good."""
        loop = asyncio.get_running_loop()
        mine, first = None, self._first
        if first is not None and first.get_loop() is loop and not first.done():
            await asyncio.wait([first], timeout=min(PATIENCE, self.settings.deadline))
            if first.done() and (refused := first.result()):
                raise EndpointDown(refused, sent=False)
        else:
            mine = self._first = loop.create_future()
        refused = ""
        try:
            await self.wire.meet()
            answer = await self._checked(prompt)
        except EndpointDown as error:
            refused = str(error)
            raise
        finally:
            if mine is not None and not mine.done():
                mine.set_result(refused)
        self.wire.settled = True
        return answer

    async def _checked(self, prompt: Prompt) -> Answer:
        if self._logprobs == "none" and prompt.key in self._cheap:
            raise self._unreserved(prompt)
        paid: list[Reply] = []
        try:
            answer = await self._answer(prompt, paid)
        except (EndpointDown, Transient) as failed:
            failed.took = _readings.took(paid, self.price)
            failed.billed, failed.sent = failed.billed or failed.took.tokens > 0, failed.took.requests > 0
            raise
        except CallFailed as failed:
            failed.took = _readings.took(paid, self.price)
            failed.billed = failed.billed or failed.took.tokens > 0
            if not failed.billed and not self.wire.settled:
                self._refused += 1
                if self._refused >= REFUSED:
                    raise EndpointDown(f"the first {self._refused} questions were all refused: {failed}") from None
            raise
        return self._served.same(answer, self.wire.where)

    def _unreserved(self, prompt: Prompt) -> Transient:
        """What was put by for this question is too little: it was hoped that no votes are needed."""
        self._cheap.discard(prompt.key)
        error = Transient(f"{self.wire.where} gives no log-probabilities: votes are put by for first", after=0.0)
        error.took = Took()
        return error

    async def _answer(self, prompt: Prompt, paid: list[Reply]) -> Answer:
        """All that was paid for is added to `paid`, also where it comes to nothing."""
        room = self._room(prompt)
        if prompt.question.many:
            await self._chat(self._bodies.many(prompt, room), prompt, paid)
            return _readings.collect(prompt, paid, self.price)
        if self._logprobs == "none":
            return await self._vote(prompt, paid)
        ids = await self._numbers.of(prompt)
        exact = bool(ids) and "logprob_token_ids" not in self.wire.without
        found = await self._chat(self._bodies.single(prompt, room, ids), prompt, paid)
        if exact and "logprob_token_ids" in self.wire.without:  # refused just now: one token was no answer
            found = await self._chat(self._bodies.single(prompt, room, ()), prompt, paid)
        if found.tokens:
            self._logprobs, self._odd, self._hoped = "given", 0, False
            self._cheap.clear()
            return _readings.scored(prompt, paid, self.price, ids)
        self._missing(found)
        self._hoped = False
        if prompt.key in self._cheap:
            raise self._unreserved(prompt)
        return await self._vote(prompt, paid)

    def _missing(self, found: Reply) -> None:
        """No log-probabilities came: for good where none ever did; one odd answer is none to learn from."""
        if self.settings.logprobs == "yes":
            mend = 'write logprobs = "auto" to count votes'
            raise EndpointDown(f"{self.wire.where} gives no log-probabilities: {mend}")
        if self._logprobs == "given":
            self._odd += 1
            if self._odd >= ODD:
                mend = "start the server as it was, or run again to count votes"
                raise EndpointDown(f"{self.wire.where} gives no log-probabilities any more: {mend}")
            raise Transient(f"{self.wire.where} gave no log-probabilities this time", billed=True)
        if self._logprobs == "unknown":
            self._logprobs = "none"
            where, votes = self.wire.where, self.settings.votes
            log.warning("%s gives no log-probabilities: asking %d times and counting votes", where, votes)

    async def _chat(self, body: dict[str, Any], prompt: Prompt, paid: list[Reply]) -> Reply:
        """One reply; where it was cut short, once more with more room. All that was paid for is added to `paid`."""
        try:
            found = await self._one(body, prompt, paid)
            if not (prompt.question.many and _bodies.is_cut(found.text, found.finish)):
                return found
            short = Short("", found)
        except Short as error:
            short = error
        if self._roomy or any(earlier.finish == "length" for earlier in paid[:-1]):
            raise CallFailed(str(short) or self._cut(self._room(prompt)))
        try:
            found = await self._one(self._bodies.again(body, prompt, self._longer(prompt)), prompt, paid)
        except Short as error:
            raise CallFailed(str(error)) from None
        if prompt.question.many and _bodies.is_cut(found.text, found.finish):
            raise CallFailed(self._cut(self._longer(prompt)))
        self._lengthened += 1
        self._roomy = self._lengthened >= ODD
        return found

    async def _one(self, body: dict[str, Any], prompt: Prompt, paid: list[Reply]) -> Reply:
        """One request's reply. What it took, or may have taken, is added to `paid`, whatever becomes of it."""
        try:
            found = await self.wire.chat(body, prompt.key)
        except Short as error:
            paid.append(_readings.reckoned(error.reply, prompt, body["max_tokens"]))
            raise
        except (Transient, CallFailed, EndpointDown) as error:
            count = 1 if "n" in self.wire.without else body.get("n", 1)
            requests = error.took.requests if error.took else 1
            lost = _readings.lost(prompt, body["max_tokens"], count if error.billed else 0, requests)
            paid.insert(0, lost)  # in front: the last one is the answer
            raise
        paid.append(_readings.reckoned(found, prompt, body["max_tokens"]))
        return paid[-1]

    def _cut(self, room: int) -> str:
        return f"the model at {self.wire.where} gave an answer longer than {room} tokens: raise max_tokens of this rung"

    async def _vote(self, prompt: Prompt, paid: list[Reply]) -> Answer:
        """Sample answers until there are enough; what was paid for counts even if a later request fails."""
        texts: list[str] = []
        room = self._room(prompt)
        for attempt in range(self.settings.votes):
            missing = self.settings.votes - len(texts)
            if missing <= 0:
                break
            try:
                body = self._bodies.votes(prompt, room, missing, attempt)
                texts.extend((await self._chat(body, prompt, paid)).texts)
            except TutelageError:
                if texts:
                    break
                raise
        return _readings.drawn(prompt, paid, texts, self.price)

    # By file ------------------------------------------------------------------------------------------------------

    def read(self, prompt: Prompt, response: Mapping[str, Any]) -> Answer:
        """The answer in the body of a chat completion that came by file, at the price of a batch.

        Raises:
            EndpointDown, Transient, CallFailed: as `answer`.
        """
        paid = [_readings.reckoned(reply(response, self.wire.where), prompt, self._room(prompt))]
        if paid[0].tokens and not prompt.question.many:
            answer = _readings.scored(prompt, paid, self.price)
        elif self._logprobs == "none" and not prompt.question.many:
            answer = _readings.drawn(prompt, paid, paid[0].texts, self.price)
        else:
            flags = () if prompt.question.many else ("no log-probabilities",)
            answer = _readings.collect(prompt, paid, self.price, flags=flags)
        return replace(answer, usd=answer.usd * (self.price.batch if self.price else 1.0))

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The JSON body of the one request that asks this question, for a batch file; nothing is found out for it."""
        room = self._room(prompt)
        self.wire.vllm |= not self.wire.met and self.traits.local  # files here are answered by `vllm run-batch`
        if prompt.question.many:
            return self.wire.accepted(self._bodies.many(prompt, room))
        if self._logprobs == "none":
            return self.wire.accepted(self._bodies.votes(prompt, room, self.settings.votes))
        ids = self.wire.codes.get(tuple(sorted(_bodies.spellings(prompt))), [])
        return self.wire.accepted(self._bodies.single(prompt, room, ids))

    async def close(self) -> None:
        """Close the connections."""
        self._first = None
        await self.wire.close()
