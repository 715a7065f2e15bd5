"""From what was measured of an endpoint to lines for people and to the settings that follow. Asks nobody."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.cli.ground import Check
from agent.cli.house import many
from agent.cli.rehearse import parted

if TYPE_CHECKING:
    from agent.cli.pace import Pace
    from agent.cli.rehearse import Heard
    from agent.config import Rung
    from agent.oracles._found import Facts

LOW_MASS = 0.5
CHARS_A_TOKEN = 2.5
"""Characters a token may stand for in the text that is longest for the model; English has about four."""
UNREAD = "look at what it is sent (tutelage plan), try another template, or a model that follows instructions"


@dataclass
class Looked:
    """A rung as the doctor found it: its endpoints, its pace, the settings that follow, and what finding out took."""

    rung: str
    endpoints: list[Facts] = field(default_factory=list)
    pace: Pace | None = None
    advice: list[tuple[str, Any, str]] = field(default_factory=list)
    """(key, value, why)."""
    config: str = ""
    requests: int = 0
    tokens: int = 0
    usd: float = 0.0

    def body(self) -> dict[str, Any]:
        """For --json."""
        return {
            "rung": self.rung,
            "endpoints": [dataclasses.asdict(facts) for facts in self.endpoints],
            "pace": None if self.pace is None else dataclasses.asdict(self.pace),
            "settings": {key: value for key, value, _ in self.advice},
            "config": self.config,
            "asked": {"requests": self.requests, "tokens": self.tokens, "usd": round(self.usd, 6)},
        }


def rows(what: str, facts: Facts, rung: Rung, heard: Heard | None = None, words: bool = False) -> Iterator[Check]:
    """One line for each thing found of an endpoint. `heard`: of the rung's own asking; `words`: it asks for names."""
    if facts.trouble:
        yield Check(f"{what}: endpoint", "fail", *parted(facts.trouble))
        return
    server = " ".join(part for part in (facts.server, facts.version) if part)
    yield Check(f"{what}: endpoint", "ok", f"{facts.url} answers{f' ({server})' if server else ''}")
    yield _model(what, facts, str(rung.settings.model))
    if heard is not None:
        yield answered(what, heard)
    yield _choices(what, facts)
    yield from _logprobs(what, facts, rung.settings, heard, words)
    yield from _spelling(what, facts, words)
    yield from _reading(what, facts, rung.settings)
    yield from _drawing(what, facts)


def _model(what: str, facts: Facts, asked: str) -> Check:
    listed = ", ".join(facts.listed[:10])
    if facts.listed and asked not in facts.listed:
        mend = "see that it is the model you mean: write model as the server lists it"
        return Check(f"{what}: model", "warn", f"{asked} is not listed, yet it answers; listed: {listed}", mend)
    if facts.changed:
        mend = "an answer must not depend on when it was asked: write the name of one snapshot as model"
        return Check(
            f"{what}: model", "warn", f"several models answer: {facts.served}, {', '.join(facts.changed)}", mend
        )
    if facts.served and facts.served != asked:
        return Check(f"{what}: model", "ok", f"{asked}, served as {facts.served}")
    return Check(f"{what}: model", "ok", f"{asked} is served")


def answered(what: str, heard: Heard) -> Check:
    """Whether it answers by an option where it is asked as a run would ask it."""
    part, asked = f"{what}: answers", many(heard.asked, "made-up question")
    if heard.read == heard.asked:
        return Check(part, "ok", f"{heard.read:,} of {asked}, put as a run puts them, by one of the options")
    if heard.trouble and (heard.down or not heard.read):
        return Check(part, "fail" if heard.down else "warn", *parted(heard.trouble))
    if not heard.read:
        return Check(part, "fail", f"none of {asked}, put as a run puts them, was answered by an option", UNREAD)
    return Check(part, "warn", f"{heard.read:,} of {asked} only, put as a run puts them, by one of the options", UNREAD)


def _choices(what: str, facts: Facts) -> Check:
    said = ", ".join(f"{way} {found}" for way, found in facts.enforced.items())
    free = "" if facts.right else "; left to itself it writes something else"
    if "obeyed" in (facts.enforced.get("structured_outputs"), facts.enforced.get("response_format")):
        return Check(f"{what}: choices", "ok", f"asked for an impossible one: {said}{free}")
    return Check(f"{what}: choices", "ok", f"it is not kept to the options: {said or 'not found out'}{free}")


def _logprobs(what: str, facts: Facts, settings: Any, heard: Heard | None, words: bool) -> Iterator[Check]:
    part, insists = f"{what}: log-probabilities", getattr(settings, "logprobs", "") == "yes"
    if not facts.top:
        votes = getattr(settings, "votes", 1)
        mend = 'write logprobs = "auto" to count votes' if insists else ""
        yield Check(part, "fail" if insists else "ok", f"none: it is asked {votes} times and votes are counted", mend)
        return
    kind = "of exactly the codes' tokens (logprob_token_ids)" if facts.exact else f"of the {facts.top} likeliest tokens"
    kind += {"raw": "; raw: no temperature changes them", "processed": "; as the temperature leaves them", "": ""}[
        facts.mode
    ]
    if facts.masked is not None:
        kind += "; a constraint leaves only the options'" if facts.masked else "; a constraint does not change them"
    few = not facts.exact and facts.top < 20
    kind += "; an option that is not listed is taken to be less likely than those" if few else ""
    yield Check(part, "ok", kind)
    yield from massed(what, (heard.mass if heard and heard.spread else None) if words else facts.mass, words)


def massed(what: str, mass: float | None, words: bool) -> Iterator[Check]:
    """How much of the probability the options hold, in the form in which this rung reads them."""
    if mass is None:
        return
    mend = "the model would rather say something else: look at the prompt (tutelage plan), or try another template"
    held = "as the rung reads them, the label words hold" if words else "unconstrained, the codes hold"
    held += f" {mass:.2f} of the probability, other words {1 - mass:.2f}"
    few = mass < LOW_MASS
    yield Check(f"{what}: mass", "warn" if few else "ok", held, mend if few else "")


def _spelling(what: str, facts: Facts, words: bool) -> Iterator[Check]:
    if facts.codes and not words:
        long = [code for code, pair in facts.codes.items() if 1 not in pair]
        shown = ", ".join(list(facts.codes)[:6]) + (" …" if len(facts.codes) > 6 else "")
        if long:
            finding = f"{', '.join(long)} are several tokens: the distribution is read from what it writes"
            yield Check(f"{what}: codes", "ok", finding)
        else:
            yield Check(f"{what}: codes", "ok", f"{shown}: one token each")
    if facts.words:
        long = [f"{label} {count}" for label, count in facts.words.items() if count > 1]
        spelled = f"{len(facts.words) - len(long)} of {len(facts.words)} are one token"
        yield Check(f"{what}: label words", "ok", spelled + (f"; {', '.join(long[:6])}" if long else ""))


def _reading(what: str, facts: Facts, settings: Any) -> Iterator[Check]:
    """Prefix cache, context, thinking."""
    if facts.cached is not None:
        told = (
            f"{facts.cached:,} of {facts.prompt or 0:,} tokens of a second question came from it ({facts.cached_from})"
        )
        if facts.cached == 0 and facts.server == "vLLM":
            mend = "start vLLM with --block-size 32 (on a CPU 128 is usual), and without --no-enable-prefix-caching"
            yield Check(f"{what}: prefix cache", "warn", told, mend)
        else:
            yield Check(f"{what}: prefix cache", "ok", told)
    else:
        yield Check(f"{what}: prefix cache", "ok", "not told by this server")
    if facts.context is None:
        yield Check(f"{what}: context", "ok", "its length is not told")
    else:
        fits, limit = room_for(facts, settings), getattr(settings, "max_chars", None)
        small = limit is not None and fits < limit
        finding = f"{facts.context:,} tokens ({facts.context_from})"
        if small:
            finding += f"; a text of max_chars = {limit:,} may not fit"
        yield Check(
            f"{what}: context", "warn" if small else "ok", finding, f"write max_chars = {fits}" if small else ""
        )
    if facts.quiet:
        finding = f"in {facts.reasoning}; it can be kept from it"
        yield Check(f"{what}: thinking", "warn", finding, f"write extra = {_toml(facts.quiet)}")
    elif facts.enough:
        finding = f"in {facts.reasoning or 'its answer'}: it does not answer within max_tokens = {settings.max_tokens}"
        mend = f"switch its thinking off at the server, or write max_tokens = {facts.enough}"
        yield Check(f"{what}: thinking", "warn", finding, mend)
    elif facts.reasoning:
        spent = f", {facts.reasoning_tokens:,} tokens" if facts.reasoning_tokens else ""
        yield Check(
            f"{what}: thinking", "warn", f"in {facts.reasoning}{spent}", "it costs time and money: switch it off"
        )
    else:
        yield Check(f"{what}: thinking", "ok", "none seen")


def _drawing(what: str, facts: Facts) -> Iterator[Check]:
    if facts.same is not None:
        apart = "" if facts.spread is None else f", log-probabilities at most {facts.spread:.2g} apart"
        words = f"the same question twice: {'the same answer' if facts.same else 'two answers'}{apart}"
        kept = "" if facts.same else "; the first is kept and never asked for again"
        yield Check(f"{what}: sameness", "ok", words + kept)
    several = "n = 2 gives 2 answers" if facts.drawn == 2 else "one answer a request, whatever n says"
    seeds = {"obeyed": "seeds are obeyed", "ignored": "seeds are ignored", "refused": "seeds are refused"}
    yield Check(f"{what}: votes", "ok", "; ".join(filter(None, (several, seeds.get(facts.seeded, "")))))
    if facts.limits:
        told = ", ".join(f"{number:,} {kind}" for kind, number in facts.limits.items())
        yield Check(f"{what}: rate limits", "ok", f"{told} a minute (its headers)")
    if facts.missed:
        yield Check(f"{what}: not found out", "warn", ", ".join(facts.missed), "the server broke off: run doctor again")


def room_for(facts: Facts, settings: Any) -> int:
    """Characters of a text that surely fit beside the rest of the prompt and the answer, in hundreds."""
    assert facts.context is not None
    left = facts.context - (facts.prompt or 0) - int(facts.enough or settings.max_tokens)
    return max(int(left * CHARS_A_TOKEN) // 100 * 100, 100)


def between(what: str, endpoints: Sequence[Facts]) -> Iterator[Check]:
    """What several endpoints of one rung differ in: they should be one model with the same settings."""
    alive = [facts for facts in endpoints if not facts.trouble]
    apart: list[str] = []
    lines: list[str] = []
    for name, words in (
        ("served", "model"), ("version", "version of the server"), ("context", "context length"),
        ("exact", "log-probabilities of named tokens"), ("top", "number of log-probabilities"),
        ("mode", "mode of log-probabilities"), ("masked", "what a constraint leaves"), ("enforced", "choices obeyed"),
    ):  # fmt: skip
        told = [(facts.url, getattr(facts, name)) for facts in alive if getattr(facts, name) not in (None, "")]
        if any(value != told[0][1] for _, value in told):
            apart.append(words)
            lines.append(f"{words}: " + "; ".join(f"{url}: {_shown(value)}" for url, value in told))
    if apart:
        mend = "an answer must not depend on where it was asked: give them the same model and flags"
        finding = f"they differ in {', '.join(apart)}; {'; '.join(lines[:1])}"
        yield Check(f"{what}: endpoints", "warn", finding, mend, tuple(lines))


def _shown(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def advice(rung: Rung, endpoints: Sequence[Facts], pace: Pace | None) -> list[tuple[str, Any, str]]:
    """The settings that follow: (key, value, why). Only keys this oracle has; the worst endpoint decides."""
    settings, alive = rung.settings, [facts for facts in endpoints if not facts.trouble]
    out: list[tuple[str, Any, str]] = []
    if pace is not None and pace.knee:
        out.append(("in_flight", pace.knee, pace.words))
    if alive:
        given, exact = all(facts.top for facts in alive), all(facts.exact for facts in alive)
        why = "exact, by token ids" if exact else f"the {min(f.top for f in alive)} likeliest are listed"
        out.append(("logprobs", "yes", why) if given else ("logprobs", "no", "none are given: votes are counted"))
        obeyed = all("obeyed" in facts.enforced.values() for facts in alive)
        out.append(("structured", "auto", "choices are obeyed") if obeyed else ("structured", "no", "not obeyed"))
        quiet = next((facts.quiet for facts in alive if facts.quiet), None)
        if quiet:
            out.append(("extra", {**settings.extra, **quiet}, "keeps it from thinking"))
        enough = max((facts.enough or 0 for facts in alive), default=0)
        if enough:
            out.append(("max_tokens", enough, "it thinks before it answers"))
        rooms = [room_for(facts, settings) for facts in alive if facts.context]
        if rooms and hasattr(settings, "max_chars") and min(rooms) < settings.max_chars:
            out.append(
                ("max_chars", min(rooms), f"of {min(f.context for f in alive if f.context):,} tokens of context")
            )
        for kind in ("requests", "tokens"):
            told = [facts.limits[kind] for facts in alive if kind in facts.limits]
            if told:
                out.append((f"{kind}_per_minute", min(told), "told by its headers"))
    names = {f.name for f in dataclasses.fields(settings)} if dataclasses.is_dataclass(settings) else set()
    return [line for line in out if line[0] in names]


def snippet(rung: Rung, lines: Sequence[tuple[str, Any, str]]) -> str:
    """The rung as TOML: what it sets now, and `lines` in place of it."""
    told: dict[str, Any] = {"name": rung.name}
    told |= {kind: value for kind in ("student", "oracle") if (value := getattr(rung, kind)) is not None}
    fields = type(rung).model_fields
    for key, info in fields.items():
        if key not in ("name", "student", "oracle", "settings") and getattr(rung, key) != info.default:
            told[key] = getattr(rung, key)
    for each in dataclasses.fields(rung.settings):
        value = getattr(rung.settings, each.name)
        default = each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
        if value is not None and value != default:
            told[each.name] = value
    why = {key: because for key, _, because in lines}
    told |= {key: value for key, value, _ in lines}
    written = {key: f"{key} = {_toml(value)}" for key, value in told.items()}
    wide = max(len(text) for key, text in written.items() if key in why) if why else 0
    shown = [f"{text:<{wide}}  # {why[key]}" if key in why else text for key, text in written.items()]
    return "\n".join(["[[rung]]", *shown])


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)


def taken(looked: Looked, price: str) -> str:
    """What finding out has cost, in one line."""
    cost = f"about ${looked.usd:.4f}" if looked.usd else price
    return f"asked {many(looked.requests, 'short question')} ({looked.tokens:,} tokens), {cost}"
