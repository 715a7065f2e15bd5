"""Our nouns as rows and back. Knows the column names; knows no database.

Free text lives in JSON with everything beyond ASCII escaped, so NUL bytes and lone surrogates (which SQLite or
PostgreSQL refuse) survive as they came. Plain text columns hold names; there the two are spelled out as `\\x00`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.types import Answer, Call, Decision, Status, Value

CALL_COLUMNS = (
    "key", "recipe", "item", "annotator", "sample", "purpose", "probability", "usd", "turn", "tokens", "requests",
)  # fmt: skip
ANSWER_COLUMNS = (
    "body", "usd", "tokens_in", "tokens_out", "tokens_cached", "served_model", "who", "seconds", "requests", "guide",
)  # fmt: skip

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode  # our own encoder wrote it: no white space to look for


def plain(text: str) -> str:
    """Text that every database takes: NUL and lone surrogates spelled out."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def to_json(body: Any) -> str:
    """JSON in ASCII."""
    return _encode(body)


def call_row(call: Call) -> dict[str, Any]:
    row = {column: getattr(call, column) for column in CALL_COLUMNS}
    row["at"] = time.time()
    return row


def call_of(row: Sequence[Any]) -> Call:
    """A Call from values in the order of CALL_COLUMNS."""
    return Call(*row)


def answer_row(key: str, answer: Answer, status: Status, error: str = "") -> dict[str, Any]:
    body: dict[str, Any] = {"text": answer.text}
    if answer.logprobs is not None:
        body["logprobs"] = dict(answer.logprobs)
    if answer.unsure:
        body["unsure"] = True
    if answer.flags:
        body["flags"] = list(answer.flags)
    if answer.options:
        body["options"] = list(answer.options)
    if answer.rationale:
        body["rationale"] = answer.rationale
    if error:
        body["error"] = error
    return {
        "key": key,
        "status": status,
        "body": _encode(body),
        "usd": float(answer.usd),
        "tokens_in": answer.tokens_in,
        "tokens_out": answer.tokens_out,
        "tokens_cached": answer.tokens_cached,
        "served_model": plain(answer.served_model),
        "who": plain(answer.who),
        "seconds": float(answer.seconds),
        "requests": answer.requests,
        "guide": answer.guide,
        "at": time.time(),
    }


def answer_of(row: Sequence[Any]) -> Answer:
    """An Answer from values in the order of ANSWER_COLUMNS."""
    text, usd, tokens_in, tokens_out, tokens_cached, served_model, who, seconds, requests, guide = row
    body = _decode(text)[0]
    return Answer(
        body["text"],
        body.get("logprobs"),
        usd,
        tokens_in,
        tokens_out,
        tokens_cached,
        served_model,
        body.get("unsure", False),
        who,
        seconds,
        tuple(body.get("flags", ())),
        requests,
        tuple(body.get("options", ())),
        body.get("rationale", ""),
        guide,
    )


DECISION_COLUMNS = ("turn", "item", "action", "by", "value", "confidence", "why")


def decision_rows(decisions: Sequence[Decision]) -> list[tuple[Any, ...]]:
    """Values in the order of DECISION_COLUMNS."""
    return [(d.turn, d.item, d.action, d.by, _encode(d.value), float(d.confidence), plain(d.why)) for d in decisions]


def value_of(text: str) -> Value | None:
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Decisions:
    """The last decision of each item as columns of one length, in the order in which they were made."""

    items: list[str]
    actions: list[str]
    by: list[str]
    values: list[Value | None]
    confidences: list[float]
    whys: list[str]
    turns: list[int]

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one annotator was asked and cost. `usd`: spent; `reserved`: the most that calls now under way may cost.

    `calls`: questions (one that a person took back and was put anew is one); `answers`: good ones that stand; `errors`:
    attempts that were made and came to nothing; `failed`: questions given up; `withdrawn`: questions or answers taken
    back. `requests` went over the wire, with `tokens` (in and out together); `held_requests` and `held_tokens` are the
    most that calls now under way may take of them. An engine in this process takes none of these four. `lost_usd`,
    `lost_tokens`, `lost_requests`: what of all that is only booked, and not known to have happened, for a process was
    ended while it waited.
    """

    usd: float = 0.0
    reserved: float = 0.0
    calls: int = 0
    answers: int = 0
    errors: int = 0
    failed: int = 0
    withdrawn: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens: int = 0
    requests: int = 0
    held_tokens: int = 0
    held_requests: int = 0
    lost_usd: float = 0.0
    lost_tokens: int = 0
    lost_requests: int = 0


@dataclass(frozen=True, slots=True)
class Spend:
    """Sums over the ledger, in all and by annotator."""

    total: Usage
    by: Mapping[str, Usage] = field(default_factory=dict)

    @property
    def usd(self) -> float:
        return self.total.usd

    @property
    def reserved(self) -> float:
        return self.total.reserved

    @property
    def calls(self) -> int:
        return self.total.calls

    @property
    def answers(self) -> int:
        return self.total.answers

    @property
    def errors(self) -> int:
        return self.total.errors

    @property
    def failed(self) -> int:
        return self.total.failed


@dataclass(frozen=True, slots=True)
class Reserved:
    """What became of the calls: may be sent, were answered (failed, withdrawn) before, do not fit in the budget.

    `short`: what the first that was refused found too little of: "usd", "tokens" or "calls"; "" where none was. `left`
    and `needs`: how much of it there was, and how much that call may take.
    """

    granted: list[Call]
    closed: list[Call]
    refused: list[Call]
    short: str = ""
    left: float = 0.0
    needs: float = 0.0
