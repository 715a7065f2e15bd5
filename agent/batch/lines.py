"""A call as one line of a file, at the most it can take there, and what a line that came back says of its call.

Knows an oracle and its price; knows no ledger, no provider and no other line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from agent.batch import files
from agent.errors import CallFailed, EndpointDown, Transient, Unparsable
from agent.oracles import _bodies
from agent.prompt import stamp
from agent.store import Came
from agent.types import Answer, Call, Prompt, Status

FOR_GOOD = (400, 413, 422)
"""Statuses of a request that asking again does not mend."""


class Price(Protocol):
    """What tokens cost, in dollars."""

    def bill(self, tokens_in: int, tokens_out: int) -> float: ...


@runtime_checkable
class Filed(Protocol):
    """An oracle whose questions can be put into a file. `price`: what its tokens cost, None where that is not known;
    `settings`: with `base_url` and `api_key_env` where its files can be handed in."""

    @property
    def price(self) -> Price | None: ...
    @property
    def settings(self) -> Any: ...
    def body(self, prompt: Prompt) -> Mapping[str, Any]: ...
    def read(self, prompt: Prompt, response: Mapping[str, Any]) -> Answer: ...


Check = Callable[[Call, Prompt, Answer], object]
"""Reads an answer, only to see whether it can be read. Raises Unparsable."""


def of(oracle: Filed, jobs: Iterable[tuple[Call, Prompt]]) -> Iterable[tuple[tuple[Call, Prompt], bytes]]:
    """Each call, at the most that it can take in a file, with its prompt and its line."""
    for call, prompt in jobs:
        body = oracle.body(prompt)
        yield (_once(oracle, call, prompt, body), prompt), files.request(call.key, body)


def _once(oracle: Filed, call: Call, prompt: Prompt, body: Mapping[str, Any]) -> Call:
    """The call at the most that this one request can take: a file asks once, where asking may take several attempts."""
    price = oracle.price
    tokens_in = _bodies.tokens(prompt)
    tokens_out = int(body.get("n") or 1) * int(body.get("max_tokens") or body.get("max_completion_tokens") or 0)
    if price is None or not tokens_out:
        return replace(call, requests=1)
    usd, tokens = price.bill(tokens_in, tokens_out), tokens_in + tokens_out
    return replace(call, usd=min(usd, call.usd), tokens=min(tokens, call.tokens), requests=1)


def came(oracle: Filed, call: Call, prompt: Prompt, line: files.Line, check: Check) -> Came:
    """What a line says of its call: answer, status, and what went wrong."""
    nothing, all_of_it = Answer(""), Answer("", usd=call.usd, tokens_in=call.tokens, requests=1)
    if line.body is None:
        why = " ".join(word for word in (f"status {line.status}" * bool(line.status), line.code) if word) or "no body"
        return call.key, nothing, "failed" if line.status in FOR_GOOD else "error", why
    try:
        answer = stamp(prompt, oracle.read(prompt, line.body))
    except (Transient, CallFailed) as error:
        status: Status = "error" if isinstance(error, Transient) else "failed"
        return call.key, all_of_it if error.billed else nothing, status, str(error)
    except EndpointDown as error:
        return call.key, nothing, "error", str(error)
    except Exception as error:  # noqa: BLE001 - one strange line must not cost the others
        return call.key, all_of_it, "failed", f"unforeseen {type(error).__name__} in the oracle"
    if not answer.tokens_in:
        answer = replace(answer, usd=call.usd, tokens_in=call.tokens)
    answer = replace(answer, requests=1)
    try:
        check(call, prompt, answer)
    except Unparsable:
        return call.key, answer, "error", "unreadable: none of the options"
    return call.key, answer, "ok", ""
