"""Checked replies to one answer: what was said or drawn, how sure, and what it took. Sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from agent.errors import Took
from agent.oracles import Token, _bodies, _words, counted, read_codes, read_exactly
from agent.oracles._prices import Price
from agent.oracles._replies import Reply
from agent.types import Answer, Prompt

ENDS = 3
"""Tokens that may follow an answer, such as the one that ends it."""


def reckoned(found: Reply, prompt: Prompt, room: int) -> Reply:
    """A reply with its tokens: where the server does not count them, the most it can have taken."""
    if found.tokens_in:
        return found
    return replace(found, tokens_in=_bodies.tokens(prompt), tokens_out=room * found.choices)


def lost(prompt: Prompt, room: int, count: int, requests: int) -> Reply:
    """What requests for `count` answers may have taken of which nothing came back; 0 of them: they were not charged."""
    return Reply("", (), (), _bodies.tokens(prompt) if count else 0, room * count, 0, "", requests=requests)


def took(paid: Sequence[Reply], price: Price | None) -> Took:
    """What all of it has taken, or may have."""
    usd = 0.0 if price is None else sum(price.bill(r.tokens_in, r.tokens_out, r.cached) for r in paid)
    return Took(usd, sum(r.tokens_in + r.tokens_out for r in paid), sum(r.requests for r in paid))


def scored(
    prompt: Prompt,
    paid: Sequence[Reply],
    price: Price | None,
    known: Mapping[int, str] = MappingProxyType({}),
) -> Answer:
    """One code or name, read from log-probabilities; without them where what was written is no option.

    `known`: token number -> the name it begins, where those were asked for.
    """
    text, tokens = paid[-1].text, _own(paid[-1].text, paid[-1].tokens)
    words = prompt.readout == "words"
    if not words and (exact := read_exactly(prompt.question, text, tokens)) is not None:
        return collect(prompt, paid, price, *_massed(*exact))
    if prompt.rationale:
        text, tokens = _bodies.two(text)[0], _first_line(tokens)
    if words:
        read = _words.read(prompt.question, text, tokens, known)
    else:
        read = read_codes(prompt.question, text, tokens)
    if read is None:
        return collect(prompt, paid, price)
    return collect(prompt, paid, price, *_massed(*read))


def _massed(scores: Mapping[str, float], mass: float) -> tuple[Mapping[str, float], tuple[str, ...]]:
    """Log-probabilities, and what the options hold together where that is not all."""
    return scores, (f"mass={mass:.2f}",) if mass < 0.995 else ()


def drawn(prompt: Prompt, paid: Sequence[Reply], texts: Sequence[str], price: Price | None) -> Answer:
    """The most frequent of several drawn codes or names."""
    plain = [_bodies.two(text)[0] if prompt.rationale else _bodies.unwrapped(text) for text in texts]
    if prompt.readout == "words":
        plain = [code for text in plain if (code := _words.named(prompt.question, text)) is not None]
    result = counted(prompt.question, plain)
    answer = collect(prompt, paid, price, result[1] if result else None, ("votes",))
    return replace(answer, text=result[0]) if result else answer


def collect(
    prompt: Prompt,
    paid: Sequence[Reply],
    price: Price | None,
    scores: Mapping[str, float] | None = None,
    flags: tuple[str, ...] = (),
) -> Answer:
    """All that was paid for one question, as one answer."""
    last = paid[-1]
    text, why = _bodies.two(last.text) if prompt.rationale else (last.text, "")
    named = prompt.readout == "words" and not prompt.question.many
    if scores is None and named and _words.is_code(prompt.question, text):
        text, flags = "", (*flags, _words.NO_NAME)
    usd = 0.0 if price is None else sum(price.bill(r.tokens_in, r.tokens_out, r.cached) for r in paid)
    return Answer(
        text=text,
        logprobs=scores,
        usd=usd,
        tokens_in=sum(r.tokens_in for r in paid),
        tokens_out=sum(r.tokens_out for r in paid),
        tokens_cached=sum(r.cached for r in paid),
        served_model=last.model,
        flags=prompt.flags + flags,
        requests=sum(r.requests for r in paid),
        rationale=why,
    )


def _own(text: str, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """The tokens that are the text, without those of a thought before it and of an end after it; all where it cannot
    be told."""
    plain = text.strip()
    for end in range(len(tokens), max(len(tokens) - ENDS, 1) - 1, -1):
        found = ""
        for start in range(end - 1, -1, -1):
            found = tokens[start].text + found
            if len(found.strip()) >= len(plain):
                break
        if plain and found.strip() == plain:
            return tokens[start:end]
    return tokens


def _first_line(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """The tokens up to the first line's end, which may hang on the last of them."""
    begun = False
    for i, token in enumerate(tokens):
        begun = begun or bool(token.text.strip())
        if begun and "\n" in token.text:
            return tokens[: i + 1]
    return tokens
