"""Labels read by their names: what a model's tokens say of options whose names, not codes, it was to answer.

A name is told by its first token where no other name begins with it: exactly on vLLM, which gives the log-probabilities
of chosen tokens; elsewhere as far as its tokens are listed, step by step along the answer. Knows no engine.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence

from agent.oracles import EDGES, LEAST, Token, certain
from agent.oracles._wire import MOST_CODES, Wire
from agent.types import Prompt, Question

Read = tuple[dict[str, float], float]
"""Log-probability of every option's code, and the mass they hold together."""

NO_NAME = "a code, no name"
"""The flag of an answer that was one; its text is left out."""

UNSEEN = 0.05
"""Share left to longer names where an answer ends with a shorter one and what else might have followed is not told."""

NUMBERED = re.compile(r"token_id:(\d+)")
"""How vLLM writes a token where it is asked for its number (`return_tokens_as_token_ids`)."""

SPACES = str.maketrans({"\u2581": " ", "\u0120": " ", "\u010a": "\n"})
"""How some engines write space and line in a token."""


def firsts(names: Sequence[str], spelt: Mapping[str, Sequence[int]]) -> dict[int, str]:
    """Token number -> the one name that begins with it, bare or after a space; empty where two names share one.

    `spelt`: the tokens of each name, and of each with a space before.
    """
    found: dict[int, str] = {}
    for name in names:
        bare, spaced = list(spelt[name]), list(spelt[f" {name}"])
        # Where the space is a token of its own it says nothing of what follows.
        several = {bare[0] if bare else None, spaced[0] if spaced and spaced[1:] != bare else None} - {None}
        for number in several:
            if number is None or found.setdefault(number, name) != name:
                return {}
        if not bare:
            return {}
    return found


class Numbers:
    """The tokens whose log-probabilities vLLM is asked for. Learnt once for each name."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._spelt: dict[str, list[int]] = {}

    async def of(self, prompt: Prompt) -> Mapping[int, str]:
        """Token number -> the name it begins, or "" for a code; empty where the options cannot be told by one token."""
        options = prompt.question.options
        if prompt.readout == "codes":
            return dict.fromkeys(await self._wire.numbers(tuple(sorted(o.code for o in options))), "")
        if not self._wire.vllm or prompt.rationale or len(options) > MOST_CODES:
            return {}
        names = [option.choice for option in options]
        forms = [form for name in names for form in (name, f" {name}") if form not in self._spelt]
        for form, found in zip(forms, await asyncio.gather(*map(self._wire.tokens, forms)), strict=True):
            if found is None:
                return {}
            self._spelt[form] = found
        return firsts(names, self._spelt)


def named(question: Question, text: str) -> str | None:
    """The code of the option whose name `text` is, as written or with edges and letter case aside, or None."""
    exact = [option.code for option in question.options if option.choice.strip() == text.strip()]
    loose = [option.code for option in question.options if _bare(option.choice) == _bare(text) != ""]
    return next((found[0] for found in (exact, loose) if len(found) == 1), None)


def is_code(question: Question, text: str) -> bool:
    """Whether `text` is a code and no name; it must not pass for an answer where none was shown ("A" may begin a
    sentence)."""
    codes = {code for o in question.options for code in (o.code.casefold(), o.code.lstrip("0#").casefold())}
    return _bare(text) in codes and named(question, text) is None


def read(question: Question, text: str, tokens: Sequence[Token], known: Mapping[int, str]) -> Read | None:
    """What an answer by name says of all options; None where `text` is no name.

    `known`: token number -> name, where those tokens were asked for.
    """
    if (found := exactly(question, tokens, known)) is not None:
        return found
    code = named(question, text)
    if code is None:
        return None
    return along(question, code, tokens) or (_alone(question, code, tokens), 1.0)


def exactly(question: Question, tokens: Sequence[Token], known: Mapping[int, str]) -> Read | None:
    """The distribution over the names' first tokens, where all of these are listed beside the only token there is."""
    if len(tokens) != 1 or not known:
        return None
    codes = {option.choice: option.code for option in question.options}
    bare = {_bare(option.choice): option.code for option in question.options}
    found: dict[str, float] = {}
    for spelling, value in {**tokens[0].others, tokens[0].text: tokens[0].logprob}.items():
        if number := NUMBERED.fullmatch(spelling):
            code = codes.get(known.get(int(number[1]), ""))
        else:  # a server that gives tokens as text all the same
            led = _leads(_open(spelling), bare) if len(bare) == len(codes) else []
            code = bare[led[0]] if len(led) == 1 else None
        if code is not None:
            found[code] = found.get(code, 0.0) + math.exp(max(value, LEAST))
    if len(found) < len(codes):
        return None
    return {code: min(math.log(share), 0.0) for code, share in found.items()}, min(sum(found.values()), 1.0)


def along(question: Question, code: str, tokens: Sequence[Token]) -> Read | None:
    """Every option's log-probability, read along the answer's own tokens; None where they do not spell its name.

    At each token, what is listed counts for the names that go on with it, in equal parts where these are several; the
    answer's own way is followed until one name is left. Later steps are scaled to what the names hold together, so that
    a name is not the less likely for being long. A name that is not led to gets less than the least that was listed.
    """
    codes = {_bare(option.choice): option.code for option in question.options}
    if len(codes) < len(question.options) or "" in codes:
        return None
    target = next(name for name, other in codes.items() if other == code)
    got = dict.fromkeys(codes, 0.0)
    left, path, weight, mass = list(codes), "", 1.0, 0.0
    for token in tokens:
        begun = bool(_open(path))
        own = _way(path, token.text)
        if not own.strip(EDGES):
            path += token.text
            continue
        shares = _shares(path, token)
        ways = {way: _leads(way, left) for way in shares}
        if target not in ways[own]:
            return None
        held = sum(share for way, share in shares.items() if ways[way])
        scale = weight / held if begun else 1.0
        mass = mass or min(held, 1.0)
        for way, share in shares.items():
            for name in ways[way] if way != own else ():
                got[name] += scale * share / len(ways[way])
        unlisted = [name for name in left if name not in ways[own] and not any(name in led for led in ways.values())]
        for name in unlisted:
            got[name] += scale * _less(shares, len(unlisted))
        left, path, weight = ways[own], path + token.text, scale * shares[own]
        if len(left) == 1:
            break
    else:
        if mass == 0.0:
            return None
        for name in left:
            got[name] += weight * UNSEEN / (len(left) - 1) if name != target else -weight * UNSEEN
    got[target] += weight
    floor = math.exp(LEAST)
    return {codes[name]: min(math.log(max(share, floor)), 0.0) for name, share in got.items()}, mass


def _alone(question: Question, code: str, tokens: Sequence[Token]) -> dict[str, float]:
    """Where the tokens cannot be followed: the answer's own probability, and never less than another option's."""
    share = math.exp(max(sum(token.logprob for token in tokens), LEAST))
    return certain(question, code, max(share, 2 / (len(question.options) + 1)))


def _shares(path: str, token: Token) -> dict[str, float]:
    """What is listed for one place: what the answer would then be -> probability."""
    out: dict[str, float] = {}
    for text, value in {**token.others, token.text: token.logprob}.items():
        way = _way(path, text)
        out[way] = out.get(way, 0.0) + math.exp(max(min(value, 0.0), LEAST))
    return out


def _way(path: str, text: str) -> str:
    """What the answer is with one more token."""
    # A mark of the engine's ("<|im_end|>") ends the answer, as a line's end does.
    return _open(path + ("\n" if path and text.startswith("<") and text.endswith(">") else text))


def _leads(way: str, names: Mapping[str, str] | Sequence[str]) -> list[str]:
    """The names that an answer which so far is `way` may become."""
    whole = way.rstrip(EDGES)
    return [name for name in names if whole and (name.startswith(way) or name == whole)]


def _less(shares: Mapping[str, float], count: int) -> float:
    """What each of `count` names is given that was not listed: less than the least, and no more than is left."""
    return max(min(min(shares.values()) / math.e, max(1.0 - sum(shares.values()), 0.0) / count), math.exp(LEAST))


def _bare(text: str) -> str:
    return text.strip(EDGES).casefold()


def _open(text: str) -> str:
    """The beginning of an answer, to be gone on with: nothing is cut at its end."""
    return text.translate(SPACES).lstrip(EDGES).casefold()
