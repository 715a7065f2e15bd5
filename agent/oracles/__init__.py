"""What the oracles share: from what an engine wrote or scored to log-probabilities of option codes. Knows no engine.

And reading files of recorded votes, which two of them do.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import urlsplit

from agent import egress
from agent.errors import DataError
from agent.types import Question

Readout = Literal["codes", "words"]

EDGES = " \t\r\n\"'`*_()[]{}<>.,:;!\u2581\u0120\u010a"
"""What may stand around a code in a token or a short answer; the last three are how tokenizers write space and line."""

LEAST = -30.0
"""Log-probabilities below this are read as this (some engines write −9999 for "never")."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as generated, its log-probability, and those of the tokens that could have stood in its place."""

    text: str
    logprob: float
    others: Mapping[str, float]


def chosen(question: Question, text: str) -> str | None:
    """The code of the option that `text` is (its code or its name, edges and letter case aside), or None."""
    plain = text.strip()
    for option in question.options:
        if option.code == plain:
            return plain
    found = {
        option.code
        for option in question.options
        for spelling in (option.code, option.choice)
        if spelling == text.strip() or spelling.strip(EDGES).casefold() == text.strip(EDGES).casefold() != ""
    }
    return found.pop() if len(found) == 1 else None


def read_codes(question: Question, text: str, tokens: Sequence[Token]) -> tuple[dict[str, float], float] | None:
    """Raw log-probability of every option code, and the mass they hold together; None where `text` is no option.

    Read where the first token that is more than space and marks stands. Variants of a code ("A", " A", "a") are
    added. A code that was not listed lies below the least that was: it gets that minus 1. Where codes are several
    tokens long, the answer's own probability is the product over its tokens and the rest is shared evenly.
    """
    code = chosen(question, text)
    said = [token for token in tokens if _plain(token.text)]
    if code is None or not said:
        return None
    codes = _codes(question)
    if codes.get(_plain(said[0].text)) == code:
        listed = _listed(said[0])
        found = _by_code(codes, listed)
        floor = max(min(listed.values()) - 1.0, LEAST)
        return {option.code: min(found.get(option.code, floor), 0.0) for option in question.options}, _mass(found)
    return certain(question, code, math.exp(max(sum(token.logprob for token in said), LEAST))), 1.0


def read_exactly(question: Question, text: str, tokens: Sequence[Token]) -> tuple[dict[str, float], float] | None:
    """As `read_codes` where the answer is one token beside which every code is listed: whatever `text` is, the
    distribution over the codes is known. None where the answer is another."""
    if len(tokens) != 1 or tokens[0].text.strip() != text.strip():
        return None
    codes = _codes(question)
    found = _by_code(codes, _listed(tokens[0]))
    if len(found) < len(codes):
        return None
    return {code: min(value, 0.0) for code, value in found.items()}, _mass(found)


def certain(question: Question, code: str, share: float) -> dict[str, float]:
    """Log-probabilities that give `code` this share and the other options the rest, evenly."""
    count = len(question.options)
    share = min(max(share, 1e-6), 1 - 1e-6) if count > 1 else 1.0
    rest = math.log((1 - share) / (count - 1)) if count > 1 else 0.0
    return {option.code: math.log(share) if option.code == code else rest for option in question.options}


def counted(question: Question, texts: Sequence[str]) -> tuple[str, dict[str, float]] | None:
    """The most frequent option among sampled answers and log((count + .5) / (k + .5 K)); None if none is an option.

    k: how many of the answers were options; K: how many options there are.
    """
    votes = [code for text in texts if (code := chosen(question, text)) is not None]
    if not votes:
        return None
    total = len(votes) + 0.5 * len(question.options)
    scores = {option.code: math.log((votes.count(option.code) + 0.5) / total) for option in question.options}
    return max(votes, key=votes.count), scores


def _codes(question: Question) -> dict[str, str]:
    """Code, letter case aside -> code."""
    return {option.code.casefold(): option.code for option in question.options}


def _listed(token: Token) -> dict[str, float]:
    """Every spelling that stands at a token's place, its own with them, and its log-probability."""
    return {**token.others, token.text: token.logprob}


def _by_code(codes: Mapping[str, str], listed: Mapping[str, float]) -> dict[str, float]:
    """Log-probability of each code that is listed, its variants ("A", " A", "a") added."""
    found: dict[str, float] = {}
    for spelling, value in listed.items():
        if (name := codes.get(_plain(spelling))) is not None:
            found[name] = _add(found.get(name, -math.inf), max(value, LEAST))
    return found


def _mass(found: Mapping[str, float]) -> float:
    """The probability that codes hold together."""
    return min(sum(map(math.exp, found.values())), 1.0)


def _plain(token: str) -> str:
    return token.strip(EDGES).casefold()


def _add(left: float, right: float) -> float:
    if left == -math.inf:
        return right
    top = max(left, right)
    return top + math.log(math.exp(left - top) + math.exp(right - top))


def readout(template: str, otherwise: Readout = "codes") -> Readout:
    """What a template asks for, by its file's name: "words…" for names of labels, "codes…" for codes."""
    found = re.match(r"(codes|words)(?![^\W_])", PurePath(template).name)
    return otherwise if found is None else "words" if found[1] == "words" else "codes"


def nearness(url: str | Sequence[str]) -> Literal["here", "near", "far"]:
    """ "here" for this machine, "near" for a private network's address, "far" for all others; of several the worst."""
    found = {egress.place(urlsplit(one).hostname or "") for one in ([url] if isinstance(url, str) else url)}
    return "far" if "far" in found else "near" if "near" in found else "here"


def table(path: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a Parquet or CSV file of recorded votes; an empty CSV field is None.

    Raises:
        DataError: the file cannot be read, or lacks one of `columns`.
    """
    try:
        if path.endswith((".parquet", ".pq")):
            import pyarrow.parquet

            rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        else:
            with open(path, encoding="utf-8-sig", newline="") as file:
                rows = [{k: v or None for k, v in row.items() if k is not None} for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's own errors are among these
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no Parquet or CSV file"
        raise DataError(f"the recorded votes {path} cannot be read: {reason}") from error
    missing = [name for name in columns if name not in (rows[0] if rows else {})]
    if missing:
        has = ", ".join(rows[0]) if rows else "no rows"
        raise DataError(f"the recorded votes {path} have no column {missing[0]!r}; there are: {has}")
    return rows
