"""The typed-decision wires `/v1/systemone` and `/v1/decisions`: a body to questions, probabilities to answers.

Choices among the model's labels, and yes or no to one of them. Knows no HTTP and no student.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np

from agent.types import Floats

QUESTIONS = 400
SYSTEMONE = ("model", "state", "questions")
DECISIONS = ("model", "input", "questions", "prompt_cache_key", "prompt_cache_options", "safety_identifier", "user")
LAST = 2_000
"""Characters at the end of instructions among which the label that is asked about is looked for."""
LONGEST = 100
"""Characters of a name beyond which nothing alike is looked for: that takes time with its square."""
ASKED = ("type", "name", "instructions", "criteria", "choices")
YES, NO = ("yes", True), ("no", False)


class Refused(Exception):
    """A request that cannot be answered: an HTTP status, and the words that say what to change."""

    def __init__(self, status: int, words: str, after: int | None = None) -> None:
        super().__init__(words)
        self.status, self.after = status, after


@dataclass(frozen=True)
class Asked:
    """A question. kind: "choice" among values, or whether a label applies, as "noul" or "predicate". columns: numbers
    of the values' labels, or of the one label."""

    name: str | None
    kind: Literal["choice", "noul", "predicate"]
    values: tuple[str | bool, ...]
    columns: tuple[int, ...]

    def read(self, chances: Floats) -> tuple[Floats, float]:
        """The probability of each value, and the part of it all that they hold. chances: (names,) of one text."""
        if len(self.columns) < len(self.values):
            yes = float(chances[self.columns[0]])
            return np.array([yes if v in YES else 1 - yes for v in self.values], dtype=np.float32), 1.0
        found = chances[list(self.columns)]
        mass = float(found.sum())
        return (found / mass if mass > 0 else np.full(len(found), 1 / len(found), dtype=np.float32)), min(mass, 1.0)


class Names:
    """The labels a model can be asked about. many: each applies or not, by itself."""

    def __init__(self, names: Sequence[str], many: bool) -> None:
        self.places = {name: place for place, name in enumerate(names)}
        self.many = many

    @property
    def listed(self) -> str:
        """For a message: the first 20."""
        shown = ", ".join(list(self.places)[:20])
        return shown + (f" and {len(self.places) - 20} more" if len(self.places) > 20 else "")

    def among(self, where: str, value: Any) -> int:
        """The column of a label. Raises Refused where it is none."""
        if not isinstance(value, str) or value not in self.places:
            near = _nearest(str(value), list(self.places))
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise Refused(400, f"{where}: {_short(value)} is none of this model's labels{hint} They are: {self.listed}")
        return self.places[value]

    def meant(self, where: str, name: Any, instructions: str) -> int:
        """The label a yes or no is asked about: the question's name, or what its instructions end with."""
        if isinstance(name, str) and name in self.places:
            return self.places[name]
        last = instructions[-LAST:].strip().rpartition("\n")[2]
        ends = [
            n for n in self.places if last.endswith((f" {n}", f'"{n}"', f"'{n}'")) or last == n or f" {n}: " in last
        ]
        if len(ends) != 1:
            raise Refused(
                400,
                f"{where}: which label is asked about? Name the question as the label, or end its instructions with "
                f"it. They are: {self.listed}",
            )
        return self.places[ends[0]]


def questions(body: Mapping[str, Any], wire: str, names: Names) -> tuple[str, list[Asked]]:
    """The text and what is asked about it. wire: "systemone" or "decisions".

    Raises:
        Refused: a field is not known, missing or of another type; or a question this model cannot answer.
    """
    old = wire == "systemone"
    known(body, SYSTEMONE if old else DECISIONS)
    field, asked = "state" if old else "input", body.get("questions")
    if field not in body:
        raise Refused(400, f"{field!r} is missing: the text that is asked about")
    kind = dict if old else list
    if not isinstance(asked, kind) or not 1 <= len(asked) <= QUESTIONS:
        form = '{"id": {"type": "choice", …}}' if old else '[{"type": "choice", …}]'
        raise Refused(400, f"'questions' must hold 1 to {QUESTIONS} questions, as {form}")
    each = asked.items() if isinstance(asked, dict) else ((_name(one), one) for one in asked)
    return text_of(body[field], field), [_asked(name, one, number, names) for number, (name, one) in enumerate(each, 1)]


def _name(one: Any) -> Any:
    return one.get("name") if isinstance(one, dict) else None


def known(body: Mapping[str, Any], fields: Sequence[str]) -> None:
    """Raises Refused where a body has a field that nothing would come of."""
    for name in body:
        if name not in fields:
            near = _nearest(name, fields)
            hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(fields)}."
            raise Refused(400, f"unknown field {_short(name)}; {hint}")


def text_of(state: Any, field: str) -> str:
    """The text in a state or an input: a string, the text of messages, or anything else as JSON."""
    if isinstance(state, str):
        return state
    if field == "state":
        return json.dumps(state, ensure_ascii=False)
    texts: list[str] = []
    for message in state if isinstance(state, list) else [None]:
        content = message.get("content") if isinstance(message, dict) else None
        parts = [{"text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list) or not all(
            isinstance(p, dict) and isinstance(p.get("text"), str) for p in parts
        ):
            raise Refused(400, f"{field!r} must be a text, or messages of text: this model reads nothing else")
        texts += [part["text"] for part in parts]
    return "\n".join(texts)


def _asked(name: Any, one: Any, number: int, names: Names) -> Asked:
    where = f"question {name if isinstance(name, str) and len(name) <= 60 else number}"
    if not isinstance(one, dict):
        raise Refused(400, f"{where} must be an object with a type")
    known(one, ASKED)
    kind, told = one.get("type"), one.get("instructions")
    told = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
    if kind in ("noul", "predicate"):
        return Asked(name, kind, ("yes", "no"), (names.meant(where, name, told),))
    if kind != "choice":
        raise Refused(400, f"{where}: type {_short(kind)} is not answered here; ask a choice, or noul or predicate")
    values = _values(one, where)
    if set(values) <= {*YES, *NO} and not all(v in names.places for v in values):
        return Asked(name, "choice", values, (names.meant(where, name, told),))
    if names.many:
        raise Refused(
            400, f"{where}: several labels may apply to a text here; ask yes or no about each (noul, predicate)"
        )
    return Asked(name, "choice", values, tuple(names.among(where, value) for value in values))


def _values(one: Mapping[str, Any], where: str) -> tuple[str | bool, ...]:
    listed = one.get("criteria", one.get("choices"))
    values = list(listed) if isinstance(listed, dict) else []
    if isinstance(listed, list):
        values = [choice.get("value") if isinstance(choice, dict) else choice for choice in listed]
    if len(values) < 2 or not all(isinstance(v, str | bool) for v in values):
        raise Refused(400, f'{where}: a choice needs two options or more, as {{"criteria": {{"a": null, "b": null}}}}')
    if len({(type(v), v) for v in values}) < len(values):
        raise Refused(400, f"{where}: an option stands there twice")
    return tuple(values)


def answers(asked: Sequence[Asked], chances: Floats, wire: str, model: str, words: int) -> dict[str, Any]:
    """The body that is sent back. chances: (names,) of the text; words: in the text, told as its tokens."""
    made = [_answer(one, chances, wire) for one in asked]
    usage: dict[str, Any] = {"input_tokens": words, "output_tokens": 0, "total_tokens": words}
    if wire == "systemone":
        told = {
            one.name: {"label_mass": round(mass, 6), "argmax_is_label": mass >= 1 - 1e-4 or _tops(one, chances)}
            for one, (_, mass) in zip(asked, made, strict=True)
        }
        found = {one.name: answer for one, (answer, _) in zip(asked, made, strict=True)}
        return {"model": model, "answers": found, "usage": usage, "diagnostics": told}
    usage |= {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "model": model,
        "answers": [{"name": o.name, **a} for o, (a, _) in zip(asked, made, strict=True)],
        "usage": usage,
    }


def _tops(one: Asked, chances: Floats) -> bool:
    """Whether the likeliest label of all is among the options."""
    return int(np.argmax(chances)) in one.columns


def _answer(one: Asked, chances: Floats, wire: str) -> tuple[dict[str, Any], float]:
    shares, mass = one.read(chances)
    p = [round(float(share), 6) for share in shares]
    if one.kind == "noul":
        return {"type": "noul", "noul": p[0]}, mass
    if one.kind == "predicate":
        return {"type": "predicate", "probability": p[0]}, mass
    best = int(np.argmax(shares))
    listed: Any = [{"value": value, "probability": share} for value, share in zip(one.values, p, strict=True)]
    if wire == "systemone":
        listed = dict(zip(one.values, p, strict=True))
    sure = round(float(shares[best]) * mass, 6)
    return {"type": "choice", "choice": one.values[best], "probabilities": listed, "confidence": sure}, mass


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    """The known name most like this one, or none."""
    return get_close_matches(name, [one for one in known if len(one) <= LONGEST], 1) if len(name) <= LONGEST else []


def _short(value: Any) -> str:
    shown = repr(value[:61] if isinstance(value, str) else value)
    return shown if len(shown) <= 60 else shown[:60] + "…"
