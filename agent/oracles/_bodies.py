"""A prompt to the JSON body of a chat completion, and how many tokens that may take. Sends nothing, learns nothing."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from agent.oracles._wire import Wire
from agent.types import Prompt

CONSTRAINED = 26
"""No grammar is sent for more options than this: engines stall on large ones."""

WHY = 80
"""Tokens an answer has at the least where it is to say why."""

LONGER = 256
"""Tokens at the least for the second answer to a question whose first was cut short."""

HEAT = 0.7
"""Temperature at which votes are drawn."""

NUMBERED = {"return_tokens_as_token_ids": True}
"""Asks vLLM to write tokens by their numbers."""

OURS = frozenset({
    "model", "messages", "stream", "n", "seed", "temperature", "max_tokens", "max_completion_tokens", "min_tokens",
    "logprobs", "top_logprobs", "logprob_token_ids", "structured_outputs", "response_format", *NUMBERED,
})  # fmt: skip
"""Fields that are decided question by question."""


def tokens(prompt: Prompt) -> int:
    """The most tokens a prompt may be: a token a byte, four times what English needs, and some for each message.

    No byte-level vocabulary takes more. Digits, as well as much of what is no language (hex, base64), come near it.
    """
    return sum(_bytes(m.content) + 16 for m in prompt.messages)


def _bytes(text: str) -> int:
    """Bytes of a text, as it stands or as tokenizers that compose characters first (NFC) see it."""
    if text.isascii():
        return len(text)
    return max(len(one.encode("utf-8", "replace")) for one in (text, unicodedata.normalize("NFC", text)))


def room(prompt: Prompt, max_tokens: int) -> int:
    """The most tokens an answer is given."""
    least = 8 * len(prompt.question.options) * prompt.question.many
    if prompt.readout == "words":  # a token may be as little as a byte of a name
        bytes_each = [len(choice.encode("utf-8", "replace")) + 4 for choice in spellings(prompt)]
        least = sum(bytes_each) if prompt.question.many else max(bytes_each, default=0)
    return max(max_tokens, WHY * prompt.rationale, least)


def longer(room: int) -> int:
    """And a second one, after the first was cut short."""
    return max(4 * room, LONGER)


def spellings(prompt: Prompt) -> list[str]:
    """What an answer may be: the options' codes, or their names where these are read, in their order."""
    words = prompt.readout == "words"
    return [option.choice if words else option.code for option in prompt.question.options]


def schema(prompt: Prompt, vllm: bool) -> dict[str, Any]:
    """A JSON schema that allows options only: a list of codes (or names) for `many`, else one."""
    code = {"type": "string", "enum": sorted(spellings(prompt))}
    listed = {"type": "array", "items": code}
    if vllm and prompt.question.many:
        return {"structured_outputs": {"json": listed}}
    name, value = ("labels", listed) if prompt.question.many else ("label", code)
    inner = {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": inner}}}


def unwrapped(text: str) -> str:
    """The code in an answer that obeys `schema`; other text as it is."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return text
    value = held.get("label") if isinstance(held, dict) else None
    return value if isinstance(value, str) else text


def is_cut(text: str, finish: str) -> bool:
    """Whether a list of codes was cut off in the middle."""
    if finish != "length":
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return True
    return False


def two(text: str) -> tuple[str, str]:
    """The label and the reason of an answer that was to give both: its first line, and the rest."""
    first, _, rest = text.strip().partition("\n")
    return (text, "") if first.startswith("```") else (first.strip(), rest.strip())


@dataclass(frozen=True)
class Bodies:
    """The bodies that ask one model. structured: options may be forced; extra: fields of the user's own."""

    wire: Wire
    temperature: float
    max_tokens: int
    structured: bool
    extra: Mapping[str, Any]

    def _body(self, prompt: Prompt, room: int) -> dict[str, Any]:
        return {
            "model": self.wire.model,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "temperature": self.temperature,
            "max_tokens": room,
            "seed": prompt.seed,
            **self.extra,
        }

    def _forced(self, prompt: Prompt) -> bool:
        return self.structured and len(prompt.question.options) <= CONSTRAINED and not prompt.rationale

    def single(self, prompt: Prompt, room: int, ids: Collection[int]) -> dict[str, Any]:
        """One code (or name) with its log-probabilities: those of the tokens `ids` where any are given.

        For those one token is enough and nothing is forced: the distribution is read whatever the model would rather
        write, and the mass that the codes hold together stays to be seen, which a constraint would scale to one.
        """
        words, usual = prompt.readout == "words", max(self.max_tokens, LONGER - 1)
        if ids and not prompt.rationale and room <= usual and "logprob_token_ids" not in self.wire.without:
            # Part of a name may be no text of its own, and two parts may look the same: tokens come by number.
            numbered = NUMBERED if words else {}
            return self._body(prompt, 1) | {"logprobs": True, "logprob_token_ids": [*ids], "min_tokens": 1} | numbered
        body = self._body(prompt, room) | {"logprobs": True}
        if self.wire.vllm and self._forced(prompt):
            body["structured_outputs"] = {"choice": spellings(prompt)}
        if ids and not words:
            body["logprob_token_ids"] = [*ids]
        return body

    def again(self, body: Mapping[str, Any], prompt: Prompt, room: int) -> dict[str, Any]:
        """The body of a second try at an answer that was cut short, as one of a model that thinks first is."""
        gone = {"min_tokens"} | ({"logprob_token_ids", *NUMBERED} if prompt.readout == "words" else set())
        more = {name: value for name, value in body.items() if name not in gone} | {"max_tokens": room}
        if "min_tokens" in body and self._forced(prompt):
            more["structured_outputs"] = {"choice": spellings(prompt)}
        return more

    def votes(self, prompt: Prompt, room: int, count: int, attempt: int = 0) -> dict[str, Any]:
        """Several codes, drawn."""
        seed = (prompt.seed + attempt * 0x9E3779B1) % 2**31  # engines use seed + i for the i-th answer: keep apart
        body = self._body(prompt, room) | {"temperature": HEAT, "n": count, "seed": seed}
        if self._forced(prompt) and self.wire.vllm:
            body["structured_outputs"] = {"choice": spellings(prompt)}
        elif self._forced(prompt):
            body |= schema(prompt, False)
        return body

    def many(self, prompt: Prompt, room: int) -> dict[str, Any]:
        """A list of codes."""
        return self._body(prompt, room) | (schema(prompt, self.wire.vllm) if self._forced(prompt) else {})
