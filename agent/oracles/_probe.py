"""What one OpenAI-compatible endpoint really does, measured by about fifteen short questions about made-up texts.

Nothing a server promises is taken for granted: it is asked for an impossible choice, for log-probabilities, twice for
the same. Knows no configuration file and no pool; no item text is sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent.errors import TutelageError
from agent.oracles import _faults, _keys, chosen, nearness
from agent.oracles._found import IMPOSSIBLE, NEVER, Asked, Facts, covers, gap, made_up, mass, obeys
from agent.oracles._line import Line, Seen
from agent.oracles._wire import ABSENT, REFUSALS
from agent.types import Prompt

MOST = 22
"""Chat requests one look sends at the most."""
ROOMY = 512
"""max_tokens tried where a model had not answered within what its rung allows."""
QUIET: tuple[dict[str, Any], ...] = (
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"reasoning_effort": "none"},
)
"""Fields by which servers may be kept from thinking."""
HUGE = 100_000_000
"""max_tokens that every server refuses; what it says then names its context length."""
NUMBERS = {"role": "user", "content": "Write one random number of six digits and nothing else."}
CONTEXT = re.compile(r"context (?:length|size|window)[^0-9]{0,30}(\d{3,8})|n_ctx\D{0,8}(\d{3,8})", re.I)
HITS = re.compile(r"^vllm:(?:gpu_)?prefix_cache_hits(?:_total)?(?:\{[^}]*\})? ([0-9.e+]+)", re.M)
PAGE = "is base_url right (does it end in /v1?), or does a proxy answer in its place?"
SWITCH = "switch its thinking off at the server"
FINAL = "item text follows no redirect, so write the final base_url"
LIMITS = {"requests": "x-ratelimit-limit-requests", "tokens": "x-ratelimit-limit-tokens"}


async def endpoints(
    settings: Any, told: tuple[Prompt, Prompt] | None = None, labels: Sequence[str] = ()
) -> list[Facts]:
    """What each endpoint of an `openai` rung does, one after the other. Costs at most `MOST` short questions each.

    Args:
        settings: of the oracle. told: two questions as the rung would ask them, about texts made up.
        labels: label names whose tokens are counted.
    """
    asked = Asked(
        settings.model, settings.api_key_env, settings.max_tokens, settings.deadline, told or made_up(), tuple(labels),
        settings.azure_api_version, settings.extra,
    )  # fmt: skip
    places = [settings.base_url] if isinstance(settings.base_url, str) else settings.base_url
    return [await look(url, asked) for url in places]


async def look(url: str, asked: Asked) -> Facts:
    """Measure one endpoint. What goes wrong is in `Facts.trouble`, in words that can be shown."""
    facts = Facts(_faults.where(url))
    line = Line(url, asked.key_env, asked.deadline, asked.model, asked.azure)
    try:
        async with line:
            await _Look(line, asked, facts).all()
    except TutelageError as error:
        facts.trouble = facts.trouble or str(error)
    facts.requests, facts.tokens_in, facts.tokens_out = line.requests, line.tokens_in, line.tokens_out
    return facts


class _Look:
    """The experiments, in order; each writes what it found into `facts`."""

    def __init__(self, line: Line, asked: Asked, facts: Facts) -> None:
        self.line, self.asked, self.facts = line, asked, facts
        self.without: set[str] = set()
        self.room = asked.max_tokens
        self.ids: list[int] = []

    async def all(self) -> None:
        await self.meet()
        first = await self.plain()
        if first is None:
            return
        for step in (self.spell, self.logprobs, self.choices, self.mode, self.cache, self.draws, self.context):
            try:
                await step()
            except TutelageError:
                self.facts.missed = (*self.facts.missed, step.__name__)
                if len(self.facts.missed) > 2:
                    raise
        self.facts.refused = tuple(sorted(self.without))

    def body(self, which: int = 0) -> dict[str, Any]:
        prompt = self.asked.told[which]
        return {
            "model": self.asked.model,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "temperature": 0.0,
            "max_tokens": self.room,
            "seed": prompt.seed,
            **self.asked.extra,
            **self.facts.quiet,
        }

    async def ask(self, body: Mapping[str, Any]) -> tuple[Seen, set[str]]:
        """Ask, again without each field the server refuses; the last reply, and which fields those were."""
        dropped: set[str] = set()
        for _ in range(len(REFUSALS)):
            gone = self.without | dropped
            sent = {name: value for name, value in body.items() if name not in gone}
            if "max_tokens" in gone:
                sent["max_completion_tokens"] = body["max_tokens"]
            seen = await self.line.chat(sent)
            named = str(seen.body.get("model") or "")
            if named and self.facts.served not in ("", named):
                self.facts.changed = tuple(dict.fromkeys((*self.facts.changed, named)))
            refused = next((n for n, s in REFUSALS.items() if n in sent and any(w in seen.text for w in s)), None)
            if seen.status not in (400, 422) or refused is None:
                break
            dropped.add(refused)
        return seen, dropped

    async def meet(self) -> None:
        """Who is there: the list of models, and what it tells besides."""
        seen = await self.line.get("/models")
        listed = seen.body.get("data")
        entries = [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list) else []
        facts = self.facts
        facts.listed = tuple(str(e.get("id")) for e in entries)
        owners = {str(e.get("owned_by", "")) for e in entries}
        kinds = {"vllm": "vLLM", "llamacpp": "llama.cpp", "library": "Ollama", "sglang": "SGLang"}
        facts.server = next((name for owner, name in kinds.items() if owner in owners), "")
        mine = next((e for e in entries if e.get("id") == self.asked.model), entries[0] if len(entries) == 1 else {})
        meta = mine.get("meta")
        told = [mine.get("max_model_len"), mine.get("context_length"), mine.get("context_window")]
        told.append(meta.get("n_ctx") if isinstance(meta, Mapping) else None)
        facts.context = next((n for n in told if isinstance(n, int) and n > 0), None)
        facts.context_from = "its list of models" if facts.context else ""
        if facts.server == "vLLM":
            facts.version = str((await self.line.get("/version", root=True)).body.get("version", ""))[:30]

    async def plain(self) -> Seen | None:
        """One question as a run would ask it. None where there is no use in going on."""
        from time import perf_counter

        facts, began = self.facts, perf_counter()
        seen, dropped = await self.ask(self.body())
        facts.seconds = perf_counter() - began
        self.without |= dropped
        if seen.status != 200:
            key = _keys.variable(self.line.url, self.line.key_env)
            fault = _faults.of_status(seen.status, seen.text, seen.body, seen.headers, self.line.url, key)
            facts.trouble = str(fault)
            if seen.status in ABSENT:
                facts.trouble = await self.absent(seen.status)
            elif 300 <= seen.status < 400 and (to := seen.headers.get("location")):
                facts.trouble = f"{facts.url} redirects to {_faults.where(to)}: {FINAL}"
            return None
        if not seen.good:
            named = _faults.identifiers(seen.body)
            said = f"{facts.url} answered HTTP 200, but no chat completion{f' ({named})' if named else ''}"
            facts.trouble = f"{said}: {await self.line.better() or PAGE}"
            return None
        self._thinking(seen)
        if self.facts.reasoning:
            seen = await self.quieten(seen)
        if not seen.said.strip() and seen.choices[0].get("finish_reason") == "length" and self.room < ROOMY:
            self.room = ROOMY
            seen, _ = await self.ask(self.body())
            self._thinking(seen)
        if self.facts.reasoning:
            seen = await self.quieten(seen)
        if not seen.said.strip():
            thinks = f": it thinks (in {facts.reasoning}); {SWITCH}" if facts.reasoning else ""
            facts.trouble = f"the model at {facts.url} answers nothing within {self.room} tokens{thinks}"
            return None
        facts.answers = True
        used = seen.used("completion_tokens") or 0
        if self.room > self.asked.max_tokens:
            facts.enough = max(64, 2 ** math.ceil(math.log2(2 * used))) if used else ROOMY
        facts.served = str(seen.body.get("model") or "")
        question = self.asked.told[0].question
        facts.right = question.many or chosen(question, seen.said) is not None
        facts.prompt = seen.used("prompt_tokens")
        facts.chars = sum(len(m.content) for m in self.asked.told[0].messages)
        for what, header in LIMITS.items():
            value = seen.headers.get(header, "")
            if value.isdigit() and int(value) > 0:
                facts.limits[what] = int(value)
        return seen

    async def absent(self, status: int) -> str:
        """What is said of an address without such a model, or without chat completions."""
        facts, model = self.facts, self.asked.model
        if facts.listed and model not in facts.listed:
            serves = f"it serves {', '.join(facts.listed[:10])}: mend model"
            return f"{facts.url} has no model {model!r} (HTTP {status}); {serves}"
        said = f"{facts.url} does not answer for model {model!r} (HTTP {status})"
        return f"{said}: {await self.line.better() or 'mend model or base_url (does it end in /v1?)'}"

    async def quieten(self, seen: Seen) -> Seen:
        """Look for a field that keeps it from thinking; the answer it gives then, or the one it gave before."""
        for field in QUIET:
            quiet, gone = await self.ask(self.body() | field)
            names = ("reasoning", "reasoning_content")
            loud = any(map(quiet.message.get, names)) or "<think>" in quiet.said
            loud = loud or bool(quiet.used("completion_tokens_details", "reasoning_tokens"))
            if not gone and quiet.good and quiet.said.strip() and not loud:
                self.facts.quiet = dict(field)
                return quiet
        return seen

    def _thinking(self, seen: Seen) -> None:
        facts = self.facts
        for name in ("reasoning", "reasoning_content"):
            if seen.message.get(name):
                facts.reasoning = f"message.{name}"
        if seen.said.lstrip().startswith("<think>"):
            facts.reasoning = "the answer's text"
        tokens = seen.used("completion_tokens_details", "reasoning_tokens") or 0
        facts.reasoning_tokens = max(facts.reasoning_tokens, tokens)
        if tokens and not facts.reasoning:
            facts.reasoning = "hidden tokens"

    async def spell(self) -> None:
        """Tokens of the option codes and of the label words, where the server can count them."""
        model, facts = self.asked.model, self.facts
        for option in sorted(self.asked.told[0].question.options, key=lambda o: o.code)[:64]:
            pair = []
            for form in (option.code, f" {option.code}"):
                ids = await self.line.ids({"model": model, "prompt": form, "add_special_tokens": False})
                if ids is None:
                    return
                self.ids += ids if len(ids) == 1 else []
                pair.append(len(ids))
            facts.codes[option.code] = (pair[0], pair[1])
        for label in self.asked.labels[:64]:
            count = await self.line.tokens({"model": model, "prompt": f" {label}", "add_special_tokens": False})
            if count is not None:
                facts.words[label] = count

    async def logprobs(self) -> None:
        """Log-probabilities: how many come, whether those of named tokens come, and are they twice the same?"""
        facts, question = self.facts, self.asked.told[0].question
        wanted = self.body() | {"logprobs": True, "top_logprobs": 20}
        seen, dropped = await self.ask(wanted)
        if "logprobs" in dropped and "top_logprobs" in seen.text:
            dropped.discard("logprobs")
        if seen.status in (400, 422) or "logprobs" in dropped:
            wanted["top_logprobs"] = 5
            seen, dropped = await self.ask(wanted)
        if "logprobs" not in dropped and seen.good:
            facts.top = max((len(top) for top in seen.tops), default=0)
        again, _ = await self.ask(wanted)
        if seen.good and again.good:
            facts.same = seen.said == again.said
            pairs = [(a[t], b[t]) for a, b in zip(seen.tops, again.tops, strict=False) for t in a if t in b]
            facts.spread = max((abs(a - b) for a, b in pairs), default=None)
        if facts.top and self.ids and all(min(pair) == 1 or 1 in pair for pair in facts.codes.values()):
            ids = sorted(set(self.ids))[:128]
            exact, gone = await self.ask(self.body() | {"logprobs": True, "logprob_token_ids": ids})
            facts.exact = "logprob_token_ids" not in gone and covers(exact, question.options)
            seen = exact if facts.exact else seen
        if facts.top and not question.many:
            facts.mass = mass(seen, question.options)

    async def choices(self) -> None:
        """Three ways of allowing one impossible answer only."""
        schema = {
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": [IMPOSSIBLE]}},
            "required": ["answer"],
            "additionalProperties": False,
        }
        ways: dict[str, Any] = {
            "structured_outputs": {"choice": [IMPOSSIBLE]},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
            "guided_choice": [IMPOSSIBLE],
        }
        for name, value in ways.items():
            seen, dropped = await self.ask(self.body() | {name: value, "max_tokens": max(self.room, 24)})
            if name in dropped or not seen.good:
                self.facts.enforced[name] = "refused"
            else:
                self.facts.enforced[name] = "obeyed" if obeys(seen.said) else "ignored"

    async def mode(self) -> None:
        """Are log-probabilities the model's own (raw), or what a constraint and the temperature leave of them?"""
        if not self.facts.top or self.asked.told[0].question.many:
            return
        code = self.asked.told[0].question.options[0].code
        if self.facts.enforced.get("structured_outputs") == "obeyed":
            limited = {"structured_outputs": {"choice": [code]}, "logprobs": True, "top_logprobs": 20}
            seen, dropped = await self.ask(self.body() | limited)
            if not dropped and seen.tops:
                others = [value for token, value in seen.tops[0].items() if token.strip() != code]
                self.facts.masked = not any(value > NEVER for value in others)
        if "temperature" in self.without:
            return
        heated = {"logprobs": True, "top_logprobs": 5}
        cool, warm = [(await self.ask(self.body() | heated | {"temperature": heat}))[0] for heat in (1.0, 2.0)]
        gaps = [gap(seen) for seen in (cool, warm)]
        if gaps[0] and gaps[1]:
            self.facts.mode = "processed" if gaps[1] < 0.75 * gaps[0] else "raw"

    async def cache(self) -> None:
        """How many tokens of a second question with the same beginning the server had kept."""
        before = await self._hits()
        seen, _ = await self.ask(self.body(1))
        facts, told = self.facts, seen.used("prompt_tokens_details", "cached_tokens")
        facts.prompt = seen.used("prompt_tokens") or facts.prompt
        facts.chars = sum(len(m.content) for m in self.asked.told[1].messages)
        if told is not None:
            facts.cached, facts.cached_from = told, "its usage"
        elif before is not None and (after := await self._hits()) is not None:
            facts.cached, facts.cached_from = int(after - before), "its /metrics"

    async def _hits(self) -> float | None:
        if self.facts.server != "vLLM":
            return None
        found = HITS.findall((await self.line.get("/metrics", root=True)).text)
        return sum(map(float, found)) if found else None

    async def draws(self) -> None:
        """Several answers in one request; the same seed twice."""
        body = {"model": self.asked.model, "messages": [NUMBERS], "temperature": 1.0, "max_tokens": max(self.room, 16)}
        several, gone = await self.ask(self.body() | {"n": 2, "temperature": 0.7})
        self.facts.drawn = len(several.texts) if several.good and "n" not in gone else 1
        found = [(await self.ask(body | {"seed": seed}))[0].said for seed in (7, 7, 8)]
        if "seed" in self.without | gone:
            self.facts.seeded = "refused"
        elif all(found) and found[0] != found[2]:
            self.facts.seeded = "obeyed" if found[0] == found[1] else "ignored"

    async def context(self) -> None:
        """The context length, from the refusal of an answer too long to be; only of servers that send no bill."""
        if self.facts.context or nearness(self.line.url) == "far":
            return
        seen = await self.line.chat(self.body() | {"max_tokens": HUGE})
        if seen.status in (400, 422) and (found := CONTEXT.search(seen.text)):
            self.facts.context, self.facts.context_from = int(found[1] or found[2]), "what it says to a wish too large"
