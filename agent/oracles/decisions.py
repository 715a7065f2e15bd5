"""Engines that decide instead of writing: `/v1/decisions` and `/v1/systemone`. Knows no task and no ledger.

The item is sent as data and the options apart from it, by name and with their descriptions; probabilities of all
options come back, nothing is generated. An engine's own "confidence" means another thing in each and is not read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from agent.errors import CallFailed, EndpointDown, Transient
from agent.oracles import LEAST, _bodies, _prices, _reach
from agent.oracles._served import Served
from agent.oracles._wire import Wire
from agent.types import Answer, Context, Most, Option, Prompt

AT_ONCE = 64
"""Questions in one request: what vLLM takes."""

WORDS = 8
"""Tokens a question's answer may be billed as, at the most."""

LACKS = 'take oracle = "openai" with the same base_url, or a model that the server can read decisions from'


@dataclass(frozen=True)
class Settings:
    """Keys of a `[[rung]]` with oracle = "decisions".

    model: the model's name at the server.
    wire: "decisions" (OpenAI, vLLM) or "systemone" (vLLM and others); no server says which of the two it speaks.
    base_url: where the server is, with its version path ("…/v1"); or a list of such, all with the same model.
    api_key_env: the environment variable that holds the key. None reads OPENAI_API_KEY for OpenAI's own hosts and
        AZURE_OPENAI_API_KEY for Azure's, and sends none on this machine or a private network; others must name it.
    in_flight: questions asked at once.
    requests_per_minute, tokens_per_minute: limits of your account; None is none.
    usd_per_mtok_in, usd_per_mtok_out: US dollars per million tokens; None looks into the table of known prices, and is
        0 for private addresses.
    deadline: seconds one request may take in all.
    template: prompt template: its first block is the instruction, its second the text that is decided about.
    max_chars: characters of an item that are shown; of a longer one the middle is left out.
    may_train_student: whether the provider's terms allow to train on the answers.
    revision: a word of your own; change it to have everything asked again, as after new weights under an old name.
    pin: pause when another model answers than did at first; else it is said once and such answers are flagged.
    """

    model: str
    wire: Literal["decisions", "systemone"] = "decisions"
    base_url: str | tuple[str, ...] = "https://api.openai.com/v1"
    api_key_env: str | None = None
    in_flight: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    usd_per_mtok_in: float | None = None
    usd_per_mtok_out: float | None = None
    deadline: float = 60.0
    template: str = "decisions.j2"
    max_chars: int = 6_000
    may_train_student: bool = True
    revision: str = ""
    pin: bool = False

    def __post_init__(self) -> None:
        _reach.check(self)

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses."""
        return _reach.urls(self)

    @property
    def recipe(self) -> dict[str, str]:
        """What could change an answer. Not the address: a model that moves is still the same."""
        return {name: str(getattr(self, name)) for name in ("model", "wire", "revision", "max_chars")}


def build(settings: Settings, context: Context) -> Decisions:
    """The oracle; nothing is sent before the first question."""
    return Decisions(settings)


@dataclass(frozen=True, slots=True)
class Decided:
    """One answer of the engine: the chance of each value, by its text, and what is odd about it."""

    chances: Mapping[str, float]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back of one request."""

    decided: tuple[Decided, ...]
    tokens_in: int
    tokens_out: int
    cached: int
    model: str


class Decisions:
    """One model that decides, at its servers."""

    def __init__(self, settings: Settings) -> None:
        at = self.settings = settings
        self.wire = Wire(at.model, at.urls, at.api_key_env, at.deadline, lacks=LACKS)
        self.price = _prices.price_of(at.model, at.urls, at.usd_per_mtok_in, at.usd_per_mtok_out)
        self.traits = _reach.traits(at)
        self._served = Served(at.pin)

    @property
    def unpriced(self) -> str:
        """The model's name where nobody knows what its tokens cost; else empty."""
        return "" if self.price else self.settings.model

    def most(self, prompt: Prompt) -> Most:
        """The most this question can take: a token a byte of the prompt, half of one of what it is sent in, and a few
        for each answer."""
        bodies = [json.dumps(body, ensure_ascii=False) for body, _ in self._bodies(prompt)]
        # The engine may read the text anew for each question of a request.
        text = _bodies.tokens(prompt) * (len(prompt.question.options) if prompt.question.many else 1)
        asked = sum(len(body.encode("utf-8", "replace")) // 2 for body in bodies) + text
        said = WORDS * (len(prompt.question.options) if prompt.question.many else 1)
        return Most(self._usd(asked, said), asked + said, len(bodies))

    def _usd(self, tokens_in: int, tokens_out: int, cached: int = 0) -> float:
        return self.price.bill(tokens_in, tokens_out, cached) if self.price else 0.0

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask once; several requests where there are more labels of kind multi than one takes.

        Raises:
            EndpointDown: refused for good: nobody there, key, credit, model; the server decides nothing; or not what it
                was.
            Transient: this attempt failed; `billed` where the engine may have worked.
            CallFailed: this question cannot be answered: too long, too many options, refused.
        """
        self._served.check()
        path = f"/{self.settings.wire}"
        paid: list[Reply] = []
        for body, names in self._bodies(prompt):
            try:
                paid.append(await self.wire.ask(path, body, partial(_read, names), prompt.key))
            except Transient as error:
                raise Transient(str(error), error.after, error.billed or bool(paid), error.sent or bool(paid)) from None
            except CallFailed as error:
                raise CallFailed(str(error), error.billed or bool(paid)) from None
            except EndpointDown as error:
                raise EndpointDown(str(error), error.billed or bool(paid), error.sent or bool(paid)) from None
        return self._served.same(self._collect(prompt, paid), self.wire.where)

    def _collect(self, prompt: Prompt, paid: Sequence[Reply]) -> Answer:
        decided = [one for reply in paid for one in reply.decided]
        options = prompt.question.options
        flags = tuple(dict.fromkeys(flag for one in decided for flag in one.flags))
        if prompt.question.many:
            yes = [one.chances.get("yes", 0.0) for one in decided]
            text = json.dumps([option.code for option, chance in zip(options, yes, strict=True) if chance > 0.5])
        else:
            yes = [decided[0].chances.get(option.choice, 0.0) for option in options]
            text = options[max(range(len(options)), key=yes.__getitem__)].code
            if sum(yes) < 0.995 and not any(flag.startswith("mass=") for flag in flags):
                flags += (f"mass={sum(yes):.2f}",)
        most = self.most(prompt)
        counted = all(reply.tokens_in for reply in paid)
        return Answer(
            text=text,
            logprobs={o.code: math.log(min(max(p, math.exp(LEAST)), 1.0)) for o, p in zip(options, yes, strict=True)},
            usd=sum(self._usd(r.tokens_in, r.tokens_out, r.cached) for r in paid) if counted else most.usd,
            tokens_in=sum(r.tokens_in for r in paid) if counted else most.tokens,
            tokens_out=sum(r.tokens_out for r in paid) if counted else 0,
            tokens_cached=sum(r.cached for r in paid),
            served_model=paid[-1].model,
            flags=prompt.flags + flags,
            requests=len(paid),
        )

    def _bodies(self, prompt: Prompt) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
        """Each request's body, and the names of its questions in their order."""
        *before, last = prompt.messages
        told, text = "\n\n".join(m.content for m in before), last.content
        if not prompt.question.many:
            yield self._body(text, {"label": (told, prompt.question.options)}), ("label",)
            return
        both = (Option("1", "yes"), Option("0", "no"))
        asked = {
            o.code: (f"{told}\n\nDoes this label apply? {_named(o)}".strip(), both) for o in prompt.question.options
        }
        codes = tuple(asked)
        for start in range(0, len(codes), AT_ONCE):
            names = codes[start : start + AT_ONCE]
            yield self._body(text, {name: asked[name] for name in names}), names

    def _body(self, text: str, asked: Mapping[str, tuple[str, Sequence[Option]]]) -> dict[str, Any]:
        if self.settings.wire == "systemone":
            questions: Any = {
                name: {
                    "type": "choice",
                    "instructions": told,
                    "criteria": {option.choice: option.description or None for option in options},
                }
                for name, (told, options) in asked.items()
            }
            return {"model": self.settings.model, "state": text, "questions": questions}
        questions = [
            {
                "type": "choice",
                "name": name,
                "instructions": told,
                "choices": [
                    {"value": option.choice} | ({"description": option.description} if option.description else {})
                    for option in options
                ],
            }
            for name, (told, options) in asked.items()
        ]
        return {"model": self.settings.model, "input": text, "questions": questions}

    async def close(self) -> None:
        """Close the connections."""
        await self.wire.close()


def _named(option: Option) -> str:
    return f"{option.choice}: {option.description}" if option.description else option.choice


def _read(names: Sequence[str], body: Mapping[str, Any], where: str) -> Reply:
    """The decisions in a body, in the order of the questions.

    Raises:
        Transient: there is not one for each question. CallFailed: the engine refuses to decide.
    """
    answers, told = body.get("answers"), body.get("diagnostics")
    told = told if isinstance(told, dict) else {}
    if isinstance(answers, list) and len(answers) == len(names):
        answers = dict(zip(names, answers, strict=True))
    if not isinstance(answers, dict) or not all(isinstance(answers.get(name), dict) for name in names):
        raise Transient(f"{where} did not answer each of {len(names)} questions", billed=True)
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    return Reply(
        tuple(_decided(answers[name], told.get(name), where) for name in names),
        _count(usage, "prompt_tokens", "input_tokens"),
        _count(usage, "completion_tokens", "output_tokens"),
        _count(details, "cached_tokens") if isinstance(details, dict) else 0,
        str(body.get("model") or ""),
    )


def _decided(answer: Mapping[str, Any], told: Any, where: str) -> Decided:
    if answer.get("type") == "refusal" or answer.get("refusal"):
        raise CallFailed(f"the model at {where} declines to decide (refusal)")
    listed = answer.get("probabilities")
    pairs: list[tuple[Any, Any]] = []
    if isinstance(listed, dict):
        pairs = list(listed.items())
    elif isinstance(listed, list):
        pairs = [(one.get("value"), one.get("probability")) for one in listed if isinstance(one, dict)]
    chances = {str(value): float(p) for value, p in pairs if isinstance(p, int | float) and 0 <= p <= 1}
    if not sum(chances.values()) > 0:
        raise Transient(f"{where} gave no probabilities", billed=True)
    told = told if isinstance(told, dict) else {}
    mass = told.get("label_mass")
    flags: tuple[str, ...] = ()
    if isinstance(mass, int | float) and mass < 0.995:
        flags += (f"mass={mass:.2f}",)
    if told.get("argmax_is_label") is False:
        flags += ("argmax is no label",)
    return Decided(chances, flags)


def _count(usage: Mapping[str, Any], *names: str) -> int:
    return next((v for name in names if isinstance(v := usage.get(name), int) and v > 0), 0)
