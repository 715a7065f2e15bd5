"""The doctor's look at one rung: can it be built, what does its endpoint really do, how fast is it? Asks for real."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.cli.asking import Asking, asking, far, made_up, places, price, usd
from agent.cli.endpoint import Looked
from agent.cli.ground import Check
from agent.cli.house import many
from agent.cli.rehearse import PUT, parted
from agent.errors import TutelageError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.cli.rehearse import Heard
    from agent.config import Config, Rung
    from agent.types import Item

MUST = ("endpoint", "model")
"""What a rung cannot work without; what else a server lacks, the rung does without."""


@dataclass
class Visit:
    """What a look at the ladder needs, and what it found. `some`: items of the pool."""

    config: Config
    say: Callable[[str], None]
    offline: bool = False
    thorough: bool = False
    consent: bool = False
    """Whether a server is asked whose price nobody knows."""
    some: list[Item] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    planted: list[dict[str, object]] = field(default_factory=list)
    """What instructions planted in texts did, rung by rung (`--injection`)."""


def rung(visit: Visit, rung: Rung) -> Iterator[Check]:
    """The rows of one annotator."""
    if rung.person:
        yield _people(visit.config, rung)
        return
    from agent import egress

    config, what = visit.config, f"rung {rung.name}"
    try:
        if rung.student:
            _student(config, rung)
            yield Check(what, "ok", f"student {rung.student}")
            return
        made = asking(config, rung)
    except UserError as error:
        yield Check(what, "fail", str(error), f"correct rung.{rung.name}")
        return
    with egress.guarded(config.privacy.egress):
        yield from _oracle(visit, rung, made)


def _student(config: Config, rung: Rung) -> None:
    from agent import config as settings
    from agent import plugins
    from agent.loop.ground import context

    made = context(config, settings.the_task(config), settings.layout(config))
    plugins.load("students", str(rung.student)).build(rung.settings, made)


def _people(config: Config, rung: Rung) -> Check:
    what, people = f"rung {rung.name}", rung.settings.people
    if people not in (None, "gold") and not (config.root / people).exists():
        return Check(what, "fail", f"there is no file {people}", "correct people, or remove it")
    if people == "gold" and not config.pool.gold:
        return Check(what, "fail", 'people = "gold", but pool.gold names no column', "name pool.gold")
    return Check(what, "ok", "people answer by `tutelage review`" if people is None else f"answers come from {people}")


def _oracle(visit: Visit, rung: Rung, made: Asking) -> Iterator[Check]:
    what, oracle, distant = f"rung {rung.name}", made.oracle, far(rung)
    endpoints, probe = (getattr(made.plugin, name, None) for name in ("endpoints", "probe"))
    if (missing := _key(visit, rung, distant)) is not None:
        yield missing
        if distant:
            return
    server, told = bool(places(rung.settings)), endpoints or probe
    engine = told is None and oracle.traits.calibrate and not server
    if visit.offline or (told is None and not server and not (engine and (rung.oracle == "small" or visit.thorough))):
        yield Check(what, "ok", f"oracle {rung.oracle}" + (", not asked" if told or engine or server else ""))
        return
    if distant and price(rung) is None and not visit.consent:
        yield _price(visit, what, rung, distant)
        return
    try:
        if endpoints is not None:
            yield from _endpoints(visit, rung, endpoints, made, distant)
        elif probe is not None:
            yield from _told(what, probe, rung.settings)
        elif server:
            yield from _decider(visit, rung, distant)
        else:
            yield from _engine(visit, rung, made)
    except TutelageError as error:
        yield Check(what, "fail", str(error), f"correct rung.{rung.name}")


def _key(visit: Visit, rung: Rung, far: bool) -> Check | None:
    """A row where the key is not set."""
    from agent.cli.begin import unset_key

    if not (amiss := unset_key(rung)):
        return None
    finding, mend = amiss
    mend = f"{mend}, or correct rung.{rung.name}.api_key_env" if rung.settings.api_key_env else mend
    return Check(f"rung {rung.name}: key", "fail" if far and not visit.offline else "warn", finding, mend)


def _endpoints(visit: Visit, rung: Rung, endpoints: Any, made: Asking, far: bool) -> Iterator[Check]:
    """A server: what each address does, whether it answers as the run asks, then how fast they are together."""
    from agent.cli import endpoint
    from agent.oracles._probe import MOST

    what, looked = f"rung {rung.name}", Looked(rung.name)
    told = made.prompts(made_up())
    urls = places(rung.settings)
    each = usd(rung, made.oracle.most(told[0]).tokens, rung.settings.max_tokens)
    _announce(visit, what, MOST + PUT, (MOST + PUT) * len(urls), each, far)
    looked.endpoints = asyncio.run(endpoints(rung.settings, (told[0], told[1]), tuple(made.task.labels)))
    follows = {key: value for key, value, _ in endpoint.advice(rung, looked.endpoints, None)}
    words, answers = made.traits.readout == "words", False
    for url, facts in zip(urls, looked.endpoints, strict=True):
        found = None if facts.trouble else _heard(visit, rung, looked, follows | {"base_url": url})
        answers |= bool(found and found.read)
        yield from endpoint.rows(f"{what} at {facts.url}" if len(urls) > 1 else what, facts, rung, found, words)
    yield from endpoint.between(what, looked.endpoints)
    looked.requests += sum(facts.requests for facts in looked.endpoints)
    looked.tokens += sum(facts.tokens_in + facts.tokens_out for facts in looked.endpoints)
    asked_in, asked_out = (sum(getattr(f, f"tokens_{way}") for f in looked.endpoints) for way in ("in", "out"))
    looked.usd += usd(rung, asked_in, asked_out)
    yield _price(visit, what, rung, far)
    yield from _close(visit, what, rung, looked, follows, answers, far)


def _announce(visit: Visit, what: str, count: int, requests: int, each: float, far: bool) -> None:
    """What is about to be asked, and the most it can cost; `each`: dollars of one question."""
    from agent.cli import pace

    hurry = not far or visit.thorough
    cost = f", ${(requests + (pace.most() if hurry else 0)) * each:.4f} at most" if each else ""
    visit.say(f"{what}: asking up to {count} short questions{' and measuring its pace' if hurry else ''}{cost}")


def _close(
    visit: Visit, what: str, rung: Rung, looked: Looked, follows: dict[str, Any], answers: bool, far: bool
) -> Iterator[Check]:
    """The pace of a server that answers, the settings that follow, and what it took."""
    from agent.cli import endpoint, pace

    if answers and (not far or visit.thorough):
        yield from _pace(visit, what, _with(visit, rung, follows), looked, pace.LEVELS)
        looked.usd += looked.pace.usd if looked.pace else 0.0
    elif answers:
        yield Check(f"{what}: pace", "ok", "not measured; --thorough asks some hundred questions to do so")
    if answers:
        looked.advice = endpoint.advice(rung, looked.endpoints, looked.pace)
        looked.config = endpoint.snippet(rung, looked.advice)
    visit.looked.append(looked)
    visit.say(f"{what}: {endpoint.taken(looked, 'no charge' if price(rung) else 'price unknown')}")


def _with(visit: Visit, rung: Rung, settings: dict[str, Any]) -> Asking:
    return asking(visit.config, rung.model_copy(update={"settings": dataclasses.replace(rung.settings, **settings)}))


def _heard(visit: Visit, rung: Rung, looked: Looked, settings: dict[str, Any]) -> Heard:
    """The two made-up questions, put to one address as a run with these settings puts them."""
    from agent.cli.rehearse import hear

    made = _with(visit, rung, settings)
    found = hear(made, made.prompts(made_up()))
    looked.requests += found.requests
    looked.tokens += found.tokens_in + found.tokens_out
    looked.usd += usd(rung, found.tokens_in, found.tokens_out)
    return found


def _decider(visit: Visit, rung: Rung, far: bool) -> Iterator[Check]:
    """A server that decides instead of writing: does it, with a probability for each option?"""
    from agent.cli import endpoint
    from agent.cli.rehearse import NO_SHARE

    what, looked, read = f"rung {rung.name}", Looked(rung.name), 0
    urls, made = places(rung.settings), asking(visit.config, rung)
    most = made.oracle.most(made.prompts(made_up())[0])
    _announce(visit, what, 2, 2 * len(urls), usd(rung, most.tokens, 0), far)
    for url in urls:
        at = f"{what} at {url}" if len(urls) > 1 else what
        heard = _heard(visit, rung, looked, {"base_url": url})
        if heard.trouble:
            yield Check(f"{at}: endpoint", "fail" if heard.down or not heard.read else "warn", *parted(heard.trouble))
            continue
        yield Check(f"{at}: endpoint", "ok", f"it decides{f', as {heard.served}' if heard.served else ''}")
        if heard.mass is not None and heard.mass < NO_SHARE:
            mend = "see that the model is the one you mean, and that wire is what the server speaks"
            yield Check(f"{at}: answers", "fail", "it gives no option of ours any probability", mend)
            continue
        read += heard.read
        yield endpoint.answered(at, heard)
    yield _price(visit, what, rung, far)
    yield from _close(visit, what, rung, looked, {}, bool(read), far)


def _pace(visit: Visit, what: str, made: Asking, looked: Looked, levels: Sequence[int]) -> Iterator[Check]:
    """Answers a second, with texts of the pool."""
    from agent.cli import pace

    items = visit.some or made_up()
    found = looked.pace = pace.measure(made.oracle, made.prompts(items), levels)
    looked.requests += found.asked
    looked.tokens += found.tokens
    if found.trouble:
        yield Check(f"{what}: pace", "warn", found.trouble, "see to it, then run doctor again")
    elif found.answers:
        texts = many(len(items), "text") + (" of the pool" if items is visit.some else ", made up")
        yield Check(f"{what}: pace", "ok", f"{found.words} ({texts})")


def _engine(visit: Visit, rung: Rung, made: Asking) -> Iterator[Check]:
    """A model in this process: which, how its labels are spelled, items a second."""
    from agent.cli import pace

    what, looked = f"rung {rung.name}", Looked(rung.name)
    visit.say(f"{what}: loading the model and asking it for at most 10 s")
    spelled = spell(list(made.task.labels)) if (spell := getattr(made.oracle, "spell", None)) else {}
    rows = list(_pace(visit, what, made, looked, (pace.ENGINE,)))
    if looked.pace is not None and looked.pace.served:
        yield Check(f"{what}: model", "ok", looked.pace.served)
    if spelled:
        yield _labels(what, spelled)
    yield from rows
    visit.looked.append(looked)


def _labels(what: str, spelled: dict[str, int]) -> Check:
    """`spelled`: label -> number of its first token."""
    firsts: dict[int, list[str]] = {}
    for label, token in spelled.items():
        firsts.setdefault(token, []).append(label)
    shared = [names for names in firsts.values() if len(names) > 1]
    if not shared:
        return Check(f"{what}: label words", "ok", "each label begins with a token of its own: only that is scored")
    same = "; ".join(", ".join(names[:4]) for names in shared[:3])
    return Check(
        f"{what}: label words", "ok", f"some begin with one token ({same}): all tokens are scored, which is slower"
    )


def _price(visit: Visit, what: str, rung: Rung, far: bool) -> Check:
    found = price(rung)
    if found is None:
        told = f"unknown: {rung.settings.model} stands in no table of ours"
        mend = f"write usd_per_mtok_in and usd_per_mtok_out, or add --price {rung.name}=IN,OUT"
        if visit.consent:
            return Check(f"{what}: price", "warn", told, f"{mend}; or run with --budget none")
        mend += " (as for run); --yes asks it all the same"
        return Check(f"{what}: price", "fail", f"{told}; so it is not asked", mend)
    if not far and not found.usd_in + found.usd_out:
        return Check(f"{what}: price", "ok", "no charge: an address of this machine or a private network")
    source = f"table of {found.as_of}" if found.as_of else "settings"
    cached = f" (${found.usd_cached:g} from its cache)" if found.usd_cached != found.usd_in else ""
    words = f"a million tokens ${found.usd_in:g} in{cached}, ${found.usd_out:g} out; {source}"
    return Check(f"{what}: price", "ok", words)


def _told(what: str, probe: Any, settings: Any) -> Iterator[Check]:
    """The rows of a plug-in's own `probe(settings)`: what, finding, whether it is ok."""
    rows = probe(settings)
    rows = asyncio.run(rows) if inspect.iscoroutine(rows) else rows
    for part, finding, ok in rows:
        if ok:
            yield Check(f"{what}: {part}", "ok", str(finding))
        elif part in MUST:
            yield Check(f"{what}: {part}", "fail", *parted(str(finding)))
        else:
            yield Check(f"{what}: {part}", "ok", f"{finding}; the rung does without")
