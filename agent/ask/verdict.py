"""What an attempt that went wrong means: for its call, for the money, for the run. Knows no clock and no ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.errors import CallFailed, EndpointDown, Pause, Took, Transient, UserError
from agent.types import Answer, Call


class Over(Exception):
    """No further attempt, and nothing left to note: the call has ended or the run has been stopped."""


class Broken(Exception):
    """No further attempt now: something of ours broke. The call stays open."""


class Refused(Exception):
    """No further attempt: the budget does not bear it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """status: "error", and the call stays open, or "failed" for good. why: for the ledger, without a word of the item.
    cost: what the attempt may have taken, as an answer. then: what to raise. stop: why the run is to stop, or "".
    alive: whether something came back that only a working endpoint says. sent: whether anything left."""

    status: Literal["error", "failed"]
    why: str
    cost: Answer
    then: Exception
    stop: str = ""
    alive: bool = False
    strange: bool = False
    sent: bool = True


def cost(call: Call, billed: bool, sent: bool = True, took: Took | None = None) -> Answer:
    """What an attempt without an answer may have taken: what is known of it, else all that was reserved (billed), a
    request that was not charged, or nothing (not sent)."""
    if took is not None:
        return Answer("", usd=took.usd, tokens_in=took.tokens, requests=took.requests)
    if billed:
        return Answer("", usd=call.usd, tokens_in=call.tokens, requests=call.requests)
    return Answer("", requests=min(1, call.requests) if sent else 0)


def verdict(error: Exception, call: Call, deadline: float) -> Verdict:
    """The verdict on whatever the oracle raised; TimeoutError: the deadline (seconds) has passed."""
    if isinstance(error, TimeoutError):
        error = Transient(f"no answer within {deadline:g} s", billed=True)
    if isinstance(error, Transient):
        return Verdict("error", str(error), cost(call, error.billed, error.sent, error.took), error, sent=error.sent)
    if isinstance(error, EndpointDown):
        took = cost(call, error.billed, error.sent, error.took)
        return Verdict("error", str(error), took, Over(), stop=str(error), sent=error.sent)
    if isinstance(error, Pause | UserError):
        then = error if isinstance(error, UserError) else Over()
        return Verdict("error", str(error), cost(call, False, sent=False), then, stop=str(error), sent=False)
    if isinstance(error, CallFailed):
        return Verdict("failed", str(error), cost(call, error.billed, took=error.took), Over(), alive=True)
    why = f"unforeseen {type(error).__name__} in the oracle"
    return Verdict("error", why, cost(call, True), Broken(), strange=True)
