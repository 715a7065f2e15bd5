"""The body of a chat completion to a checked reply, or to the fault it is. Knows no request, no question, no option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import CallFailed, EndpointDown, Transient
from agent.oracles import Token, _faults


class Short(CallFailed):
    """The answer's tokens were used up before there was an answer. `reply`: what it took."""

    def __init__(self, message: str, reply: Reply) -> None:
        super().__init__(message)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back of one request: the first text, all texts (n > 1), the first one's tokens, and what it took.

    `finish`: why the first text ends. `choices`: how many texts came, empty ones too. `requests`: how many it took,
    where a field had to be left out first.
    """

    text: str
    texts: tuple[str, ...]
    tokens: tuple[Token, ...]
    tokens_in: int
    tokens_out: int
    cached: int
    model: str
    finish: str = ""
    requests: int = 1
    choices: int = 1


def reply(body: Mapping[str, Any], where: str) -> Reply:
    """The reply in a body.

    Raises:
        Transient, EndpointDown: it is an error under HTTP 200, or no completion.
        CallFailed: the model refused, its filter stopped it, or it answered nothing.
        Short: nothing but reasoning within max_tokens.
    """
    if body.get("error"):
        said = f"{where} answered HTTP 200 with an error: {_faults.identifiers(body) or 'unnamed'}"
        if _faults.QUOTA.search(str(body["error"])):
            raise EndpointDown(f"{said}: {_faults.CREDIT}")
        raise Transient(said)
    listed = body.get("choices")
    choices = [choice for choice in listed if isinstance(choice, dict)] if isinstance(listed, list) else []
    if not choices:
        raise Transient(f"{where} answered without choices", billed=True)
    texts = [_content(choice) for choice in choices]
    found = _reply(body, choices[0], texts)
    if not any(texts):
        raise _nothing(found, choices[0], where)
    return found


def _reply(body: Mapping[str, Any], first: Mapping[str, Any], texts: list[str]) -> Reply:
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    return Reply(
        text=texts[0],
        texts=tuple(text for text in texts if text),
        tokens=_tokens(first.get("logprobs")),
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
        cached=_count(details, "cached_tokens") if isinstance(details, dict) else 0,
        model=str(body.get("model") or ""),
        finish=str(first.get("finish_reason") or ""),
        choices=len(texts),
    )


def _nothing(found: Reply, choice: Mapping[str, Any], where: str) -> CallFailed:
    """Why there is no text. What was thought or said in refusing is not quoted: it may repeat the item."""
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    if found.finish == "content_filter":
        return CallFailed(f"the content filter of {where} stopped the answer (content_filter)")
    if message.get("refusal"):
        return CallFailed(f"the model at {where} declines to answer (refusal)")
    if found.finish == "length":
        mend = "raise max_tokens of this rung, or switch the model's thinking off"
        return Short(f"the model at {where} used up max_tokens before it answered: {mend}", found)
    if message.get("reasoning") or message.get("reasoning_content"):
        mend = "switch its thinking off (for Qwen3: extra = {chat_template_kwargs = {enable_thinking = false}})"
        return CallFailed(f"the model at {where} wrote its reasoning and no answer: {mend}")
    return CallFailed(f"the model at {where} answered nothing (finish_reason {found.finish[:20] or 'none'})")


def _content(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """The tokens of `choices[0].logprobs`; those that are not as documented are passed over."""
    listed = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = []
    for entry in listed if isinstance(listed, list) else ():
        pair = _pair(entry)
        if pair is not None:
            others = entry.get("top_logprobs")
            found.append(Token(*pair, dict(p for o in others if (p := _pair(o))) if isinstance(others, list) else {}))
    return tuple(found)


def _pair(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    token, value = entry.get("token"), entry.get("logprob")
    if type(value) is int:
        value = float(value)
    if not isinstance(token, str) or type(value) is not float or value != value:  # the last is true of NaN only
        return None
    return (token, value) if value < 0.0 else (token, 0.0)
